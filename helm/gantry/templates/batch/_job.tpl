{{/* What a batch job is, whether by itself or from a CronJob. A job's values are those of batch.defaults and its own. */}}

{{/* A job's values as YAML: (dict "root" . "job" …). Nulls of its own take away a default. */}}
{{- define "gantry.batch.job" -}}
{{- toYaml (mergeOverwrite (deepCopy .root.Values.batch.defaults) .job) -}}
{{- end -}}

{{/*
Specification of a Job with one shard a pod: (dict "root" . "name" "x" "job" …).

An exit tells whose fault it was. Exit code 3 is that of a shard that ran to its end and recorded failed items: to run it
again would fail the same items, so its index fails for good while the others go on. Arguments that cannot be read (2)
are those of every shard, and end the job. Evictions, and SIGTERM as 143, are the cluster's doing and count for nothing.
All else (1 for a fault of the job, 137 for too little memory) is tried again, backoffLimitPerIndex times.
*/}}
{{- define "gantry.batch.spec" -}}
{{- $root := .root -}}
{{- $job := .job -}}
{{- $scope := dict "root" $root "component" "batch" "pod" $job -}}
{{- $completions := int $job.completions -}}
completionMode: Indexed
completions: {{ $completions }}
parallelism: {{ default $completions $job.parallelism | int }}
backoffLimitPerIndex: {{ $job.backoffLimitPerIndex | int }}
{{- if not (kindIs "invalid" $job.maxFailedIndexes) }}
maxFailedIndexes: {{ $job.maxFailedIndexes | int }}
{{- end }}
# A shard has one pod at a time: the next is started when the last has ended, not when it is told to.
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    - action: Ignore
      onExitCodes: {containerName: batch, operator: In, values: [143]}
    - action: FailIndex
      onExitCodes: {containerName: batch, operator: In, values: [3]}
    - action: FailJob
      onExitCodes: {containerName: batch, operator: In, values: [2]}
{{- with $job.activeDeadlineSeconds }}
activeDeadlineSeconds: {{ int64 . }}
{{- end }}
{{- if not (kindIs "invalid" $job.ttlSecondsAfterFinished) }}
ttlSecondsAfterFinished: {{ int64 $job.ttlSecondsAfterFinished }}
{{- end }}
suspend: {{ $job.suspend }}
template:
  metadata:
    {{- include "gantry.podMetadata" $scope | nindent 4 }}
  spec:
    {{- include "gantry.pod" $scope | nindent 4 }}
    restartPolicy: Never
    terminationGracePeriodSeconds: {{ $job.terminationGracePeriodSeconds | int }}
    {{- if $job.embedded }}
    {{- with include "gantry.modelStoreInit" $root | trim }}
    initContainers:
      {{- . | nindent 6 }}
    {{- end }}
    {{- end }}
    containers:
      - name: batch
        image: {{ include "gantry.image" (dict "root" $root "image" (ternary $root.Values.images.gatewayEmbedded $root.Values.images.batch $job.embedded)) | quote }}
        imagePullPolicy: {{ $root.Values.images.pullPolicy }}
        args:
          {{- include "gantry.batch.arguments" . | nindent 10 }}
        env:
          # Kubernetes tells a pod its index, but not of how many.
          - {name: JOB_COMPLETIONS, value: {{ $completions | quote }}}
          {{- if $job.embedded }}
          {{- with include "gantry.gpuEnv" $job }}{{ . | nindent 10 }}{{ end }}
          {{- with dig "limits" "memory" "" $job.resources }}
          {{- $own := toString $job.env }}
          {{- if not (contains "GANTRY_MEMORY_BYTES" $own) }}{{ include "gantry.memoryBytes" . | nindent 10 }}{{ end }}
          {{- if not (contains "GANTRY_WORKER_MEMORY_BYTES" $own) }}{{ include "gantry.workerMemoryBytes" . | nindent 10 }}{{ end }}
          {{- end }}
          {{- else }}
          {{- include "gantry.clientEnv" $root | nindent 10 }}
          {{- end }}
          {{- with $job.env }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        {{- with $job.credentialsSecretName }}
        envFrom:
          - secretRef: {name: {{ . | quote }}}
        {{- end }}
        securityContext:
          {{- include "gantry.containerSecurityContext" $root | nindent 10 }}
        resources:
          {{- toYaml $job.resources | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
          {{- if $job.embedded }}
          {{- with include "gantry.modelStoreMount" $root | trim }}{{ . | nindent 10 }}{{ end }}
          {{- else }}
          {{- with include "gantry.clientVolumeMounts" $root | trim }}{{ . | nindent 10 }}{{ end }}
          {{- end }}
          {{- with include "gantry.claimMounts" $job.claims | trim }}{{ . | nindent 10 }}{{ end }}
    volumes:
      - name: tmp
        emptyDir: {sizeLimit: {{ $job.tmpSize }}}
      {{- if $job.embedded }}
      {{- with include "gantry.modelStoreVolume" $root | trim }}{{ . | nindent 6 }}{{ end }}
      {{- else }}
      {{- with include "gantry.clientVolumes" $root | trim }}{{ . | nindent 6 }}{{ end }}
      {{- end }}
      {{- with include "gantry.claimVolumes" $job.claims | trim }}{{ . | nindent 6 }}{{ end }}
{{- end -}}

{{/*
What follows `gantry`, as a list: options first, so that no input can be taken for one. (dict "root" . "name" "x" "job" …)
*/}}
{{- define "gantry.batch.arguments" -}}
{{- $instance := printf "%s/%s/%s" .root.Release.Namespace (include "gantry.fullname" .root) .name -}}
{{- with .job -}}
- batch
- {{ .command }}
{{- if ne .command "retry" }}
- {{ printf "--out=%s" .out | quote }}
{{- end }}
{{- if .embedded }}
- --embedded
- --model-store=/models
{{- end }}
{{- range $name, $value := .options }}
{{- if kindIs "bool" $value }}
{{- if $value }}
- --{{ $name }}
{{- end }}
{{- else }}
{{- range kindIs "slice" $value | ternary $value (list $value) }}
{{- /* toJson, since %v would write a large number with an exponent. */}}
- {{ printf "--%s=%s" $name (kindIs "string" . | ternary . (toJson .)) | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if hasKey .options "pushgateway" }}
{{- /* By it the alerts and the dashboard find the jobs of a release. */}}
- {{ printf "--push-label=instance=%s" $instance | quote }}
{{- end }}
- "--"
{{- if eq .command "retry" }}
- {{ .out | quote }}
{{- else }}
- {{ .model | quote }}
{{- range .inputs }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
Name of a job: (dict "root" . "job" "name" "spec" "text"). A Job cannot be changed, so that another specification is
another Job; the same one keeps its name and is left alone. At most 57 characters, since a pod's host name is the Job's
name and an index of up to five digits.
*/}}
{{- define "gantry.batch.name" -}}
{{- include "gantry.component-name" (dict "root" .root "component" (printf "batch-%s-%s" .job (sha256sum .spec | trunc 8)) "max" 57) -}}
{{- end -}}
