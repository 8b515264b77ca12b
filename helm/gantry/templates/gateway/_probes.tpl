{{/*
Probes of the gateway.

Started and alive are not ready: the health service "liveness" says only that the event loop turns, and says so while a
model is broken or the pod drains, since a restart would mend neither. The overall health (no service named), which
readiness asks for, also says that every model has just made a picture.

Kubernetes' gRPC probes cannot speak TLS, so with TLS the same questions go to the metrics port, which is plain HTTP.
*/}}
{{- define "gantry.gateway.probes" -}}
{{- $tls := include "gantry.tlsSecretName" . -}}
{{- $alive := ternary (dict "httpGet" (dict "path" "/healthz" "port" "metrics")) (dict "grpc" (dict "port" 50051 "service" "liveness")) (ne $tls "") -}}
{{- $ready := ternary (dict "httpGet" (dict "path" "/readyz" "port" "metrics")) (dict "grpc" (dict "port" 50051)) (ne $tls "") -}}
startupProbe:
  {{- toYaml $alive | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: {{ ceil (divf .Values.gateway.startupSeconds 5) }}
readinessProbe:
  {{- toYaml $ready | nindent 2 }}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  {{- toYaml $alive | nindent 2 }}
  periodSeconds: 10
  timeoutSeconds: 5
  # A minute without an answer: longer than a burst of decoding large pictures on a small machine.
  failureThreshold: 6
{{- end -}}
