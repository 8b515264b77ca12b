{{/* An egress rule for {to, ports}; none without peers, since that would let everything out. */}}
{{- define "gantry.egress" -}}
{{- $protocols := default (list "TCP") .protocols -}}
{{- if .to -}}
- to:
    {{- toYaml .to | nindent 4 }}
  ports:
    {{- range $port := .ports }}
    {{- range $protocols }}
    - {port: {{ $port }}, protocol: {{ . }}}
    {{- end }}
    {{- end }}
{{- end -}}
{{- end -}}

{{/* The egress rule that lets DNS through. */}}
{{- define "gantry.dnsEgress" -}}
{{- include "gantry.egress" (merge (dict "protocols" (list "UDP" "TCP")) .Values.networkPolicy.egress.dns) -}}
{{- end -}}

{{/*
The `egress` of a policy: its rules, and before them DNS, to find what they lead to; nothing without rules:
(dict "root" . "rules" "- to: …").
*/}}
{{- define "gantry.egressBlock" -}}
{{- with .rules | trim -}}
egress:
  {{- with include "gantry.dnsEgress" $.root }}{{ . | nindent 2 }}{{ end }}
  {{- . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The egress rule that leads to other pods of the release: (dict "root" . "component" "torchserve" "port" 7070). */}}
{{- define "gantry.podEgress" -}}
- to:
    - podSelector:
        matchLabels:
          {{- include "gantry.selectorLabels" . | nindent 10 }}
  ports: [{port: {{ .port }}, protocol: TCP}]
{{- end -}}

{{/* The egress rule that lets a client of the release reach its gateway. */}}
{{- define "gantry.gatewayEgress" -}}
{{- include "gantry.podEgress" (dict "root" . "component" "gateway" "port" 50051) -}}
{{- end -}}

{{/* Where the gateway may go, as a list; empty for nowhere. */}}
{{- define "gantry.egressOfGateway" -}}
{{- $egress := .Values.networkPolicy.egress -}}
{{- if eq .Values.backend.mode "torchserve" }}
{{ include "gantry.podEgress" (dict "root" . "component" "torchserve" "port" 7070) }}
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
