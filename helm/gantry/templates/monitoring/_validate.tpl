{{/* Refuses values by which nothing would be measured, or everything twice. */}}
{{- define "gantry.validate.monitoring" -}}
{{- $monitoring := .Values.monitoring -}}
{{- $autoscaling := .Values.autoscaling -}}
{{- $scraped := or $monitoring.podMonitor.enabled $monitoring.serviceMonitor.enabled -}}
{{- $scaled := or $autoscaling.keda.enabled (and $autoscaling.hpa.enabled $autoscaling.hpa.queueWaitSeconds) -}}
{{- if and $monitoring.podMonitor.enabled $monitoring.serviceMonitor.enabled }}
- "monitoring.podMonitor.enabled and monitoring.serviceMonitor.enabled: every gateway would be scraped and counted twice; enable one of them"
{{- end }}
{{- $policy := .Values.networkPolicy }}
{{- if and $scraped $policy.enabled (not $policy.ingress.metricsFrom) (not $policy.ingress.extra) }}
- "the monitors have Prometheus scrape the gateways, but the NetworkPolicy lets nobody in: say where it is in networkPolicy.ingress.metricsFrom"
{{- end }}
{{- if and (eq (toString .Values.gateway.settings.metrics) "false") (or $scraped $scaled $monitoring.prometheusRule.enabled $monitoring.dashboard.enabled) }}
- "gateway.settings.metrics is false, but monitoring or autoscaling needs the gateway's metrics"
{{- end }}
{{- end -}}
