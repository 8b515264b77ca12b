"""The dashboard is one that Grafana takes, and every query of it finds data of a real gateway and a real batch job."""

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.helm.exposition import batch_exposition, gateway_exposition
from tests.helm.promtool import needs_promtool, run_tests, write_rules
from tests.helm.rendering import CHART, render

GATEWAY = 'job="demo-gantry", namespace="apps", instance="10.0.0.1:9464", pod="demo-gantry-1"'
BATCH = 'job="gantry-batch", instance="apps/demo-gantry/nightly", shard="0/2"'
MINUTES = 30
# What Grafana puts in for its variables.
VARIABLES = {"$namespace": "apps", "$release": "demo-gantry", "$__rate_interval": "5m"}
VALUES = {"monitoring": {"dashboard": {"enabled": True}}}


def config_map(**options: Any) -> Any:
    (found,) = (
        manifest
        for manifest in render(VALUES, **options)
        if manifest["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    )
    return found


def dashboard_of(manifest: Any) -> Any:
    (text,) = manifest["data"].values()
    return json.loads(text)


@pytest.fixture(scope="module")
def dashboard() -> Any:
    return dashboard_of(config_map())


def test_panels_have_numbers_and_places_of_their_own(dashboard: Any) -> None:
    panels = dashboard["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert min(place.values()) >= 0
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


def test_panels_explain_themselves(dashboard: Any) -> None:
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) > 20
    for panel in panels:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in {"reqps", "ops", "s", "short", "d"}
        assert [target["refId"] for target in panel["targets"]] == list("AB"[: len(panel["targets"])])
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


def test_variables_begin_with_the_release_that_brought_them(dashboard: Any) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert list(variables) == ["datasource", "namespace", "release"]
    assert variables["namespace"]["current"]["value"] == "apps"
    assert variables["release"]["current"]["value"] == "demo-gantry"


def test_two_releases_have_two_dashboards() -> None:
    one, two = config_map(name="one"), config_map(name="two")
    elsewhere = config_map(name="one", namespace="elsewhere")
    assert one["metadata"]["name"] != two["metadata"]["name"]
    # The sidecar of Grafana writes the ConfigMaps of all namespaces into one folder, by their keys.
    assert len({key for manifest in (one, two, elsewhere) for key in manifest["data"]}) == 3
    assert len({dashboard_of(manifest)["uid"] for manifest in (one, two, elsewhere)}) == 3


@needs_promtool
def test_every_query_finds_what_is_really_exposed(dashboard: Any, tmp_path: Path) -> None:
    """A query with a metric or a label that does not exist would find nothing."""
    series = {
        f"up{{{GATEWAY}}}": f"1x{MINUTES}",
        **dict(series_of(gateway_exposition(), GATEWAY)),
        **dict(series_of(batch_exposition(), BATCH)),
    }
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    test = {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [
            {
                # What is not a number is not 0 times anything either.
                "expr": f"count(({with_values(expression)}) * 0 == 0) > bool 0",
                "eval_time": f"{MINUTES}m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
            for expression in expressions
        ],
    }
    rules = write_rules(tmp_path, CHART / "ci/service-monitor-values.yaml")
    run_tests(tmp_path, rules, [test])


def series_of(exposition: str, target: str) -> Iterator[tuple[str, str]]:
    """Series of an exposition as promtool takes them, with a target's labels, growing by what they are each minute."""
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels = [target, *(f"{name}={json.dumps(value)}" for name, value in sample.labels.items())]
            grows = family.type in {"counter", "histogram"}
            values = f"0+{sample.value}x{MINUTES}" if grows else f"{sample.value}x{MINUTES}"
            yield f"{sample.name}{{{', '.join(labels)}}}", values


def with_values(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression
