{{/* TorchServe as it runs beside the gateway and in a Deployment of its own. */}}

{{/* host:port at which the gateway finds it. */}}
{{- define "gantry.torchserve.address" -}}
{{- if eq .Values.backend.mode "torchserve" -}}
{{- printf "%s.%s.svc:7070" (include "gantry.component-name" (dict "root" . "component" "torchserve")) .Release.Namespace -}}
{{- else -}}
127.0.0.1:7070
{{- end -}}
{{- end -}}

{{/* A probe that asks TorchServe itself; its HTTP port is on the pod's loopback, where the kubelet cannot reach it. */}}
{{- define "gantry.torchserve.ping" -}}
exec:
  command: [python, -c, "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/ping', timeout=4)"]
timeoutSeconds: 10
{{- end -}}

{{/*
The container, as a list. As a sidecar it is an init container that goes on: it starts before the gateway, and stops
only after the gateway has drained. The management API (7071, 8081) listens on the pod's loopback and is declared nowhere.
*/}}
{{- define "gantry.torchserve.container" -}}
{{- $torchserve := .Values.torchserve -}}
{{- $own := eq .Values.backend.mode "torchserve" -}}
- name: torchserve
  image: {{ include "gantry.image" (dict "root" . "image" .Values.images.torchserve) | quote }}
  imagePullPolicy: {{ .Values.images.pullPolicy }}
  {{- if not $own }}
  restartPolicy: Always
  {{- end }}
  env:
    - {name: GANTRY_TORCHSERVE_HOST, value: {{ ternary "0.0.0.0" "127.0.0.1" $own | quote }}}
    - {name: GANTRY_TORCHSERVE_WORKERS, value: {{ $torchserve.workersPerModel | quote }}}
    - {name: GANTRY_TORCHSERVE_MESSAGE_BYTES, value: {{ int64 $torchserve.messageBytes | quote }}}
    {{- with include "gantry.gpuEnv" (dict "resources" $torchserve.resources "env" $torchserve.extraEnv) }}{{ . | nindent 4 }}{{ end }}
    {{- with $torchserve.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $torchserve.extraEnvFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if $own }}
  ports:
    - {name: grpc, containerPort: 7070, protocol: TCP}
  {{- end }}
  # Whether each model works is what the gateway's own probes find out.
  startupProbe:
    {{- include "gantry.torchserve.ping" . | nindent 4 }}
    periodSeconds: 10
    failureThreshold: {{ ceil (divf $torchserve.startupSeconds 10) }}
  {{- if $own }}
  readinessProbe:
    tcpSocket: {port: grpc}
    periodSeconds: 10
    timeoutSeconds: 3
    failureThreshold: 2
  {{- end }}
  livenessProbe:
    {{- include "gantry.torchserve.ping" . | nindent 4 }}
    periodSeconds: 30
    failureThreshold: 3
  {{- if and $own $torchserve.preStopSeconds }}
  lifecycle:
    preStop:
      sleep: {seconds: {{ $torchserve.preStopSeconds }}}
  {{- end }}
  securityContext:
    {{- include "gantry.containerSecurityContext" . | nindent 4 }}
  resources:
    {{- toYaml $torchserve.resources | nindent 4 }}
  volumeMounts:
    - {name: torchserve-tmp, mountPath: /tmp}
    - {name: torchserve-work, mountPath: /var/lib/torchserve}
    {{- with include "gantry.modelStoreMount" . | trim }}{{ . | nindent 4 }}{{ end }}
    {{- with $torchserve.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/* What it mounts but for the models, as a list: archives are unpacked under /var/lib/torchserve. */}}
{{- define "gantry.torchserve.volumes" -}}
- name: torchserve-tmp
  emptyDir: {sizeLimit: {{ .Values.torchserve.tmpSize }}}
- name: torchserve-work
  emptyDir: {sizeLimit: {{ .Values.torchserve.tmpSize }}}
{{- with .Values.torchserve.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
