{{/*
Grafana's JSON of files/dashboard.yaml: numbers the panels and gives each its place on the grid of 24 columns.
*/}}
{{- define "gantry.dashboard" -}}
{{- $release := include "gantry.fullname" . -}}
{{- $source := dict "type" "prometheus" "uid" "${datasource}" -}}
{{- $text := .Files.Get "files/dashboard.yaml"
  | replace "${gateway}" "job=\"$release\", namespace=\"$namespace\""
  | replace "${batch}" "job=\"gantry-batch\", instance=~\"$namespace/$release/.+\"" -}}
{{- $panels := list -}}
{{- $x := 0 -}}
{{- $y := 0 -}}
{{- range $row := (fromYaml $text).rows -}}
{{- $panels = append $panels (dict
  "id" (add1 (len $panels))
  "type" "row"
  "title" .title
  "collapsed" false
  "gridPos" (dict "x" 0 "y" $y "w" 24 "h" 1)
  "panels" list
) -}}
{{- $x = 0 -}}
{{- $y = add1 $y -}}
{{- range .panels -}}
{{- $width := int (default 8 .width) -}}
{{- if gt (add $x $width) 24 -}}
{{- $x = 0 -}}
{{- $y = add $y 8 -}}
{{- end -}}
{{- $targets := list -}}
{{- range .queries -}}
{{- $targets = append $targets (dict
  "refId" (printf "%c" (add 65 (len $targets)))
  "datasource" $source
  "expr" .expr
  "legendFormat" .legend
) -}}
{{- end -}}
{{- $panels = append $panels (dict
  "id" (add1 (len $panels))
  "type" "timeseries"
  "title" .title
  "description" .description
  "datasource" $source
  "gridPos" (dict "x" $x "y" $y "w" $width "h" 8)
  "fieldConfig" (dict "defaults" (dict "unit" .unit "min" 0) "overrides" list)
  "options" (dict "tooltip" (dict "mode" "multi" "sort" "desc"))
  "targets" $targets
) -}}
{{- $x = add $x $width -}}
{{- end -}}
{{- $y = add $y 8 -}}
{{- end -}}
{{- toPrettyJson (dict
  "uid" (printf "gantry-%s" (printf "%s/%s" .Release.Namespace $release | sha1sum | trunc 12))
  "title" (printf "Gantry: %s/%s" .Release.Namespace $release)
  "tags" (list "gantry")
  "schemaVersion" 41
  "editable" false
  "refresh" "30s"
  "time" (dict "from" "now-3h" "to" "now")
  "templating" (dict "list" (list
    (dict "name" "datasource" "type" "datasource" "label" "Data source" "query" "prometheus")
    (dict
      "name" "namespace" "type" "query" "label" "Namespace" "datasource" $source "refresh" 2
      "query" "label_values(gantry_model_info, namespace)"
      "current" (dict "text" .Release.Namespace "value" .Release.Namespace)
    )
    (dict
      "name" "release" "type" "query" "label" "Release" "datasource" $source "refresh" 2
      "query" "label_values(gantry_model_info{namespace=\"$namespace\"}, job)"
      "current" (dict "text" $release "value" $release)
    )
  ))
  "panels" $panels
) -}}
{{- end -}}
