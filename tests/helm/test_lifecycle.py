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


def test_time_may_be_given() -> None:
    assert pod_of(render({"gateway": {"terminationGracePeriodSeconds": 300}}))["terminationGracePeriodSeconds"] == 300


def test_recreating_has_no_numbers() -> None:
    strategy = one(render({"gateway": {"strategy": {"type": "Recreate"}}}), "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "Recreate"}


def test_nothing_scales_to_begin_with() -> None:
    manifests = render({"gateway": {"replicas": 4}})
    assert not of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject")
    assert one(manifests, "Deployment")["spec"]["replicas"] == 4


def test_hpa_looks_at_cpu_and_queue_wait() -> None:
    values = {"autoscaling": {"hpa": {"enabled": True, "cpuUtilization": 60, "queueWaitSeconds": 1.5}}}
    manifests = render(values)
    cpu, wait = one(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"]
    assert cpu["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    assert wait["pods"]["metric"] == {"name": "gantry_queue_wait_seconds"}
    assert wait["pods"]["target"] == {"type": "AverageValue", "averageValue": "1500m"}
    assert "replicas" not in one(manifests, "Deployment")["spec"], "an upgrade must not undo the scaling"


@pytest.mark.parametrize(("values", "scaled"), [({}, "gateway"), (SIDECAR, "gateway"), (OWN, "torchserve")])
def test_what_runs_the_models_is_scaled(values: dict[str, Any], scaled: str) -> None:
    manifests = render(merged(values, {"autoscaling": {"hpa": {"enabled": True}}}))
    target = one(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == f"demo-gantry-{scaled}"
    for deployment in of_kind(manifests, "Deployment"):
        assert ("replicas" in deployment["spec"]) == (deployment["metadata"]["name"] != target["name"])


def test_keda_asks_prometheus_for_the_gateways_queue_wait() -> None:
    keda = {"enabled": True, "queueWaitSeconds": 0.5, "prometheusAddress": "http://prom:9090"}
    (trigger,) = one(render(merged(OWN, {"autoscaling": {"keda": keda}})), "ScaledObject")["spec"]["triggers"]
    assert trigger["metadata"] == {
        "serverAddress": "http://prom:9090",
        "query": 'sum(max by (pod) (gantry_queue_wait_seconds{namespace="apps", pod=~"demo-gantry-gateway-.+"}))',
        "threshold": "0.5",
    }
    assert trigger["metricType"] == "AverageValue"


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({}, {"maxUnavailable": 1}),
        ({"maxUnavailable": "50%"}, {"maxUnavailable": "50%"}),
        ({"minAvailable": 1}, {"minAvailable": 1}),
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
