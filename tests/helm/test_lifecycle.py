"""How pods start, stop, are replaced, and how many there are."""

import math
from typing import Any

import pytest

from tests.helm.core import OWN, SIDECAR, TLS, container_of, pod_of
from tests.helm.manifests import environment, of_kind, one
from tests.helm.rendering import CHART, load_values, merged, render


def test_without_tls_the_kubelet_speaks_grpc() -> None:
    gateway = container_of(render({}))
    alive = {"port": 50051, "service": "liveness"}
    assert gateway["startupProbe"]["grpc"] == gateway["livenessProbe"]["grpc"] == alive
    assert gateway["readinessProbe"]["grpc"] == {"port": 50051}


def test_with_tls_it_asks_the_metrics_port() -> None:
    gateway = container_of(render(TLS))
    assert gateway["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert gateway["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}


@pytest.mark.parametrize("seconds", [10, 599, 600])
def test_starting_may_take_as_long_as_is_said(seconds: int) -> None:
    probe = container_of(render({"gateway": {"startupSeconds": seconds}}))["startupProbe"]
    assert probe["failureThreshold"] == math.ceil(seconds / probe["periodSeconds"])


@pytest.mark.parametrize(("values", "component"), [({}, "gateway"), (SIDECAR, "gateway"), (OWN, "torchserve")])
def test_a_rollout_is_not_given_up_while_pods_may_still_start(values: dict[str, Any], component: str) -> None:
    slow = {"gateway": {"startupSeconds": 1200}, "torchserve": {"startupSeconds": 900}}
    manifests = render(merged(values, slow))
    spec = one(manifests, "Deployment", f"demo-gantry-{component}")["spec"]
    pod = spec["template"]["spec"]
    probes = [each["startupProbe"] for each in [*pod.get("initContainers", ()), *pod["containers"]]]
    longest = sum(probe["periodSeconds"] * probe["failureThreshold"] for probe in probes)
    assert spec["progressDeadlineSeconds"] > longest


def test_torchserve_is_asked_from_within() -> None:
    probe = container_of(render(OWN), "torchserve")["livenessProbe"]
    assert "http://127.0.0.1:8080/ping" in probe["exec"]["command"][-1]


@pytest.mark.parametrize(("stop", "drain", "seconds"), [(5, 20, 35), (0, 45, 55), (10, 120, 140)])
def test_pod_has_time_to_drain(stop: int, drain: int, seconds: int) -> None:
    manifests = render({"gateway": {"preStopSeconds": stop, "drainSeconds": drain}})
    assert pod_of(manifests)["terminationGracePeriodSeconds"] == seconds
    gateway = container_of(manifests)
    assert environment(gateway)["GANTRY_DRAIN_SECONDS"] == str(drain)
    expected = {"preStop": {"sleep": {"seconds": stop}}} if stop else None
    assert gateway.get("lifecycle") == expected


@pytest.mark.parametrize("seconds", [30, 300])
def test_time_may_be_given(seconds: int) -> None:
    values = {"gateway": {"terminationGracePeriodSeconds": seconds}}
    assert pod_of(render(values))["terminationGracePeriodSeconds"] == seconds


def test_recreating_has_no_numbers() -> None:
    strategy = one(render({"gateway": {"strategy": {"type": "Recreate"}}}), "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({}, {"maxUnavailable": 1}),
        ({"maxUnavailable": "50%"}, {"maxUnavailable": "50%"}),
        ({"minAvailable": 1}, {"minAvailable": 1}),
        ({"minAvailable": "50%"}, {"minAvailable": "50%"}),
    ],
)
def test_disruption_budget(budget: dict[str, Any], expected: dict[str, Any]) -> None:
    spec = one(render({"podDisruptionBudget": budget}), "PodDisruptionBudget")["spec"]
    assert {key: value for key, value in spec.items() if key.endswith("vailable")} == expected
    assert not of_kind(render({"podDisruptionBudget": {"enabled": False}}), "PodDisruptionBudget")


def test_pods_spread_over_zones_and_nodes() -> None:
    values = {"gateway": {"topologySpread": {"zone": "DoNotSchedule", "hostname": ""}}}
    (spread,) = pod_of(render(values))["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "DoNotSchedule")
    assert len(pod_of(render({}))["topologySpreadConstraints"]) == 2


def test_pods_run_where_they_are_told_to() -> None:
    values = load_values(CHART / "ci/gpu-values.yaml")
    spec = pod_of(render(values))
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["priorityClassName"] == "serving"
    assert spec["nodeSelector"] == values["gateway"]["nodeSelector"]
    assert spec["tolerations"] == values["gateway"]["tolerations"]
    assert spec["affinity"] == values["gateway"]["affinity"]
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
