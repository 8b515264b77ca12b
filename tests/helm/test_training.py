"""The training Job: what values make of it, and that the command that it gives trains, stops and goes on."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from helm_python.errors import HelmRenderError, HelmValuesError

from tests.helm.arguments import parse
from tests.helm.manifests import PodTemplate, component, environment, of_kind, one, pod_templates, selects
from tests.helm.rendering import CHART, Values, merged, render
from training.engine.runs import load_run

TICK = re.compile(r"^([\d,]+) images, .*loss", re.MULTILINE)
TRAINING: dict[str, Any] = {"training": {"enabled": True, "runs": {"claimName": "runs"}}}


def container(values: dict[str, Any]) -> dict[str, Any]:
    (found,) = one(render(values), "Job")["spec"]["template"]["spec"]["containers"]
    return found


def pod_of(values: Values) -> PodTemplate:
    (found,) = [each for each in pod_templates(render(values)) if component(each) == "training"]
    return found


def refusal(**training: Any) -> str:
    with pytest.raises((HelmValuesError, HelmRenderError)) as refused:
        render(merged(TRAINING, {"training": training}))
    return str(refused.value)


def test_nothing_trains_unless_asked_for() -> None:
    assert not [each for each in render({}) if component(each) == "training"]


def test_gantry_takes_the_arguments() -> None:
    for values in (TRAINING, merged(TRAINING, {"training": {"arguments": ["cyclegan", "--set=domain_a=apple"]}})):
        command, given = parse(container(values)["args"])
        assert command == "train"
        assert given["run_dir"] == Path("/runs/mnist-cgan")
        assert given["device"] == "cpu"
        assert given["compile"] is False, "the image has no compiler"


def test_a_gpu_is_asked_for_and_used() -> None:
    with_gpu = container(merged(TRAINING, {"training": {"gpus": 1, "arguments": ["cgan", "--compile"]}}))
    assert with_gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert parse(with_gpu["args"])[1]["device"] == "cuda"
    assert parse(with_gpu["args"])[1]["compile"] is True, "what values say last holds"
    assert "nvidia.com/gpu" not in container(TRAINING)["resources"]["limits"]


def test_each_gpu_has_a_process_and_they_talk_within_the_pod() -> None:
    pod = pod_of(merged(TRAINING, {"training": {"gpus": 4, "shmSize": "2Gi"}}))
    (training,) = pod.containers
    assert training["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert {"--standalone", "--local-addr=localhost", "--nproc-per-node=4"} <= set(training["command"])
    assert environment(training) == {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    assert {"name": "shm", "mountPath": "/dev/shm"} in training["volumeMounts"]
    assert {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in pod.spec["volumes"]


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_process_alone_has_the_pods_processors(gpus: int) -> None:
    training = container(merged(TRAINING, {"training": {"gpus": gpus}}))
    assert "--nproc-per-node=1" in training["command"]
    assert [each["name"] for each in training["env"]] == ["OMP_NUM_THREADS"]
    assert {each["mountPath"] for each in training["volumeMounts"]} == {"/tmp", "/runs"}


def test_torchrun_waits_as_long_as_the_pod() -> None:
    pod = pod_of(merged(TRAINING, {"training": {"terminationGracePeriodSeconds": 77}}))
    assert pod.spec["terminationGracePeriodSeconds"] == 77
    assert "--shutdown-timeout=77" in pod.containers[0]["command"]


def test_a_fault_is_met_by_torchrun_then_by_kubernetes_and_an_eviction_by_neither() -> None:
    values = merged(TRAINING, {"training": {"restarts": 5, "backoffLimit": 2}})
    spec = one(render(values), "Job")["spec"]
    assert "--max-restarts=5" in container(values)["command"]
    assert spec["backoffLimit"] == 2
    assert (spec.get("parallelism", 1), spec.get("completions", 1)) == (1, 1)
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["podFailurePolicy"]["rules"] == [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ]


def test_data_are_read_only_and_runs_are_kept() -> None:
    pod = pod_of(CHART / "ci" / "training-values.yaml")
    volumes = {each["name"]: each.get("persistentVolumeClaim") for each in pod.spec["volumes"]}
    mounts = {each["mountPath"]: each for each in pod.containers[0]["volumeMounts"]}
    assert volumes[mounts["/runs"]["name"]] == {"claimName": "runs", "readOnly": False}
    assert volumes[mounts["/data"]["name"]] == {"claimName": "data-sets", "readOnly": True}
    assert mounts["/data"]["subPath"] == "pictures"
    assert environment(pod.containers[0])["GANTRY_DATA_DIR"] == "/data"


def test_training_is_closed_in_both_directions_unless_values_open_it() -> None:
    def rules(values: dict[str, Any], direction: str) -> list[Any]:
        manifests = render(values)
        (pod,) = [each for each in pod_templates(manifests) if component(each) == "training"]
        policies = [each["spec"] for each in of_kind(manifests, "NetworkPolicy")]
        policies = [each for each in policies if selects(each["podSelector"], pod.labels)]
        assert {kind for each in policies for kind in each["policyTypes"]} == {"Ingress", "Egress"}
        return [rule for each in policies for rule in each.get(direction, ())]

    assert rules(TRAINING, "ingress") == []
    assert rules(TRAINING, "egress") == []
    mirror = {"to": [{"ipBlock": {"cidr": "10.1.1.1/32"}}], "ports": [{"port": 443}]}
    assert mirror in rules(merged(TRAINING, {"training": {"egress": [mirror]}}), "egress")


def test_values_that_cannot_work_are_refused() -> None:
    assert "training.enabled needs a volume for checkpoints" in refusal(runs={"claimName": ""})
    assert "/training/gpus" in refusal(gpus=-1)
    assert "set training.gpus instead" in refusal(resources={"limits": {"nvidia.com/gpu": 1}})
    assert "--device=cuda is said by training.run, training.gpus" in refusal(arguments=["cgan", "--device=cuda"])
    assert "/training/run" in refusal(run="../elsewhere")


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [0, 2])
def test_the_command_trains_and_goes_on_after_a_sigterm(gpus: int, tmp_path: Path) -> None:
    """The very command, with torchrun of this environment, a folder for the volume and CPUs for the GPUs."""
    arguments = ["cgan", "--data=digits", "--tick=1k", "--batch=64"]
    given = container(merged(TRAINING, {"training": {"run": "digits", "arguments": arguments, "gpus": gpus}}))
    binaries = Path(sys.executable).parent
    command = [str(binaries / given["command"][0]), *given["command"][1:], *given["args"]]
    command = [each.replace("=/runs/", f"={tmp_path}/").replace("--device=cuda", "--device=cpu") for each in command]
    variables = {
        **os.environ,
        **{name: value for name, value in environment(given).items() if value is not None},
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }

    # So many that it cannot have come to its end before the signal comes.
    code, said = stopped_once_it_trains([*command, "--images=10M"], variables)
    assert code != 0, said
    seen = load_run(tmp_path / "digits").images_seen
    assert f"stopped after {seen:,} images" in said

    done = subprocess.run(
        [*command, f"--images={seen + 1000}"], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("what it makes now") == 1, "the first process speaks for all"
    (first, *_) = re.findall(TICK, done.stderr)
    assert int(first.replace(",", "")) > seen, "it began anew"


def stopped_once_it_trains(command: list[str], variables: dict[str, str]) -> tuple[int, str]:
    """Run a training until it shows progress, then send it SIGTERM; its exit code, and what it said."""
    process = psutil.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    try:
        for line in process.stdout:
            said += line
            if re.search(TICK, line):
                process.send_signal(signal.SIGTERM)
                break
        rest, _ = process.communicate(timeout=120)
        return process.returncode, said + rest
    finally:
        family = [process, *process.children(recursive=True)] if process.is_running() else []
        for member in family:
            member.kill()
