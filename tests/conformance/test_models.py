"""ModelService, health, reflection and probes, the same through every backend."""

import hashlib
import json
import urllib.request
import zipfile
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gantry.v1 import models_pb2
from tests.archives import CLASS_NAMES
from tests.conformance.harness import Served

SERVICES = ["gantry.v1.GenerationService", "gantry.v1.ModelService"]


def ready_report(served: Served) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{served.gateway.metrics_port}/readyz") as response:
        assert response.status == 200
        report: dict[str, object] = json.load(response)
        return report


def test_loaded_models_are_listed_with_cards(served: Served) -> None:
    response = served.models.ListModels(models_pb2.ListModelsRequest())

    assert [(model.card.name, model.card.version) for model in response.models] == [
        ("codes", "1.0.0"),
        ("faces", "1.0.0"),
        ("grey", "1.9.0"),
        ("grey", "1.10.0"),
        ("horse2zebra", "1.0.0"),
        ("plain", "1.0.0"),
        ("rgb", "2.0.0"),
        ("sketch2photo", "1.0.0"),
    ]
    assert [known.name for known in response.models[2].card.classes] == list(CLASS_NAMES)


def test_digest_is_that_of_the_card_in_the_archive(served: Served, store: Path) -> None:
    for loaded in served.models.ListModels(models_pb2.ListModelsRequest()).models:
        with zipfile.ZipFile(store / f"{loaded.card.name}-{loaded.card.version}.mar") as archive:
            assert loaded.digest == hashlib.sha256(archive.read("card.json")).hexdigest()


def test_broken_archives_are_refused_by_name_and_the_rest_is_served(served: Served) -> None:
    refused = {
        archive.archive: archive.reason for archive in served.models.ListModels(models_pb2.ListModelsRequest()).refused
    }

    assert list(refused) == ["garbage.mar", "tampered.mar"]
    assert "not a readable .mar file" in refused["garbage.mar"]
    assert refused["tampered.mar"] == "handler.py: its SHA-256 is not the one in the card"
    report = ready_report(served)
    assert report["ready"] is True
    assert report["refused"] == refused
    loaded = served.models.ListModels(models_pb2.ListModelsRequest()).models
    assert report["models"] == {f"{model.card.name} {model.card.version}": "ok" for model in loaded}


@pytest.mark.parametrize(("version", "expected"), [("", "1.10.0"), ("1.9.0", "1.9.0")])
def test_one_model_is_the_newest_or_the_version_asked_for(served: Served, version: str, expected: str) -> None:
    response = served.models.GetModel(models_pb2.GetModelRequest(model="grey", version=version))

    assert response.model.card.version == expected


def test_unknown_model_is_not_found_and_says_what_is_loaded(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        served.models.GetModel(models_pb2.GetModelRequest(model="nope"))

    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
    assert "codes, faces, grey, horse2zebra, plain, rgb, sketch2photo" in raised.value.details()


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_is_serving(served: Served, service: str) -> None:
    health = health_pb2_grpc.HealthStub(served.channel)
    request = health_pb2.HealthCheckRequest(service=service)

    assert health.Check(request).status == health_pb2.HealthCheckResponse.SERVING
    watch = health.Watch(request)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    watch.cancel()


def test_health_of_an_unknown_service_is_not_found(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        health_pb2_grpc.HealthStub(served.channel).Check(health_pb2.HealthCheckRequest(service="nope"))

    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_describes_the_services(served: Served) -> None:
    database = ProtoReflectionDescriptorDatabase(served.channel)

    assert {*SERVICES, "grpc.health.v1.Health"} <= set(database.get_services())
    described = database.FindFileContainingSymbol("gantry.v1.GenerationService")
    assert [method.name for method in described.service[0].method] == [
        "Sample", "SampleStream", "Traverse", "Translate", "TranslateStream",
    ]  # fmt: skip
