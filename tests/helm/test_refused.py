"""Values that must not be installed: those that contradict each other, and those that the schema does not know."""

from typing import Any

import pytest
from helm_python.errors import HelmRenderError, HelmValuesError

from tests.helm.rendering import merged, render

_OWN: dict[str, Any] = {
    "backend": {"mode": "torchserve"},
    "torchserve": {"models": ["a"]},
    "modelStore": {"source": "pvc", "pvc": {"claimName": "models"}},
}
_CERT_MANAGER = {"certManager": {"enabled": True, "issuerRef": {"name": "ca"}}}
_KEY = {"name": "one", "sha256": "0" * 64, "models": ["*"]}
_STRICT = {"insecure": False}
_JWT = {"keys": "https://login.example.com/keys", "audience": "gantry"}

_CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "own TorchServe without models": (
        merged(_OWN, {"torchserve": {"models": []}}),
        "backend.mode is torchserve, where the gateway cannot ask for the models: name them in torchserve.models",
    ),
    "models of an image that has none": (
        merged(_OWN, {"modelStore": {"source": "image"}}),
        "modelStore.source is image, but only the gateway-embedded image carries models: with backend.mode torchserve",
    ),
    "models of an image that has none, beside a sidecar": (
        {"backend": {"mode": "torchserve-sidecar"}},
        "with backend.mode torchserve-sidecar choose pvc, objectStore, initImage or imageVolume",
    ),
    "cuda without a GPU": (
        {"gateway": {"settings": {"device": "cuda"}}},
        "gateway.settings.device is cuda, but gateway.resources asks for no GPU",
    ),
    "cuda where nothing is run": (
        merged(_OWN, {"gateway": {"settings": {"device": "cuda"}}}),
        "the gateway runs no model: TorchServe uses the GPU that torchserve.resources asks for",
    ),
    "a GPU where nothing is run": (
        merged(_OWN, {"gateway": {"resources": {"limits": {"nvidia.com/gpu": 1}}}}),
        "gateway.resources asks for a GPU, but with backend.mode torchserve the gateway runs no model",
    ),
    "a gateway without memory for torch": (
        {"gateway": {"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}}},
        "gateway.resources.limits.memory (64Mi) must be at least 1Gi with backend.mode embedded",
    ),
    "a gateway without memory": (
        merged(_OWN, {"gateway": {"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}}}),
        "gateway.resources.limits.memory (64Mi) must be at least 256Mi with backend.mode torchserve",
    ),
    "more memory asked for than allowed": (
        merged(_OWN, {"torchserve": {"resources": {"requests": {"memory": "7Gi"}}}}),
        "torchserve.resources.requests.memory (7Gi) must be at most limits.memory (6Gi)",
    ),
    "pvc without a claim": ({"modelStore": {"source": "pvc"}}, "modelStore.pvc.claimName"),
    "object store without a place": (
        {"modelStore": {"source": "objectStore"}},
        "say where the archives are in modelStore.objectStore.url",
    ),
    "object store behind the NetworkPolicy": (
        {"modelStore": {"source": "objectStore", "objectStore": {"url": "s3://a/b"}}},
        "say where it is in networkPolicy.egress.objectStore.to",
    ),
    "init image without a name": ({"modelStore": {"source": "initImage"}}, "modelStore.initImage.repository"),
    "init image without a version": (
        {"modelStore": {"source": "initImage", "initImage": {"repository": "a/b"}}},
        "give modelStore.initImage.tag or modelStore.initImage.digest",
    ),
    "image volume without an image": ({"modelStore": {"source": "imageVolume"}}, "modelStore.imageVolume.reference"),
    "tokens and everybody": (
        {"auth": {"keys": [_KEY]}},
        "auth.insecure is true, yet auth.keys is set: set auth.insecure to false",
    ),
    "TLS and everybody": ({"tls": {"secretName": "a"}}, "auth.insecure is true, yet tls.secretName is set"),
    "JWT and everybody": (
        {"auth": {"jwt": _JWT}, "networkPolicy": {"enabled": False}},
        "auth.insecure is true, yet auth.jwt.keys is set",
    ),
    "neither everybody nor a guard": ({"auth": _STRICT}, "auth.insecure is false, but nothing keeps strangers out"),
    "a load balancer for everybody": (
        {"service": {"type": "LoadBalancer"}},
        "service.type LoadBalancer would open the gateway to everybody",
    ),
    "two certificates": (
        {"auth": _STRICT, "tls": {"secretName": "a", **_CERT_MANAGER}},
        "tls.secretName and tls.certManager.enabled exclude each other",
    ),
    "certificate without an issuer": (
        {"auth": _STRICT, "tls": {"certManager": {"enabled": True}}},
        "tls.certManager.enabled needs tls.certManager.issuerRef.name",
    ),
    "client certificates without TLS": (
        {"tls": {"clientCa": {"secretName": "a"}}},
        "tls.clientCa.secretName asks for client certificates, which need TLS",
    ),
    "a client's certificate without TLS": (
        {"auth": {"client": {"certificateSecretName": "a"}}},
        "auth.client.certificateSecretName means nothing without TLS",
    ),
    "two lists of keys": (
        {"auth": {**_STRICT, "keys": [_KEY], "apiKeys": {"secretName": "a"}}},
        "auth.keys and auth.apiKeys.secretName exclude each other",
    ),
    "a name twice": (
        {"auth": {**_STRICT, "keys": [_KEY, {**_KEY, "sha256": "1" * 64}]}},
        "auth.keys gives a name twice",
    ),
    "a hash twice": (
        {"auth": {**_STRICT, "keys": [_KEY, {**_KEY, "name": "two"}]}},
        "auth.keys gives a sha256 twice",
    ),
    "audience without JWKS": ({"auth": {"jwt": {"audience": "a"}}}, "mean nothing without auth.jwt.keys"),
    "JWKS without audience": (
        {"auth": {**_STRICT, "jwt": {"keys": '{"keys": []}'}}},
        "auth.jwt.keys needs auth.jwt.audience",
    ),
    "JWKS behind the NetworkPolicy": ({"auth": {**_STRICT, "jwt": _JWT}}, "networkPolicy.egress.jwks.to"),
    "two autoscalers": (
        {"autoscaling": {"hpa": {"enabled": True}, "keda": {"enabled": True, "prometheusAddress": "http://p"}}},
        "autoscaling.hpa.enabled and autoscaling.keda.enabled exclude each other",
    ),
    "more at least than at most": (
        {"autoscaling": {"hpa": {"enabled": True, "minReplicas": 11}}},
        "autoscaling.hpa.minReplicas (11) is more than autoscaling.hpa.maxReplicas (10)",
    ),
    "scaled by nothing": (
        {"autoscaling": {"hpa": {"enabled": True, "cpuUtilization": 0}}},
        "autoscaling.hpa.cpuUtilization or autoscaling.hpa.queueWaitSeconds",
    ),
    "TorchServe scaled by a metric that it has not": (
        merged(_OWN, {"autoscaling": {"hpa": {"enabled": True, "queueWaitSeconds": 2}}}),
        "use autoscaling.keda or autoscaling.hpa.cpuUtilization",
    ),
    "a share of no CPU": (
        {"autoscaling": {"hpa": {"enabled": True}}, "gateway": {"resources": {"requests": {"cpu": None}}}},
        "gateway.resources.requests.cpu is not set",
    ),
    "KEDA without Prometheus": (
        {"autoscaling": {"keda": {"enabled": True}}},
        "autoscaling.keda.enabled needs autoscaling.keda.prometheusAddress",
    ),
    "KEDA with more at least than at most": (
        {"autoscaling": {"keda": {"enabled": True, "maxReplicas": 1, "prometheusAddress": "http://p"}}},
        "autoscaling.keda.minReplicas (2) is more than autoscaling.keda.maxReplicas (1)",
    ),
    "a budget twice": (
        {"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}},
        "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other",
    ),
    "a budget of all pods": (
        {"podDisruptionBudget": {"minAvailable": 2}},
        "podDisruptionBudget.minAvailable (2) would never let a pod of gateway go, which has 2 at the least",
    ),
    "a budget of all pods, in percent": ({"podDisruptionBudget": {"minAvailable": "100%"}}, "would never let a pod"),
    "a budget of all pods, as Kubernetes rounds": (
        {"podDisruptionBudget": {"minAvailable": "51%"}},
        "podDisruptionBudget.minAvailable (51%) would never let a pod of gateway go, which has 2 at the least",
    ),
    "a budget of all pods that are left when scaled in": (
        {
            "podDisruptionBudget": {"minAvailable": 3},
            "gateway": {"replicas": 9},
            "autoscaling": {"hpa": {"enabled": True}},
        },
        "which has 2 at the least",
    ),
    "a budget of all pods of TorchServe": (
        merged(_OWN, {"podDisruptionBudget": {"minAvailable": 1}}),
        "would never let a pod of torchserve go",
    ),
    "a budget that lets nothing go": (
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        "podDisruptionBudget.maxUnavailable (0) would never let a pod go",
    ),
    "a route to nowhere": (
        {"grpcRoute": {"enabled": True}},
        "grpcRoute.enabled needs a Gateway to attach to: name it in grpcRoute.parentRefs",
    ),
    "a route behind the NetworkPolicy": (
        {
            "grpcRoute": {"enabled": True, "parentRefs": [{"name": "a"}]},
            "networkPolicy": {"ingress": {"grpcFrom": []}},
        },
        "networkPolicy.ingress.grpcFrom",
    ),
    "a load balancer behind the NetworkPolicy": (
        {"auth": {**_STRICT, "keys": [_KEY]}, "service": {"type": "LoadBalancer"}},
        "service.type LoadBalancer takes calls from outside of the cluster, which the NetworkPolicy does not let in",
    ),
    "a policy for traffic that does not come": (
        {"service": {"externalTrafficPolicy": "Local"}},
        "service.externalTrafficPolicy means nothing with service.type ClusterIP",
    ),
    "a Gateway of another namespace behind the NetworkPolicy": (
        {"grpcRoute": {"enabled": True, "parentRefs": [{"name": "public", "namespace": "gateways"}]}},
        "the Gateway public in the namespace gateways, but the NetworkPolicy lets nobody in from there",
    ),
    "a monitor behind the NetworkPolicy": (
        {"monitoring": {"podMonitor": {"enabled": True}}, "networkPolicy": {"ingress": {"metricsFrom": []}}},
        "say where it is in networkPolicy.ingress.metricsFrom",
    ),
    "alerts without metrics": (
        {"monitoring": {"prometheusRule": {"enabled": True}}, "gateway": {"settings": {"metrics": False}}},
        "gateway.settings.metrics is false, but monitoring or autoscaling needs",
    ),
    "scaled by metrics that there are not": (
        {
            "autoscaling": {"keda": {"enabled": True, "prometheusAddress": "http://p"}},
            "gateway": {"settings": {"metrics": False}},
        },
        "gateway.settings.metrics is false, but monitoring or autoscaling needs",
    ),
    "a variable that the chart sets": (
        {"gateway": {"extraEnv": [{"name": "GANTRY_PORT", "value": "1"}]}},
        "gateway.extraEnv sets GANTRY_PORT, which is set already: other values decide it",
    ),
    "a variable that a setting sets": (
        {"gateway": {"settings": {"queue_items": 300}, "extraEnv": [{"name": "GANTRY_QUEUE_ITEMS", "value": "400"}]}},
        "gateway.extraEnv sets GANTRY_QUEUE_ITEMS",
    ),
    "a variable of TorchServe that the chart sets": (
        merged(_OWN, {"torchserve": {"extraEnv": [{"name": "GANTRY_TORCHSERVE_HOST", "value": "::"}]}}),
        "torchserve.extraEnv sets GANTRY_TORCHSERVE_HOST",
    ),
    "killed while draining": (
        {"gateway": {"terminationGracePeriodSeconds": 29}},
        "gateway.terminationGracePeriodSeconds (29) must be at least gateway.preStopSeconds + gateway.drainSeconds + 5",
    ),
    "TorchServe killed at once": (
        merged(_OWN, {"torchserve": {"preStopSeconds": 60}}),
        "torchserve.terminationGracePeriodSeconds (60) must be more than torchserve.preStopSeconds (60)",
    ),
    "nothing may change": (
        {"gateway": {"strategy": {"maxSurge": 0}}},
        "gateway.strategy.maxSurge and gateway.strategy.maxUnavailable are both 0",
    ),
    "annotations of no account": (
        {"serviceAccount": {"create": False, "annotations": {"a": "b"}}},
        "serviceAccount.annotations mean nothing where serviceAccount.create is false",
    ),
}


@pytest.mark.parametrize(("values", "message"), _CONTRADICTIONS.values(), ids=_CONTRADICTIONS)
def test_contradiction_is_refused_with_the_values_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmRenderError) as refusal:
        render(values)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    "opened",
    [
        {"grpcFrom": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]},
        {"extra": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 50051}]}]},
    ],
)
def test_load_balancer_that_the_network_policy_lets_in_is_taken(opened: dict[str, Any]) -> None:
    guarded = {"auth": {**_STRICT, "keys": [_KEY]}, "service": {"type": "LoadBalancer"}}
    assert render({**guarded, "networkPolicy": {"ingress": opened}})
    assert render({**guarded, "networkPolicy": {"enabled": False}})


def test_image_volume_is_refused_on_an_old_kubernetes() -> None:
    values = {"modelStore": {"source": "imageVolume", "imageVolume": {"reference": "a/b:1"}}}
    with pytest.raises(HelmRenderError, match=r"feature gate ImageVolume; this is v1\.32\.9: choose initImage"):
        render(values, kube_version="1.32.9")
    assert render(values, kube_version="1.33.0")


def test_all_contradictions_are_told_at_once() -> None:
    values = {"auth": _STRICT, "modelStore": {"source": "pvc"}, "podDisruptionBudget": {"maxUnavailable": 0}}
    with pytest.raises(HelmRenderError) as refusal:
        render(values)
    text = str(refusal.value)
    assert "nothing keeps strangers out" in text
    assert "modelStore.pvc.claimName" in text
    assert "nodes could not be drained" in text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"settings": {"queue_item": 2}}}, "queue_item"),
        ({"gateway": {"settings": {"queue_items": 0}}}, "minimum: got 0, want 1"),
        ({"gateway": {"settings": {"tls_key": "/key"}}}, "tls_key"),
        ({"gateway": {"settings": {"log_level": "LOUD"}}}, "DEBUG"),
        ({"gateway": {"replicas": 0}}, "minimum: got 0, want 1"),
        ({"gateway": {"resources": {"limit": {}}}}, "limit"),
        ({"gateway": {"resources": {"limits": {"memory": "2 GB"}}}}, "2 GB"),
        ({"gateway": {"resources": {"claims": [{"name": "gpu"}]}}}, "claims"),
        ({"backend": {"mode": "triton"}}, "torchserve-sidecar"),
        ({"images": {"gateway": {"tag": "latest"}}}, "tag"),
        ({"images": {"gateway": {"digest": "md5:00"}}}, "digest"),
        ({"auth": {"keys": [{"name": "a", "key": "gantry_secret", "models": ["*"]}]}}, "sha256"),
        ({"auth": {"jwt": {"keys": "http://login.example.com/keys"}}}, "pattern"),
        ({"modelStore": {"objectStore": {"url": "bucket/models"}}}, "pattern"),
        ({"containerSecurityContext": {"privileged": True}}, "privileged"),
        ({"service": {"port": 0}}, "minimum"),
        ({"networkPolicy": {"ingress": {"grpcFrom": [{}]}}}, "minProperties"),
        ({"autoscaling": {"keda": {"minReplicas": 0}}}, "minimum"),
        ({"podDisruptionBudget": {"minAvailable": "101%"}}, "minAvailable"),
        ({"gateway": {"extraContainers": [{"name": "a", "image": "b:1"}]}}, "missing properties"),
        ({"nameOverride": "Not_A_Name"}, "pattern"),
    ],
)
def test_value_that_the_schema_does_not_allow_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmValuesError) as refusal:
        render(values)
    assert message in str(refusal.value)
