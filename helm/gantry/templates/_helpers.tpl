{{/* Names, labels and the parts of pods that several templates share. "root" is always the template's top scope. */}}

{{/* Name of the application. */}}
{{- define "gantry.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Beginning of every object's name. */}}
{{- define "gantry.fullname" -}}
{{- $name := include "gantry.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name -}}
{{- end -}}
{{- end -}}

{{/*
Name of an object: (dict "root" . "component" "x" ["max" 63]). One that is too long is cut and ends in a hash of the
whole, so that two long names stay apart.
*/}}
{{- define "gantry.component-name" -}}
{{- $max := int (default 63 .max) -}}
{{- $name := printf "%s-%s" (include "gantry.fullname" .root) .component -}}
{{- if gt (len $name) $max -}}
{{- printf "%s-%s" (trunc (int (sub $max 9)) $name | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* Labels that select a component's pods: (dict "root" . "component" "gateway"). */}}
{{- define "gantry.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gantry.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component | quote }}
{{- end -}}

{{/* Labels of a component's objects: (dict "root" . "component" "gateway" ["more" (dict …)]). */}}
{{- define "gantry.labels" -}}
{{- $chart := dict
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- toYaml (merge (include "gantry.podLabels" . | fromYaml) $chart) -}}
{{- end -}}

{{/*
Labels of a component's pods. None names a version: a new one of the chart, where it changes nothing else of the pods,
is to restart none, and to leave alone the Jobs, which cannot be changed.
*/}}
{{- define "gantry.podLabels" -}}
{{- $project := dict "app.kubernetes.io/part-of" "gantry" -}}
{{- toYaml (merge (include "gantry.selectorLabels" . | fromYaml) (default dict .more) .root.Values.commonLabels $project) -}}
{{- end -}}

{{/* The annotations block, or nothing: (dict "root" . "with" (dict …)). */}}
{{- define "gantry.annotations" -}}
{{- with merge (dict) (default (dict) .with) .root.Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/*
What stands under `metadata` of an object: (dict "root" . "component" "gateway" ["name" "…"]), with further labels as
"more" and annotations as "with".
*/}}
{{- define "gantry.metadata" -}}
name: {{ default (include "gantry.component-name" .) .name | quote }}
labels:
  {{- include "gantry.labels" . | nindent 2 }}
{{- with include "gantry.annotations" . }}
{{ . }}
{{- end }}
{{- end -}}

{{/* What stands under `metadata` of a component's pods: (dict "root" . "component" "gateway" "pod" .Values.gateway). */}}
{{- define "gantry.podMetadata" -}}
labels:
  {{- include "gantry.podLabels" (merge (dict "more" .pod.podLabels) .) | nindent 2 }}
{{- with include "gantry.annotations" (dict "root" .root "with" .pod.podAnnotations) }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Reference of an image: (dict "root" . "image" .Values.images.gateway). */}}
{{- define "gantry.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "gantry.containerSecurityContext" -}}
{{- toYaml .Values.containerSecurityContext -}}
{{- end -}}

{{- define "gantry.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "gantry.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What every pod's specification begins with: (dict "root" . "component" "gateway" "pod" .Values.gateway). */}}
{{- define "gantry.pod" -}}
serviceAccountName: {{ default (include "gantry.serviceAccountName" .root) .pod.serviceAccountName | quote }}
automountServiceAccountToken: false
# A Service called gantry would otherwise set GANTRY_PORT to a URL.
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- include "gantry.scheduling" . }}
{{- end -}}

{{/* Where a component's pods run: (dict "root" . "component" "gateway" "pod" .Values.gateway). */}}
{{- define "gantry.scheduling" -}}
{{- with .pod.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .pod.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $spread := default (dict) .pod.topologySpread }}
{{- if or $spread.zone $spread.hostname }}
topologySpreadConstraints:
  {{- range $key, $when := dict "topology.kubernetes.io/zone" $spread.zone "kubernetes.io/hostname" $spread.hostname }}
  {{- if $when }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $when }}
    labelSelector:
      matchLabels:
        {{- include "gantry.selectorLabels" $ | nindent 8 }}
    # Pods of the old and the new version are spread each by themselves.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* How a new version of a Deployment replaces the old one: (.Values.gateway.strategy). */}}
{{- define "gantry.strategy" -}}
type: {{ .type }}
{{- if eq .type "RollingUpdate" }}
rollingUpdate: {maxSurge: {{ .maxSurge }}, maxUnavailable: {{ .maxUnavailable }}}
{{- end }}
{{- end -}}

{{/*
Seconds after which a rollout counts as stuck: what the probes let a pod take to start, and ten minutes to find a node for
it, to pull images and to copy models. Kubernetes' own default would give up on pods that may still start.
*/}}
{{- define "gantry.progressDeadlineSeconds" -}}
{{- add . 600 -}}
{{- end -}}

{{/* A quantity of memory, as Kubernetes writes it (2Gi, 1500M, 1000000000), in bytes. */}}
{{- define "gantry.bytes" -}}
{{- $units := dict "" 1 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- $unit := regexFind "([mkMGTPE]|[KMGTPE]i)$" (toString .) -}}
{{- mulf (trimSuffix $unit (toString .) | float64) (get $units $unit) | int64 -}}
{{- end -}}
