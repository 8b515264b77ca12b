"""The pods of `helm test`: their programs, taken from the manifests, do with a real gateway what they promise."""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from services.client.local_gateway import free_port, running_gateway
from tests.archives import write_tiny_archive, write_tiny_one_way_archive, write_tiny_translation_archive
from tests.helm.conftest import Rendering
from tests.helm.manifests import of_kind
from tests.helm.rendering import merged, notes, render


def program(name: str) -> str:
    """What a test pod of the chart runs."""
    pods = {each["spec"]["containers"][0]["name"]: each["spec"]["containers"][0] for each in of_kind(render({}), "Pod")}
    assert pods[name]["command"] == ["python", "-c"]
    (text,) = pods[name]["args"]
    return text


def run(name: str, address: str, model: str = "") -> "subprocess.CompletedProcess[str]":
    variables = {**os.environ, "GANTRY_ADDRESS": address, "GANTRY_TEST_MODEL": model}
    command = [sys.executable, "-c", program(name)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway with a model that samples, one that translates both ways, and one that translates one way."""
    folder = tmp_path_factory.mktemp("models")
    write_tiny_archive(folder)
    write_tiny_translation_archive(folder)
    write_tiny_one_way_archive(folder)
    with running_gateway(folder / "log.txt", "--model-store", str(folder), "--execution", "float32") as gateway:
        yield gateway.address


def test_health_passes(address: str) -> None:
    done = run("health", address)
    assert done.returncode == 0, done.stderr
    assert "health: SERVING" in done.stdout


def test_a_picture_is_sampled(address: str) -> None:
    done = run("sample", address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tiny: PNG of ")


@pytest.mark.parametrize("model", ["tiny-translation", "tiny-one-way"])
def test_the_model_of_the_values_may_translate(address: str, model: str) -> None:
    done = run("sample", address, model)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{model}: PNG of 64×64 pixels\n"


def test_a_model_that_is_not_there_fails(address: str) -> None:
    done = run("sample", address, "missing")
    assert done.returncode == 1
    assert "the gateway has no model missing" in done.stderr


def test_no_gateway_fails() -> None:
    assert run("sample", f"127.0.0.1:{free_port()}").returncode == 1


def test_test_pods_run_once_when_asked_for(rendering: Rendering) -> None:
    pods = of_kind(rendering.manifests, "Pod")
    assert [pod["spec"]["containers"][0]["name"] for pod in pods] in (["health", "sample"], ["health"])
    for pod in pods:
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        policy = pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert policy == "before-hook-creation", "what is deleted when it succeeds has no logs to show"
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["activeDeadlineSeconds"] == 300


def test_they_can_be_left_out_and_told_the_model() -> None:
    assert of_kind(render({"tests": {"enabled": False}}), "Pod") == []
    (sample,) = [
        each["spec"]["containers"][0]
        for each in of_kind(render({"tests": {"model": "mnist-cgan"}}), "Pod")
        if each["metadata"]["name"].endswith("sample")
    ]
    assert {"name": "GANTRY_TEST_MODEL", "value": "mnist-cgan"} in sample["env"]


KEYS = {"auth": {"insecure": False, "apiKeys": {"secretName": "callers"}}}
MTLS = {"auth": {"insecure": False}, "tls": {"secretName": "server", "clientCa": {"secretName": "authorities"}}}


@pytest.mark.parametrize(
    ("values", "names", "missing"),
    [
        (KEYS, ["health"], "auth.client.tokenSecretName"),
        (MTLS, [], "auth.client.certificateSecretName"),
        (merged(KEYS, {"auth": {"client": {"tokenSecretName": "key"}}}), ["health", "sample"], None),
        (merged(MTLS, {"auth": {"client": {"certificateSecretName": "client"}}}), ["health", "sample"], None),
    ],
    ids=["keys", "mtls", "keys-and-one", "mtls-and-one"],
)
def test_only_what_the_gateway_lets_in_runs(values: Any, names: list[str], missing: str | None) -> None:
    assert [pod["spec"]["containers"][0]["name"] for pod in of_kind(render(values), "Pod")] == names
    told = f"`helm test` draws nothing here: the gateway would not let it, without {missing}."
    assert (told in notes(values)) == (missing is not None)
    assert ("draws nothing" in notes(values)) == (missing is not None)
