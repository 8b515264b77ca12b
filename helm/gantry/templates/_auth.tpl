{{/* Names of the secrets that keep strangers out. */}}

{{/* Secret of the gateway's certificate; empty without TLS. */}}
{{- define "gantry.tlsSecretName" -}}
{{- if .Values.tls.certManager.enabled -}}
{{- include "gantry.component-name" (dict "root" . "component" "gateway-tls") -}}
{{- else -}}
{{- .Values.tls.secretName -}}
{{- end -}}
{{- end -}}

{{/* Secret of the callers' hashed keys; empty without tokens. */}}
{{- define "gantry.tokensSecretName" -}}
{{- if .Values.auth.keys -}}
{{- include "gantry.component-name" (dict "root" . "component" "tokens") -}}
{{- else -}}
{{- .Values.auth.tokens.secretName -}}
{{- end -}}
{{- end -}}
