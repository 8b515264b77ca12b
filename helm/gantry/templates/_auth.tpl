{{/* Names of the secrets that keep strangers out. */}}

{{/* Secret of the gateway's certificate; empty without TLS. */}}
{{- define "gantry.tlsSecretName" -}}
{{- if .Values.tls.certManager.enabled -}}
{{- include "gantry.component-name" (dict "root" . "component" "gateway-tls") -}}
{{- else -}}
{{- .Values.tls.secretName -}}
{{- end -}}
{{- end -}}

{{/* Secret of the callers' hashed keys; empty without. */}}
{{- define "gantry.apiKeysSecretName" -}}
{{- if .Values.auth.keys -}}
{{- include "gantry.component-name" (dict "root" . "component" "api-keys") -}}
{{- else -}}
{{- .Values.auth.apiKeys.secretName | default .Values.auth.tokens.secretName -}}
{{- end -}}
{{- end -}}

{{/* Its key. */}}
{{- define "gantry.apiKeysKey" -}}
{{- if .Values.auth.keys -}}
api-keys.json
{{- else if .Values.auth.apiKeys.secretName -}}
{{- .Values.auth.apiKeys.key -}}
{{- else -}}
{{- .Values.auth.tokens.key -}}
{{- end -}}
{{- end -}}
