{{/* How the archives come into the pod that runs the models: always as the folder /models, read-only. */}}

{{/* Volumes, as a list; empty where the image carries the archives. */}}
{{- define "gantry.modelStoreVolume" -}}
{{- $store := .Values.modelStore -}}
{{- if eq $store.source "pvc" }}
- name: models
  persistentVolumeClaim: {claimName: {{ $store.pvc.claimName | quote }}, readOnly: true}
{{- else if eq $store.source "imageVolume" }}
- name: models
  image: {reference: {{ $store.imageVolume.reference | quote }}, pullPolicy: {{ $store.imageVolume.pullPolicy }}}
{{- else if ne $store.source "image" }}
- name: models
  emptyDir: {sizeLimit: {{ $store.size }}}
- name: models-tmp
  emptyDir: {sizeLimit: {{ $store.size }}}
{{- end }}
{{- end -}}

{{/* Mounts of the container that runs the models, as a list. */}}
{{- define "gantry.modelStoreMount" -}}
{{- $store := .Values.modelStore -}}
{{- if ne $store.source "image" }}
- name: models
  mountPath: /models
  readOnly: true
  {{- if and (eq $store.source "pvc") $store.pvc.subPath }}
  subPath: {{ $store.pvc.subPath | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
The init container that copies the archives, as a list; empty where nothing is copied. The volume is not at /models in it:
there it would hide the archives of an image that has them in /models.
*/}}
{{- define "gantry.modelStoreInit" -}}
{{- $store := .Values.modelStore -}}
{{- if has $store.source (list "objectStore" "initImage") }}
- name: models
  {{- if eq $store.source "objectStore" }}
  image: {{ include "gantry.image" (dict "root" . "image" .Values.images.batch) | quote }}
  args: [batch, copy, {{ $store.objectStore.url | quote }}, /copy]
  {{- with $store.objectStore.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $store.objectStore.credentialsSecretName }}
  envFrom:
    - secretRef: {name: {{ . | quote }}}
  {{- end }}
  {{- else }}
  image: {{ include "gantry.image" (dict "root" . "image" $store.initImage) | quote }}
  command: [cp, -rL, {{ printf "%s/." $store.initImage.path | quote }}, /copy]
  {{- end }}
  imagePullPolicy: {{ .Values.images.pullPolicy }}
  securityContext:
    {{- include "gantry.containerSecurityContext" . | nindent 4 }}
  resources:
    {{- toYaml $store.copyResources | nindent 4 }}
  volumeMounts:
    - {name: models, mountPath: /copy}
    - {name: models-tmp, mountPath: /tmp}
{{- end }}
{{- end -}}
