{{/*
The Prometheus rules of files/alerts.yaml for this release, as YAML: its ${...} replaced, disabled alerts left out,
and labels and runbooks added.
*/}}
{{- define "gantry.rules" -}}
{{- $rule := .Values.monitoring.prometheusRule -}}
{{- $job := include "gantry.fullname" . -}}
{{- $cronJobs := keys .Values.batch.cronJobs | sortAlpha -}}
{{- $tokens := merge (dict
  "gateway" (include "gantry.gatewayMatchers" .)
  "job" $job
  "namespace" .Release.Namespace
  "batch" (printf "job=\"gantry-batch\", instance=~%q" (printf "%s/%s/.+" .Release.Namespace $job))
  "cronJobs" (join "|" $cronJobs)
) $rule.thresholds -}}
{{- $text := .Files.Get "files/alerts.yaml" -}}
{{- range $token, $value := $tokens -}}
{{- $text = $text | replace (printf "${%s}" $token) (toString $value) -}}
{{- end -}}
{{- $disabled := $rule.disabled -}}
{{- if not $cronJobs -}}
{{- $disabled = append $disabled "GantryBatchJobIsStale" -}}
{{- end -}}
{{- $groups := list -}}
{{- range (fromYaml $text).groups -}}
{{- $rules := list -}}
{{- range .rules -}}
{{- if .record -}}
{{- $rules = append $rules . -}}
{{- else if not (has .alert $disabled) -}}
{{- $_ := set .annotations "runbook_url" (printf "%s#%s" $rule.runbookUrl (lower .alert)) -}}
{{- $rules = append $rules (merge (dict "labels" (merge (deepCopy $rule.alertLabels) .labels)) .) -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- $groups = append $groups (dict "name" .name "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- toYaml $groups -}}
{{- end -}}
