{{/* How Prometheus scrapes a gateway: (dict "root" . "section" .Values.monitoring.podMonitor). */}}
{{- define "gantry.scrape" -}}
- port: metrics
  interval: {{ .section.interval }}
  scrapeTimeout: {{ .section.scrapeTimeout }}
  relabelings:
    # Alerts, dashboard and KEDA tell the releases of a namespace apart by it.
    - targetLabel: job
      replacement: {{ include "gantry.fullname" .root | quote }}
{{- end -}}

{{/* Matchers that select, of all that Prometheus scrapes, the gateways of this release. */}}
{{- define "gantry.gatewayMatchers" -}}
{{- printf "job=%q, namespace=%q" (include "gantry.fullname" .) .Release.Namespace -}}
{{- end -}}
