"""Every file of values renders to manifests that every Kubernetes it is meant for accepts."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.helm.conftest import Rendering
from tests.helm.core import INTERNET, OWN
from tests.helm.manifests import identity, of_kind, one
from tests.helm.rendering import (
    CHART,
    CI_VALUES,
    Values,
    lint_strictly,
    load_values,
    merged,
    notes,
    read_yaml,
    render,
    render_texts,
)
from tests.helm.schemas import crd_folder, is_custom, objection

needs_crds = pytest.mark.skipif(crd_folder() is None, reason="GANTRY_DATA_DIR has no crds: schemas of custom resources")


def test_there_are_values_for_every_use() -> None:
    assert {
        "default", "torchserve", "torchserve-sidecar", "gpu", "pvc", "object-store", "init-image", "image-volume",
        "tls-certmanager", "tls-secret-keys", "jwt", "keda", "hpa", "grpcroute", "batch", "training",
        "everything-on",
    } <= {path.name.removesuffix("-values.yaml") for path in CI_VALUES}  # fmt: skip


def test_what_is_rendered_is_valid(every_rendering: Rendering) -> None:
    found = [objection(each, every_rendering.kube_version) for each in every_rendering.manifests if not is_custom(each)]
    assert [text for text in found if text] == []
    assert found


@needs_crds
def test_custom_resources_are_valid(every_rendering: Rendering) -> None:
    found = [objection(each, every_rendering.kube_version) for each in every_rendering.manifests if is_custom(each)]
    assert [text for text in found if text] == []


@needs_crds
def test_every_custom_resource_of_the_chart_is_judged() -> None:
    judged = {each["kind"] for path in CI_VALUES for each in render(path, kube_version="1.37.0") if is_custom(each)}
    assert {
        "Certificate",
        "GRPCRoute",
        "PodMonitor",
        "PrometheusRule",
        "ScaledObject",
        "ServiceMonitor",
    } <= judged


def test_lint_has_no_objection(every_rendering: Rendering) -> None:
    assert lint_strictly(every_rendering.path, every_rendering.kube_version) == []


def test_lint_tells_what_is_wrong() -> None:
    (*_, last) = lint_strictly({"gateway": {"replicaz": 2}})
    assert "replicaz" in last


def test_a_typo_would_be_found() -> None:
    """Else the judges above would prove nothing."""
    deployment = copy.deepcopy(of_kind(render({}), "Deployment")[0])
    deployment["spec"]["template"]["spec"]["containers"][0]["imagePullPolcy"] = "Always"
    assert "imagePullPolcy" in (objection(deployment, "1.33.0") or "")
    unknown = {"apiVersion": "apps/v1", "kind": "Deploymnet", "metadata": {"name": "typo"}}
    assert "no schema" in (objection(unknown, "1.33.0") or "")


@needs_crds
def test_a_typo_in_a_custom_resource_would_be_found() -> None:
    scaled = copy.deepcopy(one(render(CHART / "ci" / "keda-values.yaml"), "ScaledObject"))
    scaled["spec"]["minReplicaCuont"] = 1
    assert "minReplicaCuont" in (objection(scaled, "1.33.0") or "")
    unknown = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledThing", "metadata": {"name": "typo"}}
    assert "no schema" in (objection(unknown, "1.33.0") or "")


def test_a_key_given_twice_would_be_found() -> None:
    with pytest.raises(yaml.YAMLError, match="given twice: name"):
        read_yaml("metadata:\n  name: a\n  name: b\n")


def test_everything_has_one_name_and_the_standard_labels(rendering: Rendering) -> None:
    foreign = set(re.findall(r"kind\W+(\w+)", str(rendering.values.get("extraObjects"))))
    names = [identity(each) for each in rendering.manifests]
    assert len(names) == len(set(names))
    for manifest in rendering.manifests:
        if manifest["kind"] in foreign:
            continue
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "demo", identity(manifest)
        assert labels["app.kubernetes.io/managed-by"] == "Helm", identity(manifest)
        assert {"helm.sh/chart", "app.kubernetes.io/name", "app.kubernetes.io/version"} <= labels.keys()
        assert manifest["metadata"].get("namespace", "apps") == "apps", identity(manifest)


def test_the_notes_tell_a_next_command(rendering: Rendering) -> None:
    text = notes(rendering.path, kube_version=rendering.kube_version)
    assert "gantry" in text
    assert "kubectl" in text
    assert "<no value>" not in text
    assert "%!" not in text


def test_nothing_is_left_unfilled(rendering: Rendering) -> None:
    text = str(rendering.manifests)
    assert "<no value>" not in text
    assert "%!s" not in text


# Values that leave lists empty which the templates fill.
_NO_DNS: dict[str, Any] = {"networkPolicy": {"egress": {"dns": {"to": []}}}}
_SPARSE: dict[str, dict[str, Any]] = {
    "no DNS": _NO_DNS,
    "no DNS, own TorchServe": merged(OWN, _NO_DNS),
    "nobody let in": {"networkPolicy": {"ingress": {"grpcFrom": [], "metricsFrom": []}}},
    "training without DNS": merged(
        _NO_DNS, {"training": {"enabled": True, "runs": {"claimName": "runs"}, "egress": [{"to": INTERNET}]}}
    ),
    "batch without an object store": {
        "batch": {
            "defaults": {"claims": [{"claimName": "runs", "mountPath": "/runs"}]},
            "jobs": {"one": {"command": "sample", "model": "digits", "out": "/runs/out", "options": {"count": 9}}},
        }
    },
}


def nulls(value: Any, path: str = "") -> Iterator[str]:
    """Where a manifest says null."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if value is None:
        yield path
    for key, item in items:
        yield from nulls(item, f"{path}.{key}")


@pytest.mark.parametrize("values", [*CI_VALUES, *_SPARSE.values()], ids=[*(path.name for path in CI_VALUES), *_SPARSE])
def test_manifests_have_no_null_and_no_line_of_blanks(values: Values) -> None:
    for path, text in render_texts(load_values(values)).items():
        if path.endswith(".yaml"):
            assert [line for line in text.split("\n") if line and not line.strip()] == [], path
            assert [at for each in read_yaml(text) if each for at in nulls(each)] == [], path
