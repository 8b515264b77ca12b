"""Prometheus finds every gateway of a release, once, and under the name that its alerts and its dashboard select by."""

from typing import Any

import pytest
from helm_python.errors import HelmRenderError, HelmValuesError

from tests.helm.manifests import of_kind
from tests.helm.manifests import selects_plainly as selects
from tests.helm.rendering import Manifest, merged, render

ALL = {
    "monitoring": {name: {"enabled": True} for name in ("serviceMonitor", "prometheusRule", "dashboard")},
}


def rendered(monitoring: dict[str, Any], **options: Any) -> list[Manifest]:
    # A headless Service of gRPC too, whose pods are not to be scraped once more.
    return render({"monitoring": monitoring, "service": {"headless": {"enabled": True}}}, **options)


def test_pod_monitor_selects_the_gateways_and_names_their_job() -> None:
    manifests = rendered({"podMonitor": {"enabled": True, "interval": "15s"}}, name="one")
    (monitor,) = of_kind(manifests, "PodMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"]
    pods = [each["spec"]["template"] for each in of_kind(manifests, "Deployment")]
    (gateway,) = (pod for pod in pods if selects(selector, pod["metadata"]["labels"]))
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in gateway["spec"]["containers"][0]["ports"]}
    assert endpoint["interval"] == "15s"
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "one-gantry"}]


def test_service_monitor_selects_one_service_of_the_gateways() -> None:
    manifests = rendered({"serviceMonitor": {"enabled": True}})
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"]
    (service,) = (each for each in of_kind(manifests, "Service") if selects(selector, each["metadata"]["labels"]))
    (gateway,) = of_kind(manifests, "Deployment")
    assert selects(service["spec"]["selector"], gateway["spec"]["template"]["metadata"]["labels"])
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "demo-gantry"}]


@pytest.mark.parametrize("section", ["podMonitor", "serviceMonitor", "prometheusRule", "dashboard"])
def test_metadata_of_its_own(section: str) -> None:
    given = {"enabled": True, "labels": {"release": "stack"}, "annotations": {"note": "mine"}}
    manifests = rendered({section: given})
    (found,) = (each for each in manifests if each["metadata"].get("annotations", {}).get("note") == "mine")
    assert found["metadata"]["labels"]["release"] == "stack"
    assert found["metadata"]["labels"]["app.kubernetes.io/component"] == "monitoring"


def test_a_label_may_be_one_that_is_there_already() -> None:
    values = {"commonLabels": {"team": "vision"}, "monitoring": {"dashboard": {"labels": {"team": "charts"}}}}
    manifests = render(merged(ALL, values))
    teams = {each["kind"]: each["metadata"]["labels"]["team"] for each in manifests}
    assert (teams["ConfigMap"], teams["PrometheusRule"]) == ("charts", "vision")


@pytest.mark.parametrize("name", ["true", "null"])
def test_a_name_that_looks_like_something_else(name: str) -> None:
    manifests = render(merged(ALL, {"fullnameOverride": name}), namespace="123")
    (monitor,) = of_kind(manifests, "ServiceMonitor")
    assert monitor["metadata"]["name"] == name
    assert monitor["spec"]["endpoints"][0]["relabelings"][0]["replacement"] == name


def test_nothing_is_there_unless_it_is_asked_for() -> None:
    components = {each["metadata"]["labels"].get("app.kubernetes.io/component") for each in rendered({})}
    assert "monitoring" not in components


def test_both_monitors_are_refused() -> None:
    with pytest.raises(HelmRenderError, match=r"podMonitor\.enabled and monitoring\.serviceMonitor\.enabled"):
        rendered({"podMonitor": {"enabled": True}, "serviceMonitor": {"enabled": True}})


@pytest.mark.parametrize(
    "rule",
    [
        {"disabled": ["GantryTypo"]},
        {"thresholds": {"availability": 1}},
        {"thresholds": {"slowSeconds": "3"}},
        {"thresholds": {"queueWait": 5}},
        {"runbookUrl": "docs/operations.md"},
    ],
)
def test_values_that_would_give_no_alert_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(HelmValuesError):
        rendered({"prometheusRule": {"enabled": True, **rule}})
