"""Models run on a GPU where their container has one."""

from typing import Any

import pytest

from tests.helm.core import OWN, SIDECAR, container_of, environment_of, named, pod_of
from tests.helm.manifests import environment, of_kind, pod_templates
from tests.helm.rendering import CHART, load_values, merged, render


def limited(**limits: Any) -> dict[str, Any]:
    """Resources whose limits have GPUs, or something else."""
    return {"resources": {"limits": limits}}


GPU = limited(**{"nvidia.com/gpu": 1})


def job(values: dict[str, Any]) -> dict[str, str | None]:
    """The environment of a batch job of these values."""
    base = {"command": "sample", "model": "digits", "out": "/runs/out", "options": {"count": 9}, "embedded": True}
    claim = {"claims": [{"claimName": "runs", "mountPath": "/runs"}]}
    (found,) = of_kind(render({"batch": {"jobs": {"one": merged({**base, **claim}, values)}}}), "Job")
    (pod,) = pod_templates([found])
    return environment(pod.containers[-1])


@pytest.mark.parametrize("name", ["nvidia.com/gpu", "amd.com/gpu", "nvidia.com/mig-1g.5gb"])
def test_embedded_models_run_on_the_gpu_of_the_gateway(name: str) -> None:
    assert environment_of({"gateway": limited(**{name: 1})})["GANTRY_DEVICE"] == "cuda"


@pytest.mark.parametrize("limits", [{}, {"nvidia.com/gpu": 0}, {"example.com/gpus-nearby": 1}])
def test_without_a_gpu_nothing_is_said(limits: dict[str, int]) -> None:
    assert "GANTRY_DEVICE" not in environment_of({"gateway": limited(**limits)})


def test_ci_values_of_a_gpu_run_on_it() -> None:
    values = load_values(CHART / "ci/gpu-values.yaml")
    assert "settings" not in values["gateway"], "nothing but the limit is needed"
    assert environment_of(values)["GANTRY_DEVICE"] == "cuda"


def test_torchserves_models_run_on_its_gpu() -> None:
    own = render(merged(OWN, {"torchserve": GPU}))
    assert environment(container_of(own, "torchserve"))["GANTRY_DEVICE"] == "cuda"
    assert "GANTRY_DEVICE" not in environment(container_of(own)), "the gateway has no model"
    sidecar = named(pod_of(render(merged(SIDECAR, {"torchserve": GPU})))["initContainers"], "torchserve")
    assert environment(sidecar)["GANTRY_DEVICE"] == "cuda"
    assert "GANTRY_DEVICE" not in environment(container_of(render(OWN), "torchserve"))


def test_an_embedded_job_runs_its_model_on_its_gpu() -> None:
    assert job(GPU)["GANTRY_DEVICE"] == "cuda"
    assert "GANTRY_DEVICE" not in job({})
    assert "GANTRY_DEVICE" not in job(merged(GPU, {"embedded": False})), "it asks the gateway"


def test_values_may_say_otherwise() -> None:
    otherwise = {"name": "GANTRY_DEVICE", "value": "cpu"}
    in_settings = container_of(render({"gateway": merged(GPU, {"settings": {"device": "cpu"}})}))
    in_environment = container_of(render({"gateway": merged(GPU, {"extraEnv": [otherwise]})}))
    torchserve = container_of(render(merged(OWN, {"torchserve": merged(GPU, {"extraEnv": [otherwise]})})), "torchserve")
    for container in (in_settings, in_environment, torchserve):
        assert [each for each in container["env"] if each["name"] == "GANTRY_DEVICE"] == [otherwise]
    assert job(merged(GPU, {"env": [otherwise]}))["GANTRY_DEVICE"] == "cpu"
