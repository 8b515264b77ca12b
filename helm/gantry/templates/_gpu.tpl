{{/* Models on a GPU. */}}

{{/* Says something where the limits of a container's resources have a GPU, whole or in part. */}}
{{- define "gantry.hasGpu" -}}
{{- range $name, $count := .limits }}
{{- if and (or (hasSuffix "/gpu" $name) (hasPrefix "nvidia.com/" $name)) (ne (toString $count) "0") }}{{ $name }}{{ end }}
{{- end }}
{{- end -}}

{{/*
Environment that puts models on the GPU of their container, as a list: (dict "resources" … "env" (list …)). Empty where
there is none, and where the values' own environment names a device.
*/}}
{{- define "gantry.gpuEnv" -}}
{{- $isNamed := false -}}
{{- range .env }}{{ if eq .name "GANTRY_DEVICE" }}{{ $isNamed = true }}{{ end }}{{ end -}}
{{- if and (include "gantry.hasGpu" .resources) (not $isNamed) -}}
- {name: GANTRY_DEVICE, value: cuda}
{{- end -}}
{{- end -}}
