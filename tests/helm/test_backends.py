"""What runs the models, and where these come from."""

from typing import Any

import pytest

from tests.helm.core import INTERNET, OWN, PVC, SIDECAR, container_of, named, pod_of
from tests.helm.manifests import environment, of_kind, one, pod_templates, selects
from tests.helm.rendering import merged, render


def test_embedded_runs_the_models_itself() -> None:
    manifests = render({})
    assert [each["metadata"]["name"] for each in of_kind(manifests, "Deployment")] == ["demo-gantry-gateway"]
    given = environment(container_of(manifests))
    assert given["GANTRY_BACKEND"] == "embedded"
    assert given["GANTRY_MODEL_STORE"] == "/models"
    assert "initContainers" not in pod_of(manifests)


def test_sidecar_outlives_the_gateway_and_is_on_loopback() -> None:
    manifests = render(SIDECAR)
    sidecar = named(pod_of(manifests)["initContainers"], "torchserve")
    assert sidecar["restartPolicy"] == "Always", "started before the gateway, stopped after it"
    assert environment(sidecar)["GANTRY_TORCHSERVE_HOST"] == "127.0.0.1"
    assert "ports" not in sidecar
    given = environment(container_of(manifests))
    assert given["GANTRY_BACKEND"] == "torchserve"
    assert given["GANTRY_TORCHSERVE_ADDRESS"] == "127.0.0.1:7070"
    assert given["GANTRY_TORCHSERVE_REST_ADDRESS"] == "127.0.0.1:8081"
    assert "GANTRY_TORCHSERVE_MODELS" not in given, "its management API is there to be asked"


def test_own_torchserve_is_found_by_its_service() -> None:
    manifests = render(OWN, namespace="pictures")
    service = one(manifests, "Service", "demo-gantry-torchserve")
    given = environment(container_of(manifests))
    assert given["GANTRY_TORCHSERVE_ADDRESS"] == "demo-gantry-torchserve.pictures.svc:7070"
    assert given["GANTRY_TORCHSERVE_MODELS"] == "a,b"
    assert "GANTRY_TORCHSERVE_REST_ADDRESS" not in given, "it listens on its pod's loopback, and serves every gateway"
    torchserve = one(manifests, "Deployment", "demo-gantry-torchserve")
    assert selects({"matchLabels": service["spec"]["selector"]}, torchserve["spec"]["template"]["metadata"]["labels"])
    assert environment(container_of(manifests, "torchserve"))["GANTRY_TORCHSERVE_HOST"] == "0.0.0.0"


@pytest.mark.parametrize("values", [SIDECAR, OWN], ids=["sidecar", "own"])
def test_both_sides_agree_on_workers_and_message_size(values: dict[str, Any]) -> None:
    manifests = render(merged(values, {"torchserve": {"workersPerModel": 3, "messageBytes": 33_554_432}}))
    for name in ("GANTRY_TORCHSERVE_WORKERS", "GANTRY_TORCHSERVE_MESSAGE_BYTES"):
        given = {
            environment(container)[name]
            for pod in pod_templates(manifests)
            for container in pod.containers
            if container["name"] in ("gateway", "torchserve")
        }
        assert given in ({"3"}, {"33554432"})


def test_torchserve_writes_only_to_volumes() -> None:
    for values, component in ((SIDECAR, "gateway"), (OWN, "torchserve")):
        spec = pod_of(render(values), component)
        container = named([*spec.get("initContainers", ()), *spec["containers"]], "torchserve")
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert set(mounts) == {"/tmp", "/var/lib/torchserve", "/models"}
        assert mounts["/models"]["readOnly"]
        assert "emptyDir" in named(spec["volumes"], mounts["/var/lib/torchserve"]["name"])


@pytest.mark.parametrize("values", [SIDECAR, OWN], ids=["sidecar", "own"])
def test_volumes_that_are_added_are_there_wherever_it_runs(values: dict[str, Any]) -> None:
    cache = {"name": "cache", "emptyDir": {}}
    added = {"extraVolumes": [cache], "extraVolumeMounts": [{"name": "cache", "mountPath": "/cache"}]}
    (pod,) = [
        each
        for each in pod_templates(render(merged(values, {"torchserve": added})))
        if any(container["name"] == "torchserve" for container in each.containers)
    ]
    assert cache in pod.spec["volumes"]
    assert added["extraVolumeMounts"][0] in named(pod.containers, "torchserve")["volumeMounts"]


def test_image_brings_its_own() -> None:
    spec = pod_of(render({}))
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp"]


def test_claim_is_mounted_read_only() -> None:
    manifests = render(PVC)
    claim = named(pod_of(manifests)["volumes"], "models")["persistentVolumeClaim"]
    assert claim == {"claimName": "models", "readOnly": True}
    mount = named(container_of(manifests)["volumeMounts"], "models")
    assert mount == {"name": "models", "mountPath": "/models", "readOnly": True, "subPath": "shipped"}


def test_object_store_is_copied_first() -> None:
    store = {"url": "s3://bucket/models", "credentialsSecretName": "keys", "env": [{"name": "A", "value": "b"}]}
    values = {
        "modelStore": {"source": "objectStore", "size": "9Gi", "objectStore": store},
        "networkPolicy": {"egress": {"objectStore": {"to": INTERNET}}},
    }
    spec = pod_of(render(values))
    (copy,) = spec["initContainers"]
    assert copy["image"] == "ghcr.io/gantry/batch:0.1.0"
    assert copy["args"] == ["batch", "copy", "s3://bucket/models", "/copy"]
    assert copy["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert copy["env"] == [{"name": "A", "value": "b"}]
    assert named(copy["volumeMounts"], "models") == {"name": "models", "mountPath": "/copy"}
    assert named(spec["volumes"], "models")["emptyDir"] == {"sizeLimit": "9Gi"}
    assert named(spec["containers"][0]["volumeMounts"], "models")["readOnly"]


def test_image_is_copied_first() -> None:
    store = {"repository": "r.example/models", "tag": "3", "path": "/archives"}
    spec = pod_of(render({"modelStore": {"source": "initImage", "initImage": store}}))
    (copy,) = spec["initContainers"]
    assert copy["image"] == "r.example/models:3"
    assert copy["command"] == ["cp", "-rL", "/archives/.", "/copy"]


def test_no_volume_hides_the_archives_of_the_image_that_is_copied() -> None:
    store = {"repository": "r.example/models", "tag": "3"}
    spec = pod_of(render({"modelStore": {"source": "initImage", "initImage": store}}))
    (copy,) = spec["initContainers"]
    assert copy["command"] == ["cp", "-rL", "/models/.", "/copy"]
    assert {mount["mountPath"] for mount in copy["volumeMounts"]} == {"/copy", "/tmp"}


def test_image_volume_is_mounted_as_it_is() -> None:
    store = {"source": "imageVolume", "imageVolume": {"reference": "r.example/models:3"}}
    spec = pod_of(render({"modelStore": store}))
    volume = named(spec["volumes"], "models")
    assert volume["image"] == {"reference": "r.example/models:3", "pullPolicy": "IfNotPresent"}
    assert "initContainers" not in spec


def test_sidecars_models_are_there_before_it_starts() -> None:
    values = {"modelStore": {"source": "initImage", "initImage": {"repository": "a/b", "tag": "1"}}}
    spec = pod_of(render(merged(SIDECAR, values)))
    assert [container["name"] for container in spec["initContainers"]] == ["models", "torchserve"]
    assert "models" not in [mount["name"] for mount in spec["containers"][0]["volumeMounts"]]


def test_own_torchserve_has_them_and_the_gateway_has_not() -> None:
    manifests = render(OWN)
    assert named(pod_of(manifests, "torchserve")["volumes"], "models")
    assert "models" not in [volume["name"] for volume in pod_of(manifests)["volumes"]]
