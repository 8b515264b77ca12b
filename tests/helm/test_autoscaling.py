"""What is scaled, by which measure, and that KEDA's query finds it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.helm.core import OWN, SIDECAR
from tests.helm.manifests import of_kind, one
from tests.helm.promtool import needs_promtool, run_tests, write_rules
from tests.helm.rendering import CHART, merged, render

KEDA = {"autoscaling": {"keda": {"enabled": True, "queueWaitSeconds": 0.5, "prometheusAddress": "http://prom:9090"}}}
# Series of two gateways of the release, and of one of another whose name begins like it.
FIRST = 'job="demo-gantry", namespace="apps", instance="10.0.0.1:9464"'
SECOND = 'job="demo-gantry", namespace="apps", instance="10.0.0.2:9464"'
OTHER = 'job="demo-gantry-gateway", namespace="apps", instance="10.0.0.3:9464"'


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


def trigger(values: Mapping[str, Any]) -> dict[str, Any]:
    """KEDA's only trigger."""
    found: dict[str, Any]
    (found,) = one(render(merged(values, KEDA)), "ScaledObject")["spec"]["triggers"]
    return found


@pytest.mark.parametrize("values", [{}, OWN], ids=["embedded", "own"])
def test_keda_holds_the_wait_whatever_the_number_of_gateways(values: dict[str, Any]) -> None:
    found = trigger(values)
    assert found["metricType"] == "Value", "an average over TorchServe's pods would be none over the gateways'"
    assert found["metadata"]["serverAddress"] == "http://prom:9090"
    assert found["metadata"]["threshold"] == "0.5"


def test_keda_takes_no_pods_away_because_it_sees_none() -> None:
    assert trigger({})["metadata"]["ignoreNullValues"] == "false"


def waits(target: str, **models: float) -> dict[str, str]:
    """A gateway that is scraped, and how long work for its models waits."""
    series = {f"up{{{target}}}": "1x9"}
    for model, seconds in models.items():
        series[f'gantry_queue_wait_seconds{{{target}, model="{model}", version="1"}}'] = f"{seconds}x9"
    return series


@needs_promtool
@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ({**waits(FIRST, a=3, b=1), **waits(SECOND, a=1)}, 2.0),
        ({**waits(FIRST, a=3), **waits(SECOND)}, 1.5),
        (waits(FIRST), 0.0),
        ({**waits(FIRST, a=3), **waits(OTHER, a=9)}, 3.0),
        ({**waits(FIRST, a=3), f"up{{{SECOND}}}": "0x9"}, 3.0),
        (waits(OTHER, a=9), None),
    ],
    ids=["longest of each", "not called yet", "none called yet", "another release", "one is down", "none is seen"],
)
def test_kedas_query_is_the_mean_of_the_longest_waits(
    series: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    samples = [] if expected is None else [{"labels": "{}", "value": expected}]
    test = {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [{"expr": trigger({})["metadata"]["query"], "eval_time": "5m", "exp_samples": samples}],
    }
    run_tests(tmp_path, write_rules(tmp_path, CHART / "ci/service-monitor-values.yaml"), [test])
