{{/* Existing PersistentVolumeClaims that values name, `[{claimName, mountPath, subPath, readOnly}]`. */}}

{{/* Their volumes, as a list. */}}
{{- define "gantry.claimVolumes" -}}
{{- range $index, $claim := . }}
- name: claim-{{ $index }}
  persistentVolumeClaim: {claimName: {{ $claim.claimName | quote }}, readOnly: {{ default false $claim.readOnly }}}
{{- end }}
{{- end -}}

{{/* Their mounts, as a list. */}}
{{- define "gantry.claimMounts" -}}
{{- range $index, $claim := . }}
- name: claim-{{ $index }}
  mountPath: {{ $claim.mountPath | quote }}
  readOnly: {{ default false $claim.readOnly }}
  {{- with $claim.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}
