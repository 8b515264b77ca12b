{{/* Environment of the gateway, as a list: first what follows from other values, then `gateway.settings`. */}}
{{- define "gantry.gateway.environment" -}}
{{- $auth := .Values.auth -}}
{{- $mode := .Values.backend.mode -}}
- {name: GANTRY_PORT, value: "50051"}
- {name: GANTRY_METRICS_HOST, value: {{ .Values.gateway.metricsHost | quote }}}
- {name: GANTRY_METRICS_PORT, value: "9464"}
- {name: GANTRY_DRAIN_SECONDS, value: {{ .Values.gateway.drainSeconds | quote }}}
{{- if $auth.insecure }}
- {name: GANTRY_INSECURE, value: "true"}
{{- end }}
{{- if include "gantry.tlsSecretName" . }}
- {name: GANTRY_TLS_CERTIFICATE, value: /etc/gantry/tls/tls.crt}
- {name: GANTRY_TLS_KEY, value: /etc/gantry/tls/tls.key}
{{- if .Values.tls.clientCa.secretName }}
- {name: GANTRY_TLS_CLIENT_CA, value: /etc/gantry/client-ca/ca.crt}
{{- end }}
{{- end }}
{{- if include "gantry.apiKeysSecretName" . }}
- {name: GANTRY_API_KEYS, value: /etc/gantry/api-keys/api-keys.json}
{{- end }}
{{- with $auth.jwt }}
{{- if .keys }}
- {name: GANTRY_JWT_KEYS, value: {{ ternary .keys "/etc/gantry/jwks/jwks.json" (hasPrefix "https://" .keys) | quote }}}
- {name: GANTRY_JWT_AUDIENCE, value: {{ .audience | quote }}}
- {name: GANTRY_JWT_MODELS_CLAIM, value: {{ .modelsClaim | quote }}}
- {name: GANTRY_JWT_LIMITS_CLAIM, value: {{ .limitsClaim | quote }}}
{{- if .issuer }}
- {name: GANTRY_JWT_ISSUER, value: {{ .issuer | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- if eq $mode "embedded" }}
- {name: GANTRY_BACKEND, value: embedded}
- {name: GANTRY_MODEL_STORE, value: /models}
{{- if not .Values.gateway.settings.device }}
{{- with include "gantry.gpuEnv" (dict "resources" .Values.gateway.resources "env" .Values.gateway.extraEnv) }}
{{ . }}
{{- end }}
{{- end }}
{{- else }}
- {name: GANTRY_BACKEND, value: torchserve}
- {name: GANTRY_TORCHSERVE_ADDRESS, value: {{ include "gantry.torchserve.address" . | quote }}}
{{- if eq $mode "torchserve-sidecar" }}
- {name: GANTRY_TORCHSERVE_REST_ADDRESS, value: "127.0.0.1:8081"}
{{- end }}
- {name: GANTRY_TORCHSERVE_MESSAGE_BYTES, value: {{ int64 .Values.torchserve.messageBytes | quote }}}
- {name: GANTRY_TORCHSERVE_WORKERS, value: {{ .Values.torchserve.workersPerModel | quote }}}
{{- with .Values.torchserve.models }}
- {name: GANTRY_TORCHSERVE_MODELS, value: {{ join "," . | quote }}}
{{- end }}
{{- end }}
{{- $limit := dig "limits" "memory" "" .Values.gateway.resources }}
{{- if and $limit (not (or .Values.gateway.settings.memory_bytes .Values.gateway.settings.queue_bytes)) }}
{{ include "gantry.memoryBytes" $limit }}
{{- end }}
{{- if and $limit (eq $mode "embedded") (not .Values.gateway.settings.worker_memory_bytes) }}
{{ include "gantry.workerMemoryBytes" $limit }}
{{- end }}
{{- range $name, $value := .Values.gateway.settings }}
{{- /* Helm reads every number as a float, and would write large ones with an exponent. */}}
{{- if kindIs "float64" $value }}{{ $value = ternary (int64 $value) $value (eq $value (floor $value)) }}{{ end }}
- {name: GANTRY_{{ upper $name }}, value: {{ $value | quote }}}
{{- end }}
{{- with .Values.gateway.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What messages may take of a memory limit: a quarter. The rest is the process at rest and, in the mode embedded, workers. The gateway wants no less than 160 MiB. */}}
{{- define "gantry.memoryBytes" -}}
- {name: GANTRY_MEMORY_BYTES, value: {{ max 167772160 (divf (include "gantry.bytes" .) 4 | floor | int64) | quote }}}
{{- end -}}

{{/* What a worker may hold of it: half. One that holds more is replaced, before the kernel ends the whole pod. It wants no less than 256 MiB. */}}
{{- define "gantry.workerMemoryBytes" -}}
- {name: GANTRY_WORKER_MEMORY_BYTES, value: {{ max 268435456 (divf (include "gantry.bytes" .) 2 | floor | int64) | quote }}}
{{- end -}}
