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

{{/* Labels of a component's objects and pods: (dict "root" . "component" "gateway" ["more" (dict …)]). */}}
{{- define "gantry.labels" -}}
{{- $chart := dict
  "app.kubernetes.io/version" .root.Chart.AppVersion
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/part-of" "gantry"
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
-}}
{{- toYaml (merge (include "gantry.selectorLabels" . | fromYaml) (default dict .more) .root.Values.commonLabels $chart) -}}
{{- end -}}

{{/* The annotations block, or nothing: (dict "root" . "with" (dict …)). */}}
{{- define "gantry.annotations" -}}
{{- with merge (dict) (default (dict) .with) .root.Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* What stands under `metadata` of an object: (dict "root" . "component" "gateway" ["name" "…"] ["with" (dict …)]). */}}
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
  {{- include "gantry.labels" (merge (dict "more" .pod.podLabels) .) | nindent 2 }}
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

{{- define "gantry.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "gantry.podSecurityContext" -}}
{{- toYaml .Values.podSecurityContext -}}
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
serviceAccountName: {{ include "gantry.serviceAccountName" .root | quote }}
automountServiceAccountToken: false
# A Service called gantry would otherwise set GANTRY_PORT to a URL.
enableServiceLinks: false
{{- with include "gantry.imagePullSecrets" .root }}
{{ . }}
{{- end }}
securityContext:
  {{- include "gantry.podSecurityContext" .root | nindent 2 }}
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
