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
