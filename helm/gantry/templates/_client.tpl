{{/* What a Gantry client inside the release (helm test, batch jobs) needs to find, trust and satisfy the gateway. */}}

{{/* host:port of the gateway inside the cluster. */}}
{{- define "gantry.gatewayAddress" -}}
{{- printf "%s.%s.svc:%v" (include "gantry.component-name" (dict "root" . "component" "gateway")) .Release.Namespace .Values.service.port -}}
{{- end -}}

{{/* Environment of a client, as a list. */}}
{{- define "gantry.clientEnv" -}}
{{- $client := .Values.auth.client -}}
- name: GANTRY_ADDRESS
  value: {{ include "gantry.gatewayAddress" . | quote }}
{{- if include "gantry.tlsSecretName" . }}
- name: GANTRY_TLS
  value: "true"
{{- if $client.caKey }}
- name: GANTRY_CA
  value: /etc/gantry/client/ca/ca.crt
{{- end }}
{{- with $client.certificateSecretName }}
- name: GANTRY_CLIENT_CERTIFICATE
  value: /etc/gantry/client/certificate/tls.crt
- name: GANTRY_CLIENT_KEY
  value: /etc/gantry/client/certificate/tls.key
{{- end }}
{{- with $client.serverName }}
- name: GANTRY_SERVER_NAME
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if $client.tokenSecretName }}
- name: GANTRY_TOKEN_FILE
  value: /etc/gantry/client/token/token
{{- if not (include "gantry.tlsSecretName" .) }}
# Clients keep tokens off unencrypted connections; here the values have chosen them, and the NetworkPolicy guards them.
- name: GANTRY_ALLOW_PLAIN_TEXT
  value: "true"
{{- end }}
{{- end }}
{{- end -}}

{{/* Volumes of a client, as a list; empty where it needs none. */}}
{{- define "gantry.clientVolumes" -}}
{{- $client := .Values.auth.client -}}
{{- if include "gantry.tlsSecretName" . }}
{{- if $client.caKey }}
- name: gateway-ca
  secret:
    secretName: {{ default (include "gantry.tlsSecretName" .) $client.caSecretName | quote }}
    # Only the authority: the gateway's private key may be in the same secret.
    items: [{key: {{ $client.caKey | quote }}, path: ca.crt}]
{{- end }}
{{- with $client.certificateSecretName }}
- name: client-certificate
  secret: {secretName: {{ . | quote }}, defaultMode: 0440}
{{- end }}
{{- end }}
{{- if $client.tokenSecretName }}
- name: client-token
  secret:
    secretName: {{ $client.tokenSecretName | quote }}
    defaultMode: 0440
    items: [{key: {{ $client.tokenKey | quote }}, path: token}]
{{- end }}
{{- end -}}

{{/* Mounts of a client, as a list; empty where it needs none. */}}
{{- define "gantry.clientVolumeMounts" -}}
{{- $client := .Values.auth.client -}}
{{- if include "gantry.tlsSecretName" . }}
{{- if $client.caKey }}
- {name: gateway-ca, mountPath: /etc/gantry/client/ca, readOnly: true}
{{- end }}
{{- if $client.certificateSecretName }}
- {name: client-certificate, mountPath: /etc/gantry/client/certificate, readOnly: true}
{{- end }}
{{- end }}
{{- if $client.tokenSecretName }}
- {name: client-token, mountPath: /etc/gantry/client/token, readOnly: true}
{{- end }}
{{- end -}}

{{/* The values that are missing for the gateway to take the release's own clients in; empty where it does. */}}
{{- define "gantry.clientLacks" -}}
{{- $client := .Values.auth.client -}}
{{- $lacks := list -}}
{{- if and .Values.tls.clientCa.secretName (not $client.certificateSecretName) -}}
{{- $lacks = append $lacks "auth.client.certificateSecretName" -}}
{{- end -}}
{{- if and (or (include "gantry.apiKeysSecretName" .) .Values.auth.jwt.keys) (not $client.tokenSecretName) -}}
{{- $lacks = append $lacks "auth.client.tokenSecretName" -}}
{{- end -}}
{{- join " and " $lacks -}}
{{- end -}}
