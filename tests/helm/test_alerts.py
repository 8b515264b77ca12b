"""Every alert fires when it is to, and only then; on series that a gateway and a batch job really have."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from grpc import StatusCode
from prometheus_client.parser import text_string_to_metric_families

from services.gateway.errors import TABLE
from tests.helm.exposition import batch_exposition, gateway_exposition, labels_of
from tests.helm.promtool import check_rules, needs_promtool, run_tests, write_rules
from tests.helm.rendering import CHART, load_values, merged, render

# With a CronJob, for there is an alert on those.
RULES = merged(load_values(CHART / "ci/batch-values.yaml"), {"monitoring": {"prometheusRule": {"enabled": True}}})
GATEWAY = 'job="demo-gantry", namespace="apps", instance="10.0.0.1:9464", pod="demo-gantry-1"'
OTHER_RELEASE = 'job="other-gantry", namespace="apps", instance="10.0.0.2:9464", pod="other-gantry-1"'
BATCH = 'job="gantry-batch", instance="apps/demo-gantry/nightly", shard="0/2"'
MODEL = 'model="tiny", version="1.0.0"'
CALL = 'grpc_service="gantry.v1.GenerationService", grpc_method="Sample", grpc_type="unary"'
HOUR = 60

# A series in promtool's notation, and its values, one a minute.
Series = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """What happened, and whether an alert is to fire in the end.

    Attributes:
        alert: Name of the alert.
        title: What happened, in words.
        fires: Whether it is to fire.
        minutes: How long it went on.
        series: What Prometheus saw meanwhile.
    """

    alert: str
    title: str
    fires: bool
    minutes: int
    series: Series


def calls(minutes: int, *, target: str = GATEWAY, call: str = CALL, **per_minute: float) -> Series:
    """Counters of calls that ended with a code, so many a minute."""
    return {
        f'grpc_server_handled_total{{{target}, {call}, grpc_code="{code}"}}': f"0+{rate}x{minutes}"
        for code, rate in per_minute.items()
    }


def refusals(minutes: int, reason: str, per_minute: float, method: str = "Sample") -> Series:
    series = f'gantry_refusals_total{{{GATEWAY}, grpc_method="{method}", reason="{reason}"}}'
    return {series: f"0+{per_minute}x{minutes}"}


def items(minutes: int, *, unawaited: float, **per_minute: float) -> Series:
    """Counters of items by outcome, and of those that ran although nobody awaited them, so many a minute."""
    return {
        f'gantry_unawaited_items_total{{{GATEWAY}, model="tiny"}}': f"0+{unawaited}x{minutes}",
        **{
            f'gantry_items_total{{{GATEWAY}, model="tiny", outcome="{outcome}"}}': f"0+{rate}x{minutes}"
            for outcome, rate in per_minute.items()
        },
    }


def losses(reason: str, values: str, target: str = GATEWAY) -> Series:
    return {f'gantry_workers_lost_total{{{target}, reason="{reason}"}}': values}


def durations(minutes: int, *, fast: float, slow: float) -> Series:
    """Counters of calls that took at most 2.5 s, and longer, so many a minute."""
    bucket = f"grpc_server_handling_seconds_bucket{{{GATEWAY}, {CALL}"
    return {
        f'{bucket}, le="2.5"}}': f"0+{fast}x{minutes}",
        f'{bucket}, le="+Inf"}}': f"0+{fast + slow}x{minutes}",
        f"grpc_server_handling_seconds_count{{{GATEWAY}, {CALL}}}": f"0+{fast + slow}x{minutes}",
    }


def constant(series: str, value: float, minutes: int) -> Series:
    return {series: f"{value}x{minutes}"}


def expiry(days: float, minutes: int = 90) -> Series:
    """A certificate that is valid for so many days at the end; promtool's clock begins at 0."""
    series = f'gantry_tls_certificate_expiry_timestamp_seconds{{{GATEWAY}, file="certificate"}}'
    return constant(series, days * 86400 + minutes * 60, minutes)


def success(hours: float, minutes: int = 10, job: str = BATCH) -> Series:
    """A batch job that last ran to its end so many hours before the end; before promtool's clock began, that is."""
    return constant(f"gantry_job_last_success_timestamp_seconds{{{job}}}", (minutes / 60 - hours) * 3600, minutes)


UP = f"up{{{GATEWAY}}}"
REFUSED_ARCHIVES = f"gantry_archives_refused{{{GATEWAY}}}"
BACKEND_UP = f'gantry_backend_up{{{GATEWAY}, backend="embedded", {MODEL}}}'
SECOND_POD = GATEWAY.replace("10.0.0.1", "10.0.0.3").replace("gantry-1", "gantry-2")
SECOND_BACKEND_UP = BACKEND_UP.replace(GATEWAY, SECOND_POD)
MODEL_INFO = f'gantry_model_info{{{GATEWAY}, {MODEL}, kind="class_conditional", digest="0"}}'
SET_ASIDE = f"gantry_model_set_aside{{{GATEWAY}, {MODEL}}}"
QUEUE_WAIT = f"gantry_queue_wait_seconds{{{GATEWAY}, {MODEL}}}"
FAILED_ITEMS = f'gantry_job_items{{{BATCH}, status="failed"}}'
HEALTH = 'grpc_service="grpc.health.v1.Health", grpc_method="Check", grpc_type="unary"'
FAST, SLOWLY = "GantryErrorBudgetBurnsFast", "GantryErrorBudgetBurnsSlowly"

CASES = [
    Case(FAST, "1.5 % of calls fail for an hour", True, 70, calls(70, OK=985, INTERNAL=15)),
    Case(FAST, "0.61 % fail for six hours", True, 400, calls(400, OK=9939, INTERNAL=61)),
    Case(FAST, "0.59 % fail for six hours", False, 400, calls(400, OK=9941, INTERNAL=59)),
    *(Case(FAST, f"{code} is a fault", True, 70, calls(70, OK=95, **{code: 5}))
      for code in ("UNAVAILABLE", "UNKNOWN", "DEADLINE_EXCEEDED", "DATA_LOSS")),
    *(Case(FAST, f"{code} is not the service's fault", False, 70, calls(70, OK=50, **{code: 50}))
      for code in ("INVALID_ARGUMENT", "NOT_FOUND", "UNAUTHENTICATED", "PERMISSION_DENIED", "CANCELLED",
                   "RESOURCE_EXHAUSTED")),
    Case(FAST, "nothing but errors", True, 70, calls(70, INTERNAL=5)),
    Case(FAST, "too few calls to judge by", False, 70, calls(70, OK=0.02, INTERNAL=0.03)),
    Case(FAST, "errors that have ended", False, 70,
         {**calls(70, OK=900), **dict.fromkeys(calls(1, INTERNAL=1), "0+100x30 3000x39")}),
    Case(FAST, "health checks fail", False, 70, {**calls(70, OK=90), **calls(70, call=HEALTH, INTERNAL=90)}),
    Case(FAST, "calls of another release fail", False, 70,
         {**calls(70, OK=90), **calls(70, target=OTHER_RELEASE, INTERNAL=90)}),
    Case(FAST, "calls that meet a drain", False, 70,
         {**calls(70, OK=95, UNAVAILABLE=5), **refusals(70, "SHUTTING_DOWN", 5)}),
    Case(FAST, "a drain does not hide other errors", True, 70,
         {**calls(70, OK=90, UNAVAILABLE=10), **refusals(70, "SHUTTING_DOWN", 5)}),
    Case(SLOWLY, "0.31 % of calls fail for hours", True, 12 * HOUR, calls(12 * HOUR, OK=9969, INTERNAL=31)),
    Case(SLOWLY, "0.11 % fail for hours", True, 12 * HOUR, calls(12 * HOUR, OK=9989, INTERNAL=11)),
    Case(SLOWLY, "0.09 % fail for hours", False, 12 * HOUR, calls(12 * HOUR, OK=9991, INTERNAL=9)),
    Case(SLOWLY, "errors that ended seven hours ago", False, 12 * HOUR,
         {**calls(12 * HOUR, OK=900), **dict.fromkeys(calls(1, INTERNAL=1), "0+20x300 6000x419")}),
    Case(SLOWLY, "too few calls to judge by", False, 12 * HOUR, calls(12 * HOUR, OK=0.002, INTERNAL=0.002)),
    Case("GantryCallsAreSlow", "6 % take longer", True, 40, durations(40, fast=94, slow=6)),
    Case("GantryCallsAreSlow", "4 % take longer", False, 40, durations(40, fast=96, slow=4)),
    Case("GantryCallsAreSlow", "one slow call now and then", False, 40, durations(40, fast=0, slow=1)),
    Case("GantryQueueWaitIsLong", "a wait of 6 s", True, 10, constant(QUEUE_WAIT, 6, 10)),
    Case("GantryQueueWaitIsLong", "a wait of 5 s", False, 10, constant(QUEUE_WAIT, 5, 10)),
    Case("GantryQueueWaitIsLong", "a wait that was long for a moment", False, 10, {QUEUE_WAIT: "0 0 60 60 60 0x6"}),
    Case("GantryRefusesWork", "11 % are refused", True, 30,
         {**calls(30, OK=89, RESOURCE_EXHAUSTED=11), **refusals(30, "QUEUE_FULL", 11)}),
    Case("GantryRefusesWork", "9 % are refused", False, 30,
         {**calls(30, OK=91, RESOURCE_EXHAUSTED=9), **refusals(30, "QUEUE_FULL", 9)}),
    Case("GantryRefusesWork", "pictures that are too large", False, 30,
         {**calls(30, OK=50, RESOURCE_EXHAUSTED=50), **refusals(30, "IMAGE_TOO_LARGE", 50)}),
    Case("GantryRefusesWork", "streams that fill the queue", False, 30,
         {**calls(30, OK=1, call=CALL.replace("Sample", "TranslateStream").replace("unary", "bidi_stream")),
          **refusals(30, "QUEUE_FULL", 100, "TranslateStream")}),
    Case("GantryWorkIsWasted", "2 % run for nobody", True, 30, items(30, unawaited=2, answered=90, abandoned=10)),
    Case("GantryWorkIsWasted", "0.9 % run for nobody", False, 30, items(30, unawaited=0.9, answered=90, abandoned=10)),
    Case("GantryWorkIsWasted", "refused items do not count", True, 30,
         items(30, unawaited=2, answered=100, refused=900)),
    Case("GantryWorkIsWasted", "too few items to judge by", False, 30, items(30, unawaited=0.5, answered=1)),
    Case("GantryWorkIsWasted", "it has ended", False, 30,
         {**items(30, unawaited=0, answered=90), **dict.fromkeys(items(1, unawaited=1), "0+9x9 81x20")}),
    Case("GantryDown", "no gateway answers", True, 10, constant(UP, 0, 10)),
    Case("GantryDown", "there is only another release", True, 10, constant(f"up{{{OTHER_RELEASE}}}", 1, 10)),
    Case("GantryDown", "one of two answers", False, 10,
         {**constant(UP, 1, 10), **constant(f"up{{{SECOND_POD}}}", 0, 10)}),
    Case("GantryGatewayDown", "one of two does not answer", True, 10,
         {**constant(UP, 1, 10), **constant(f"up{{{SECOND_POD}}}", 0, 10)}),
    Case("GantryGatewayDown", "a scrape was missed", False, 10, {UP: "1 1 1 1 0 0 1x5"}),
    Case("GantryModelDown", "the model fails in both gateways", True, 10,
         {**constant(BACKEND_UP, 0, 10), **constant(SECOND_BACKEND_UP, 0, 10)}),
    Case("GantryModelDown", "the model fails in one of two gateways", False, 10,
         {**constant(BACKEND_UP, 0, 10), **constant(SECOND_BACKEND_UP, 1, 10)}),
    Case("GantryModelNotReady", "the model fails in one of two gateways", True, 10,
         {**constant(BACKEND_UP, 0, 10), **constant(SECOND_BACKEND_UP, 1, 10)}),
    Case("GantryModelNotReady", "the model failed for a moment", False, 10, {BACKEND_UP: "1 1 0 0 1x7"}),
    Case("GantryModelSetAside", "a model is aside", True, 10, constant(SET_ASIDE, 1, 10)),
    Case("GantryModelSetAside", "it is tried now and then", True, 12, {SET_ASIDE: "0 0 1 0 0 1 0 0 1 0 0 0 0"}),
    Case("GantryModelSetAside", "it was aside long ago", False, 12, {SET_ASIDE: "0 1 0x11"}),
    Case("GantryWorkersLost", "four of one gateway, whatever ended them", True, 10,
         {**losses("crashed", "0 0 1 2x8"), **losses("overdue", "0 0 1 2x8")}),
    Case("GantryWorkersLost", "one", False, 10, losses("crashed", "0 0 1x9")),
    Case("GantryWorkersLost", "callers left, and nobody is harmed", False, 10, losses("deserted", "0 0 2 9x8")),
    Case("GantryWorkersLost", "two of each of two gateways", False, 10,
         {**losses("memory", "0 0 1 2x8"), **losses("memory", "0 0 1 2x8", SECOND_POD)}),
    Case("GantryNoModel", "a gateway without models", True, 10, constant(UP, 1, 10)),
    Case("GantryNoModel", "a gateway with a model", False, 10,
         {**constant(UP, 1, 10), **constant(MODEL_INFO, 1, 10)}),
    Case("GantryNoModel", "another gateway has the model", True, 10,
         {**constant(UP, 1, 10), **constant(MODEL_INFO.replace(GATEWAY, SECOND_POD), 1, 10)}),
    Case("GantryArchivesRefused", "an archive was refused", True, 20, constant(REFUSED_ARCHIVES, 1, 20)),
    Case("GantryArchivesRefused", "none was refused", False, 20, constant(REFUSED_ARCHIVES, 0, 20)),
    Case("GantryArchivesRefused", "a model has just come and is not tried yet", False, 10,
         constant(REFUSED_ARCHIVES, 1, 10)),
    Case("GantryCertificateExpires", "13 days are left", True, 90, expiry(13)),
    Case("GantryCertificateExpires", "15 days are left", False, 90, expiry(15)),
    Case("GantryCertificateExpiresSoon", "2 days are left", True, 90, expiry(2)),
    Case("GantryCertificateExpiresSoon", "it has expired", True, 90, expiry(-1)),
    Case("GantryCertificateExpiresSoon", "4 days are left", False, 90, expiry(4)),
    Case("GantryBatchItemsFailed", "one item failed", True, 5, constant(FAILED_ITEMS, 1, 5)),
    Case("GantryBatchItemsFailed", "no item failed", False, 5,
         {**constant(FAILED_ITEMS, 0, 5), **constant(FAILED_ITEMS.replace('"failed"', '"done"'), 9, 5)}),
    Case("GantryBatchItemsFailed", "an item of another release failed", False, 5,
         constant(FAILED_ITEMS.replace("demo-gantry", "other-gantry"), 1, 5)),
    Case("GantryBatchJobIsStale", "27 hours ago", True, 10, success(27)),
    Case("GantryBatchJobIsStale", "25 hours ago", False, 10, success(25)),
    Case("GantryBatchJobIsStale", "a job that is not to run again", False, 10,
         success(27, job=BATCH.replace("nightly", "once"))),
]  # fmt: skip


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rules(tmp_path_factory.mktemp("rules"), RULES)


def alerts_of(rules: Path) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(rules.read_text())["groups"]:
        yield from (rule for rule in group["rules"] if "alert" in rule)


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}: {case.title}")
def test_alert_fires(case: Case, rules: Path, tmp_path: Path) -> None:
    expected = [{"labels": "{}", "value": 1}] if case.fires else []
    firing = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}})'
    test = {
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": f"{case.minutes}m", "exp_samples": expected}],
    }
    run_tests(tmp_path, rules, [test])


def test_every_alert_has_a_case_that_fires_and_one_that_does_not(rules: Path) -> None:
    names = {alert["alert"] for alert in alerts_of(rules)}
    assert {case.alert for case in CASES if case.fires} == names
    assert {case.alert for case in CASES if not case.fires} == names


def test_cases_have_only_series_that_are_exposed() -> None:
    exposed = labels_of(gateway_exposition()) | labels_of(batch_exposition())
    reasons = {row.reason for row in TABLE.values()}
    for series in {series for case in CASES for series in case.series if not series.startswith("up{")}:
        ((sample,),) = (family.samples for family in text_string_to_metric_families(f"{series} 0\n"))
        assert set(sample.labels) - {"job", "namespace", "instance", "pod", "shard"} in exposed[sample.name], series
        assert sample.name != "gantry_refusals_total" or sample.labels["reason"] in reasons
        assert sample.labels.get("grpc_code") in {None, *(code.name for code in StatusCode)}


@needs_promtool
def test_what_an_alert_says(tmp_path: Path) -> None:
    """Labels and texts as they reach whoever is on call, with the labels and thresholds of a values file."""
    rules = write_rules(tmp_path, CHART / "ci/monitoring-values.yaml")
    labels = {"namespace": "apps", "job": "demo-gantry", "model": "tiny", "version": "1.0.0"}
    alert = {
        "exp_labels": {**labels, "severity": "warning", "team": "pictures"},
        "exp_annotations": {
            "summary": "Work for tiny waits long in demo-gantry",
            "description": "What is asked of tiny 1.0.0 now waits 3s in the fullest gateway of demo-gantry in apps.",
            "runbook_url": "https://github.com/gantry/gantry/blob/main/docs/operations.md#gantryqueuewaitislong",
        },
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": QUEUE_WAIT, "values": "3x10"}],
        "alert_rule_test": [{"alertname": "GantryQueueWaitIsLong", "eval_time": "10m", "exp_alerts": [alert]}],
    }
    run_tests(tmp_path, rules, [test])


@needs_promtool
@pytest.mark.parametrize(
    "values", [RULES, CHART / "ci/monitoring-values.yaml", CHART / "ci/service-monitor-values.yaml"]
)
def test_rules_are_sound(values: Any, tmp_path: Path) -> None:
    file = write_rules(tmp_path, values)
    check_rules(file)
    assert "${" not in file.read_text()


def test_alerts_are_left_out_by_name_and_without_their_cause(tmp_path: Path) -> None:
    disabled = {"monitoring": {"prometheusRule": {"enabled": True, "disabled": ["GantryDown"]}}}
    names = {alert["alert"] for alert in alerts_of(write_rules(tmp_path, disabled))}
    assert "GantryDown" not in names
    assert "GantryBatchJobIsStale" not in names, "there is no CronJob"
    assert "GantryGatewayDown" in names


def test_schema_knows_the_alerts_and_the_bounds_of_the_histogram(rules: Path) -> None:
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    rule = schema["properties"]["monitoring"]["properties"]["prometheusRule"]["properties"]
    assert rule["disabled"]["items"]["enum"] == [alert["alert"] for alert in alerts_of(rules)]
    bounds = {
        sample.labels["le"]
        for family in text_string_to_metric_families(gateway_exposition())
        for sample in family.samples
        if sample.name == "grpc_server_handling_seconds_bucket"
    }
    assert {*rule["thresholds"]["properties"]["slowSeconds"]["enum"], "+Inf"} == bounds


def test_every_alert_has_a_section_for_whoever_is_on_call(rules: Path) -> None:
    page = (CHART.parents[1] / "docs" / "operations.md").read_text()
    sections = re.findall(r"^### (Gantry\w+)$", page, re.MULTILINE)
    assert sections == [alert["alert"] for alert in alerts_of(rules)]
    for alert in alerts_of(rules):
        assert alert["annotations"]["runbook_url"].endswith(f"docs/operations.md#{alert['alert'].lower()}")


def test_each_release_has_rules_of_its_own() -> None:
    """Those of one neither record nor alert on what the other's gateways expose."""
    for own, other in (("one", "two"), ("two", "one")):
        (rule,) = (manifest for manifest in render(RULES, name=own) if manifest["kind"] == "PrometheusRule")
        assert f"{other}-gantry" not in str(rule)
        expressions = [each["expr"] for group in rule["spec"]["groups"] for each in group["rules"]]
        selectors = [found for each in expressions for found in re.findall(r"\{(.*?)\}", each)]
        assert len(selectors) > len(expressions)
        own_jobs = f'job="{own}-gantry", namespace="apps"', f'job="gantry-batch", instance=~"apps/{own}-gantry/.+"'
        assert all(selector.startswith(own_jobs) for selector in selectors)
