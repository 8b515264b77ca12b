{{/* Claims of the training Job, as a list: the runs, and the data where there are any. */}}
{{- define "gantry.training.claims" -}}
{{- $training := .Values.training -}}
{{- $claims := list (merge (dict "mountPath" "/runs") $training.runs) -}}
{{- if $training.data.claimName -}}
{{- $claims = append $claims (merge (dict "mountPath" "/data" "readOnly" true) $training.data) -}}
{{- end -}}
{{- toYaml $claims -}}
{{- end -}}

{{/* Refuses a training whose values contradict each other. */}}
{{- define "gantry.validate.training" -}}
{{- $training := .Values.training -}}
{{- if $training.enabled }}
{{- if not $training.runs.claimName }}
- "training.enabled needs a volume for checkpoints: name the claim in training.runs.claimName"
{{- end }}
{{- if and (include "gantry.hasGpu" $training.resources) (eq (int $training.gpus) 0) }}
- "training.resources asks for a GPU that training would not use: set training.gpus instead"
{{- end }}
{{- range $training.arguments }}
{{- if or (hasPrefix "--run-dir" .) (hasPrefix "--device" .) (hasPrefix "--data-dir" .) }}
- "training.arguments: {{ . }} is said by training.run, training.gpus and training.data.claimName"
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
