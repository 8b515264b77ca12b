"""What the chart's tests share: every file of values, rendered once for every Kubernetes that it is meant for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.helm.manifests import PodTemplate, pod_templates
from tests.helm.rendering import CI_VALUES, KUBE_VERSIONS, Manifest, load_values, render

# Values that need a newer Kubernetes than the oldest one: volumes of OCI images.
_LEAST_VERSIONS = {"image-volume": "1.33.0"}


@dataclass(frozen=True)
class Rendering:
    """The manifests that a file of values gives for one Kubernetes; tests must leave them as they are."""

    path: Path
    kube_version: str

    @property
    def name(self) -> str:
        """The file's name, without what all have in common."""
        return self.path.name.removesuffix("-values.yaml")

    @property
    def values(self) -> dict[str, Any]:
        """What the file says."""
        return load_values(self.path)

    @property
    def manifests(self) -> list[Manifest]:
        """All that is rendered, hooks and tests too."""
        return _rendered(self.path, self.kube_version)

    @property
    def pods(self) -> list[PodTemplate]:
        """The pods of all workloads."""
        return pod_templates(self.manifests)

    def own(self, containers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those of the containers that are the chart's own, not the values'."""
        gateway = self.values.get("gateway", {})
        added = [*gateway.get("extraContainers", ()), *gateway.get("extraInitContainers", ())]
        return [each for each in containers if each["name"] not in {container["name"] for container in added}]


@cache
def _rendered(path: Path, kube_version: str) -> list[Manifest]:
    return render(path, kube_version=kube_version)


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


_ALL = [
    Rendering(path, kube_version)
    for path in CI_VALUES
    for kube_version in KUBE_VERSIONS
    if _version(kube_version) >= _version(_LEAST_VERSIONS.get(path.name.removesuffix("-values.yaml"), "0"))
]
_LATEST = [each for each in _ALL if each.kube_version == KUBE_VERSIONS[-1]]


@pytest.fixture(params=_ALL, ids=lambda each: f"{each.name}-{each.kube_version}")
def every_rendering(request: pytest.FixtureRequest) -> Rendering:
    """Every file of values, for every Kubernetes that can take it."""
    return request.param


@pytest.fixture(params=_LATEST, ids=lambda each: each.name)
def rendering(request: pytest.FixtureRequest) -> Rendering:
    """Every file of values, for the newest Kubernetes."""
    return request.param
