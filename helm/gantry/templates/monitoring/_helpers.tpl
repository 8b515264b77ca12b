{{/* Metadata of an object of `monitoring`: (dict "root" . "name" "x" "section" .Values.monitoring.podMonitor). */}}
{{- define "gantry.monitoring-metadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "gantry.labels" (dict "root" .root "component" "monitoring") | nindent 2 }}
  {{- with .section.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with include "gantry.annotations" (dict "root" .root "with" .section.annotations) }}
{{ . }}
{{- end }}
{{- end -}}

{{/* How Prometheus scrapes a gateway: (dict "root" . "section" .Values.monitoring.podMonitor). */}}
{{- define "gantry.scrape" -}}
- port: metrics
  interval: {{ .section.interval }}
  scrapeTimeout: {{ .section.scrapeTimeout }}
  relabelings:
    # Alerts and dashboard tell the releases of a namespace apart by it.
    - targetLabel: job
      replacement: {{ include "gantry.fullname" .root }}
{{- end -}}
