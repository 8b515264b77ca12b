"""Values of the ways to run the models, and the parts of the pods that come of them."""

from collections.abc import Mapping
from typing import Any

from tests.helm.manifests import environment, one
from tests.helm.rendering import Manifest, merged, render

PVC: dict[str, Any] = {"modelStore": {"source": "pvc", "pvc": {"claimName": "models", "subPath": "shipped"}}}
SIDECAR = merged(PVC, {"backend": {"mode": "torchserve-sidecar"}})
OWN = merged(PVC, {"backend": {"mode": "torchserve"}, "torchserve": {"models": ["a", "b"]}})
TLS: dict[str, Any] = {"tls": {"secretName": "certificate"}, "auth": {"insecure": False}}
INTERNET = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]


def pod_of(manifests: list[Manifest], component: str = "gateway") -> dict[str, Any]:
    """What a Deployment of the release "demo" says of its pods."""
    deployment = one(manifests, "Deployment", f"demo-gantry-{component}")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def container_of(manifests: list[Manifest], component: str = "gateway") -> dict[str, Any]:
    """The main container of these pods."""
    return named(pod_of(manifests, component)["containers"], component)


def named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The only one of a list's items that has a name."""
    (found,) = [item for item in items if item["name"] == name]
    return found


def environment_of(values: Mapping[str, Any]) -> dict[str, str | None]:
    """The environment that values give the gateway."""
    return environment(container_of(render(values)))
