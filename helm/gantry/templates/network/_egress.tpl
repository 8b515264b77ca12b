{{/* An egress rule for {to, ports}; none without peers, since that would let everything out. */}}
{{- define "gantry.egress" -}}
{{- if .to -}}
- to:
    {{- toYaml .to | nindent 4 }}
  ports:
    {{- range .ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* The egress rule that lets DNS through. */}}
{{- define "gantry.dnsEgress" -}}
{{- with .Values.networkPolicy.egress.dnsTo -}}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}
{{- end -}}

{{/* The egress rule that lets a client of the release reach its gateway. */}}
{{- define "gantry.gatewayEgress" -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "gantry.selectorLabels" (dict "root" . "component" "gateway") | nindent 10 }}
  ports: [{port: 50051, protocol: TCP}]
{{- end -}}

{{/* Where the gateway may go, as a list; empty for nowhere. */}}
{{- define "gantry.egressOfGateway" -}}
{{- $egress := .Values.networkPolicy.egress -}}
{{- include "gantry.dnsEgress" . }}
{{- if eq .Values.backend.mode "torchserve" }}
- to:
    - podSelector:
        matchLabels:
          {{- include "gantry.selectorLabels" (dict "root" . "component" "torchserve") | nindent 10 }}
  ports: [{port: 7070, protocol: TCP}]
{{- else if eq .Values.modelStore.source "objectStore" }}
{{ include "gantry.egress" $egress.objectStore }}
{{- end }}
{{- if hasPrefix "https://" .Values.auth.jwt.keys }}
{{ include "gantry.egress" $egress.jwks }}
{{- end }}
{{- with $egress.extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}
