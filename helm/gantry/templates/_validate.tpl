{{/*
Refuses values that contradict each other, each with what to do about it. Everything that is wrong is told at once.
What one value alone may be stands in values.schema.json.
*/}}
{{- define "gantry.validate" -}}
{{- $faults := list -}}
{{- range list "backend" "modelStore" "auth" "scaling" "network" "pods" "monitoring" "batch" "training" -}}
{{- $faults = concat $faults (include (printf "gantry.validate.%s" .) $ | fromYamlArray) -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n- %s" (join "\n- " $faults)) -}}
{{- end -}}
{{- end -}}

{{- define "gantry.validate.backend" -}}
{{- $mode := .Values.backend.mode -}}
{{- if and (eq $mode "torchserve") (not .Values.torchserve.models) }}
- "backend.mode is torchserve, where the gateway cannot ask for the models: name them in torchserve.models"
{{- end }}
{{- $wantsGpu := eq (default "cpu" .Values.gateway.settings.device) "cuda" }}
{{- $hasGpu := include "gantry.hasGpu" .Values.gateway.resources }}
{{- if and (ne $mode "embedded") $wantsGpu }}
- "gateway.settings.device is cuda, but with backend.mode {{ $mode }} the gateway runs no model: TorchServe uses the GPU that torchserve.resources asks for"
{{- end }}
{{- if and (ne $mode "embedded") $hasGpu }}
- "gateway.resources asks for a GPU, but with backend.mode {{ $mode }} the gateway runs no model: ask for it in torchserve.resources"
{{- end }}
{{- if and (eq $mode "embedded") $wantsGpu (not $hasGpu) }}
- "gateway.settings.device is cuda, but gateway.resources asks for no GPU: set e.g. gateway.resources.limits.nvidia\\.com/gpu to 1"
{{- end }}
{{- end -}}

{{- define "gantry.validate.modelStore" -}}
{{- $store := .Values.modelStore -}}
{{- if and (eq $store.source "image") (ne .Values.backend.mode "embedded") }}
- "modelStore.source is image, but only the gateway-embedded image carries models: with backend.mode {{ .Values.backend.mode }} choose pvc, objectStore, initImage or imageVolume"
{{- end }}
{{- if and (eq $store.source "pvc") (not $store.pvc.claimName) }}
- "modelStore.source is pvc: name the claim in modelStore.pvc.claimName"
{{- end }}
{{- if and (eq $store.source "objectStore") (not $store.objectStore.url) }}
- "modelStore.source is objectStore: say where the archives are in modelStore.objectStore.url"
{{- end }}
{{- if and (eq $store.source "initImage") (not $store.initImage.repository) }}
- "modelStore.source is initImage: name the image in modelStore.initImage.repository"
{{- end }}
{{- if and (eq $store.source "initImage") (not $store.initImage.tag) (not $store.initImage.digest) }}
- "modelStore.source is initImage: give modelStore.initImage.tag or modelStore.initImage.digest; the chart's version says nothing of that image"
{{- end }}
{{- if eq $store.source "imageVolume" }}
{{- if not $store.imageVolume.reference }}
- "modelStore.source is imageVolume: name the image in modelStore.imageVolume.reference"
{{- end }}
{{- if semverCompare "<1.33.0-0" .Capabilities.KubeVersion.Version }}
- "modelStore.source imageVolume needs Kubernetes 1.35, or 1.33 with the feature gate ImageVolume; this is {{ .Capabilities.KubeVersion.Version }}: choose initImage"
{{- end }}
{{- end }}
{{- end -}}

{{- define "gantry.validate.auth" -}}
{{- $auth := .Values.auth -}}
{{- $tls := .Values.tls -}}
{{- $guards := list -}}
{{- if $tls.secretName }}{{ $guards = append $guards "tls.secretName" }}{{ end -}}
{{- if $tls.certManager.enabled }}{{ $guards = append $guards "tls.certManager.enabled" }}{{ end -}}
{{- if $auth.keys }}{{ $guards = append $guards "auth.keys" }}{{ end -}}
{{- if $auth.apiKeys.secretName }}{{ $guards = append $guards "auth.apiKeys.secretName" }}{{ end -}}
{{- if $auth.tokens.secretName }}{{ $guards = append $guards "auth.tokens.secretName" }}{{ end -}}
{{- if $auth.jwt.keys }}{{ $guards = append $guards "auth.jwt.keys" }}{{ end -}}
{{- if and $auth.insecure $guards }}
- "auth.insecure is true, yet {{ join ", " $guards }} is set: set auth.insecure to false"
{{- end }}
{{- if not (or $auth.insecure $guards) }}
- "auth.insecure is false, but nothing keeps strangers out: set tls.secretName, tls.certManager.enabled, auth.keys, auth.apiKeys.secretName or auth.jwt.keys"
{{- end }}
{{- if and $auth.insecure (ne .Values.service.type "ClusterIP") }}
- "auth.insecure is true, and service.type {{ .Values.service.type }} would open the gateway to everybody: set up tls or auth, or keep ClusterIP"
{{- end }}
{{- if and $tls.secretName $tls.certManager.enabled }}
- "tls.secretName and tls.certManager.enabled exclude each other: the certificate comes from one of them"
{{- end }}
{{- if and $tls.certManager.enabled (not $tls.certManager.issuerRef.name) }}
- "tls.certManager.enabled needs tls.certManager.issuerRef.name"
{{- end }}
{{- if and $tls.clientCa.secretName (not (include "gantry.tlsSecretName" .)) }}
- "tls.clientCa.secretName asks for client certificates, which need TLS: set tls.secretName or tls.certManager.enabled"
{{- end }}
{{- $sources := list -}}
{{- if $auth.keys }}{{ $sources = append $sources "auth.keys" }}{{ end -}}
{{- if $auth.apiKeys.secretName }}{{ $sources = append $sources "auth.apiKeys.secretName" }}{{ end -}}
{{- if $auth.tokens.secretName }}{{ $sources = append $sources "auth.tokens.secretName" }}{{ end -}}
{{- if gt (len $sources) 1 }}
- "{{ join " and " $sources }} exclude each other: the hashed keys come from one of them"
{{- end }}
{{- $names := list }}{{ $hashes := list }}
{{- range $auth.keys }}{{ $names = append $names .name }}{{ $hashes = append $hashes .sha256 }}{{ end }}
{{- if ne (len (uniq $names)) (len $names) }}
- "auth.keys gives a name twice"
{{- end }}
{{- if ne (len (uniq $hashes)) (len $hashes) }}
- "auth.keys gives a sha256 twice"
{{- end }}
{{- if and (not $auth.jwt.keys) (or $auth.jwt.issuer $auth.jwt.audience) }}
- "auth.jwt.issuer and auth.jwt.audience mean nothing without auth.jwt.keys"
{{- end }}
{{- if and $auth.jwt.keys (not $auth.jwt.audience) }}
- "auth.jwt.keys needs auth.jwt.audience: without it, tokens made for other services would be taken"
{{- end }}
{{- if and $auth.client.certificateSecretName (not (include "gantry.tlsSecretName" .)) }}
- "auth.client.certificateSecretName means nothing without TLS: set tls.secretName or tls.certManager.enabled"
{{- end }}
{{- end -}}

{{- define "gantry.validate.scaling" -}}
{{- $hpa := .Values.autoscaling.hpa -}}
{{- $keda := .Values.autoscaling.keda -}}
{{- $budget := .Values.podDisruptionBudget -}}
{{- if and $hpa.enabled $keda.enabled }}
- "autoscaling.hpa.enabled and autoscaling.keda.enabled exclude each other: both would set the number of pods"
{{- end }}
{{- if $hpa.enabled }}
{{- if gt (int $hpa.minReplicas) (int $hpa.maxReplicas) }}
- "autoscaling.hpa.minReplicas ({{ $hpa.minReplicas }}) is more than autoscaling.hpa.maxReplicas ({{ $hpa.maxReplicas }})"
{{- end }}
{{- if not (or $hpa.cpuUtilization $hpa.queueWaitSeconds) }}
- "autoscaling.hpa.enabled needs something to look at: autoscaling.hpa.cpuUtilization or autoscaling.hpa.queueWaitSeconds"
{{- end }}
{{- if and $hpa.queueWaitSeconds (eq .Values.backend.mode "torchserve") }}
- "autoscaling.hpa.queueWaitSeconds is a metric of the gateway's pods, but with backend.mode torchserve it is TorchServe's that are scaled: use autoscaling.keda or autoscaling.hpa.cpuUtilization"
{{- end }}
{{- range get (dict "embedded" (list "gateway") "torchserve-sidecar" (list "gateway" "torchserve") "torchserve" (list "torchserve")) .Values.backend.mode }}
{{- if and $hpa.cpuUtilization (not (dig "requests" "cpu" "" (index $.Values .).resources)) }}
- "autoscaling.hpa.cpuUtilization is a share of the requested CPU, and {{ . }}.resources.requests.cpu is not set"
{{- end }}
{{- end }}
{{- end }}
{{- if $keda.enabled }}
{{- if gt (int $keda.minReplicas) (int $keda.maxReplicas) }}
- "autoscaling.keda.minReplicas ({{ $keda.minReplicas }}) is more than autoscaling.keda.maxReplicas ({{ $keda.maxReplicas }})"
{{- end }}
{{- if not $keda.prometheusAddress }}
- "autoscaling.keda.enabled needs autoscaling.keda.prometheusAddress"
{{- end }}
{{- end }}
{{- if $budget.enabled }}
{{- $hasMin := not (kindIs "invalid" $budget.minAvailable) }}
{{- $hasMax := not (kindIs "invalid" $budget.maxUnavailable) }}
{{- if and $hasMin $hasMax }}
- "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other"
{{- end }}
{{- range $component, $fewest := include "gantry.fewestPods" . | fromYaml }}
{{- $min := $budget.minAvailable }}
{{- if kindIs "string" $min }}{{ $min = divf (mul (trimSuffix "%" $min) $fewest) 100 | ceil }}{{ end }}
{{- if and $hasMin (ge (int $min) (int $fewest)) }}
- "podDisruptionBudget.minAvailable ({{ $budget.minAvailable }}) would never let a pod of {{ $component }} go, which has {{ $fewest }} at the least: nodes could not be drained"
{{- end }}
{{- end }}
{{- if and $hasMax (has (toString $budget.maxUnavailable) (list "0" "0%")) }}
- "podDisruptionBudget.maxUnavailable ({{ $budget.maxUnavailable }}) would never let a pod go: nodes could not be drained"
{{- end }}
{{- end }}
{{- end -}}

{{/* Fewest pods of each Deployment, as a map. */}}
{{- define "gantry.fewestPods" -}}
{{- $own := eq .Values.backend.mode "torchserve" -}}
{{- $scaled := ternary "torchserve" "gateway" $own -}}
{{- $fewest := dict "gateway" .Values.gateway.replicas -}}
{{- if $own }}{{ $_ := set $fewest "torchserve" .Values.torchserve.replicas }}{{ end -}}
{{- if .Values.autoscaling.hpa.enabled }}{{ $_ := set $fewest $scaled .Values.autoscaling.hpa.minReplicas }}{{ end -}}
{{- if .Values.autoscaling.keda.enabled }}{{ $_ := set $fewest $scaled .Values.autoscaling.keda.minReplicas }}{{ end -}}
{{- toYaml $fewest -}}
{{- end -}}

{{- define "gantry.validate.network" -}}
{{- if and .Values.service.externalTrafficPolicy (eq .Values.service.type "ClusterIP") }}
- "service.externalTrafficPolicy means nothing with service.type ClusterIP, which takes no calls from outside of the cluster"
{{- end }}
{{- $egress := .Values.networkPolicy.egress -}}
{{- $ingress := .Values.networkPolicy.ingress -}}
{{- if .Values.networkPolicy.enabled }}
{{- $toOtherNamespaces := not (empty $ingress.extra) }}
{{- $toTheWorld := $toOtherNamespaces }}
{{- range $ingress.grpcFrom }}
{{- if .ipBlock }}{{ $toTheWorld = true }}{{ end }}
{{- if or .ipBlock .namespaceSelector }}{{ $toOtherNamespaces = true }}{{ end }}
{{- end }}
{{- if and (ne .Values.service.type "ClusterIP") (not $toTheWorld) }}
- "service.type {{ .Values.service.type }} takes calls from outside of the cluster, which the NetworkPolicy does not let in: say where they come from in networkPolicy.ingress.grpcFrom, for anywhere [{ipBlock: {cidr: 0.0.0.0/0}}]"
{{- end }}
{{- if .Values.grpcRoute.enabled }}
{{- range .Values.grpcRoute.parentRefs }}
{{- if and (ne (default $.Release.Namespace .namespace) $.Release.Namespace) (not $toOtherNamespaces) }}
- "grpcRoute.parentRefs names the Gateway {{ .name }} in the namespace {{ .namespace }}, but the NetworkPolicy lets nobody in from there: name the pods that route for it in networkPolicy.ingress.grpcFrom"
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq .Values.modelStore.source "objectStore") (not $egress.objectStore.to) }}
- "modelStore.source is objectStore, but the NetworkPolicy lets no pod reach it: say where it is in networkPolicy.egress.objectStore.to, for one in the internet [{ipBlock: {cidr: 0.0.0.0/0}}]"
{{- end }}
{{- if and (hasPrefix "https://" .Values.auth.jwt.keys) (not $egress.jwks.to) }}
- "auth.jwt.keys is a URL, but the NetworkPolicy lets no pod reach it: say where it is in networkPolicy.egress.jwks.to"
{{- end }}
{{- if and .Values.grpcRoute.enabled (not $ingress.grpcFrom) (not $ingress.extra) }}
- "grpcRoute.enabled routes calls to the gateway that the NetworkPolicy does not let in: name the Gateway's pods in networkPolicy.ingress.grpcFrom"
{{- end }}
{{- end }}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) }}
- "grpcRoute.enabled needs a Gateway to attach to: name it in grpcRoute.parentRefs"
{{- end }}
{{- end -}}

{{- define "gantry.validate.pods" -}}
{{- $gateway := .Values.gateway -}}
{{- /* Calls that the drain ends are still told so, and the backend is stopped. */}}
{{- $needed := add $gateway.preStopSeconds $gateway.drainSeconds 5 -}}
{{- with $gateway.terminationGracePeriodSeconds }}
{{- if lt (int64 .) $needed }}
- "gateway.terminationGracePeriodSeconds ({{ . }}) must be at least gateway.preStopSeconds + gateway.drainSeconds + 5 ({{ $needed }}), else calls are cut off; leave it null to have it computed"
{{- end }}
{{- end }}
{{- include "gantry.validate.environment" (dict "path" "gateway.extraEnv" "env" (include "gantry.gateway.environment" . | fromYamlArray)) }}
{{- range include "gantry.torchserve.container" . | fromYamlArray }}
{{- include "gantry.validate.environment" (dict "path" "torchserve.extraEnv" "env" .env) }}
{{- end }}
{{- if and (eq .Values.backend.mode "torchserve") (le (int64 .Values.torchserve.terminationGracePeriodSeconds) (int64 .Values.torchserve.preStopSeconds)) }}
- "torchserve.terminationGracePeriodSeconds ({{ .Values.torchserve.terminationGracePeriodSeconds }}) must be more than torchserve.preStopSeconds ({{ .Values.torchserve.preStopSeconds }})"
{{- end }}
{{- $least := ternary "1Gi" "256Mi" (eq .Values.backend.mode "embedded") }}
{{- with $gateway.resources.limits.memory }}
{{- if lt (include "gantry.bytes" . | int64) (include "gantry.bytes" $least | int64) }}
- "gateway.resources.limits.memory ({{ . }}) must be at least {{ $least }} with backend.mode {{ $.Values.backend.mode }}, else the gateway has no room to start"
{{- end }}
{{- end }}
{{- range $component := list "gateway" "torchserve" }}
{{- $resources := (index $.Values $component).resources }}
{{- $request := dig "requests" "memory" "" $resources }}
{{- $limit := dig "limits" "memory" "" $resources }}
{{- if and $request $limit (gt (include "gantry.bytes" $request | int64) (include "gantry.bytes" $limit | int64)) }}
- "{{ $component }}.resources.requests.memory ({{ $request }}) must be at most limits.memory ({{ $limit }}): Kubernetes takes no such pod"
{{- end }}
{{- $strategy := (index $.Values $component).strategy }}
{{- $zero := list "0" "0%" }}
{{- if and (eq $strategy.type "RollingUpdate") (has (toString $strategy.maxSurge) $zero) (has (toString $strategy.maxUnavailable) $zero) }}
- "{{ $component }}.strategy.maxSurge and {{ $component }}.strategy.maxUnavailable are both 0, so no pod could ever be replaced"
{{- end }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) .Values.serviceAccount.annotations }}
- "serviceAccount.annotations mean nothing where serviceAccount.create is false"
{{- end }}
{{- end -}}

{{/* Refuses variables that a container is given twice, of which only one would count: (dict "path" "…" "env" (list …)). */}}
{{- define "gantry.validate.environment" -}}
{{- $names := list -}}
{{- range .env }}
{{- if has .name $names }}
- "{{ $.path }} sets {{ .name }}, which is set already: other values decide it"
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- end -}}
