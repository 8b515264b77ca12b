{{/* Refuses jobs whose values contradict each other. */}}
{{- define "gantry.validate.batch" -}}
{{- range $name, $job := .Values.batch.jobs }}
{{- include "gantry.validate.batchJob" (dict "root" $ "path" (printf "batch.jobs.%s" $name) "job" $job) }}
{{- end }}
{{- range $name, $cronJob := .Values.batch.cronJobs }}
{{- include "gantry.validate.batchJob" (dict "root" $ "path" (printf "batch.cronJobs.%s.job" $name) "job" $cronJob.job) }}
{{- end }}
{{- end -}}

{{- define "gantry.validate.batchJob" -}}
{{- $path := .path -}}
{{- $job := include "gantry.batch.job" . | fromYaml -}}
{{- if and (eq $job.command "translate") (not $job.inputs) }}
- "{{ $path }}.inputs names nothing to translate"
{{- end }}
{{- if and (ne $job.command "translate") $job.inputs }}
- "{{ $path }}.inputs means nothing to {{ $job.command }}"
{{- end }}
{{- if and (ne $job.command "retry") (not $job.model) }}
- "{{ $path }}.model does not name the model"
{{- end }}
{{- if and (eq $job.command "retry") $job.model }}
- "{{ $path }}.model means nothing to retry, which takes that of the job before"
{{- end }}
{{- if and (eq $job.command "sample") (not $job.options.count) }}
- "{{ $path }}.options.count does not say how many pictures to sample"
{{- end }}
{{- if and (not (kindIs "invalid" $job.maxFailedIndexes)) (gt (int $job.maxFailedIndexes) (int $job.completions)) }}
- "{{ $path }}.maxFailedIndexes ({{ $job.maxFailedIndexes }}) is more than its completions ({{ $job.completions }})"
{{- end }}
{{- $lacks := include "gantry.clientLacks" .root }}
{{- if and $lacks (not $job.embedded) }}
- "{{ $path }} would be refused by the gateway, which asks who calls: set {{ $lacks }}"
{{- end }}
{{- $spec := include "gantry.batch.spec" (dict "root" .root "name" "any" "job" $job) | fromYaml }}
{{- range $spec.template.spec.containers }}
{{- include "gantry.validate.environment" (dict "path" (printf "%s.env" $path) "env" .env) }}
{{- end }}
{{- $isRemote := false }}
{{- range append (default list $job.inputs) $job.out }}
{{- if contains "://" . }}
{{- $isRemote = true }}
{{- else }}
{{- $location := trimPrefix "@" . }}
{{- $isMounted := false }}
{{- range $job.claims }}{{ if hasPrefix (printf "%s/" (trimSuffix "/" .mountPath)) (printf "%s/" $location) }}{{ $isMounted = true }}{{ end }}{{ end }}
{{- if not $isMounted }}
- "{{ $path }}: {{ . }} is on no volume, but in the pod itself: mount a claim there with claims, or give a URL"
{{- end }}
{{- end }}
{{- end }}
{{- if and $isRemote .root.Values.networkPolicy.enabled (not .root.Values.networkPolicy.egress.objectStore.to) (not .root.Values.batch.egress) }}
- "{{ $path }} has URLs, but the NetworkPolicy lets no pod reach them: say where they are in networkPolicy.egress.objectStore.to or batch.egress"
{{- end }}
{{- end -}}
