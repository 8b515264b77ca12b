"""Batch jobs and CronJobs: what values make of them, and that `gantry batch` takes what they say."""

from typing import Any

import pytest
from helm_python.errors import HelmRenderError, HelmValuesError

from services.batch.running import FAULT, ITEMS_FAILED
from services.batch.shards import Shard
from tests.helm.arguments import parse
from tests.helm.conftest import Rendering
from tests.helm.manifests import PodTemplate, component, environment, of_kind, one, pod_templates, selects
from tests.helm.rendering import CHART, Manifest, merged, render

BUCKET: dict[str, Any] = {"networkPolicy": {"egress": {"objectStore": {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}}}}
TRANSLATE = {"command": "translate", "model": "horse2zebra", "inputs": ["s3://a/in"], "out": "s3://a/out"}
SAMPLE = {"command": "sample", "model": "mnist-cgan", "out": "s3://a/digits", "options": {"count": 1_000_000}}
SIGTERM_EXIT = 128 + 15
# Of click, where it cannot read the command line.
USAGE = 2


def job(values: dict[str, Any], **more: Any) -> Manifest:
    """The Job that values of one make."""
    return one(render(merged(BUCKET, {"batch": {"jobs": {"it": values}, **more}})), "Job")


def pod(manifest: Manifest) -> PodTemplate:
    (found,) = pod_templates([manifest])
    return found


def parameters(manifest: Manifest) -> tuple[str, dict[str, Any]]:
    (container,) = pod(manifest).spec["containers"]
    return parse(container["args"])


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises((HelmValuesError, HelmRenderError)) as refused:
        render(values)
    return str(refused.value)


def test_gantry_takes_the_arguments_of_every_container(rendering: Rendering) -> None:
    for template in rendering.pods:
        for container in template.containers:
            if container["image"].partition("/gantry/")[2] and container.get("args") and "command" not in container:
                parse(container["args"])


def test_a_translation_is_asked_for_as_values_say() -> None:
    options = {"direction": "a_to_b", "format": "jpeg", "quality": 90, "overwrite": True, "push-label": ["a=b", "c=d"]}
    command, given = parameters(job({**TRANSLATE, "inputs": ["s3://a/in", "--odd://in"], "options": options}))
    assert command == "batch translate"
    assert given["model"] == "horse2zebra"
    assert list(given["inputs"]) == ["s3://a/in", "--odd://in"]
    assert given["out"] == "s3://a/out"
    assert (given["direction"], given["image_format"], given["quality"]) == ("a_to_b", "jpeg", 90)
    assert given["overwrite"] is True
    assert list(given["push_label"]) == ["a=b", "c=d"]
    assert not given["embedded"]


def test_failed_items_are_tried_again() -> None:
    command, given = parameters(job({"command": "retry", "out": "s3://a/out", "options": {"concurrency": 4}}))
    assert command == "batch retry"
    assert (given["out"], given["concurrency"]) == ("s3://a/out", 4)


def test_pushed_metrics_say_whose_they_are() -> None:
    options = {"pushgateway": "http://pushgateway:9091"}
    assert list(parameters(job({**TRANSLATE, "options": options}))[1]["push_label"]) == ["instance=apps/demo-gantry/it"]


def test_a_large_number_keeps_its_digits() -> None:
    command, given = parameters(job(SAMPLE))
    assert command == "batch sample"
    assert given["count"] == 1_000_000


def test_an_option_that_is_false_is_left_out() -> None:
    defaults = {"options": {"overwrite": True}}
    assert parameters(job(TRANSLATE, defaults=defaults))[1]["overwrite"] is True
    assert parameters(job({**TRANSLATE, "options": {"overwrite": False}}, defaults=defaults))[1]["overwrite"] is False


def test_every_pod_is_told_its_shard() -> None:
    manifest = job({**TRANSLATE, "completions": 5, "parallelism": 2})
    spec = manifest["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 5, 2)
    (container,) = pod(manifest).spec["containers"]
    told = {name: value for name, value in environment(container).items() if value is not None}
    shards = {Shard.from_environment({**told, "JOB_COMPLETION_INDEX": str(index)}) for index in range(5)}
    assert shards == {Shard(index, 5) for index in range(5)}


def test_all_shards_run_at_once_unless_told_otherwise() -> None:
    assert job({**TRANSLATE, "completions": 5})["spec"]["parallelism"] == 5


def what_becomes_of(manifest: Manifest, exit_code: int, *conditions: str) -> str:
    """The action of the first rule that a failed pod meets, as Kubernetes decides it."""
    for rule in manifest["spec"]["podFailurePolicy"]["rules"]:
        if any(each["type"] in conditions and each["status"] == "True" for each in rule.get("onPodConditions", ())):
            return rule["action"]
        exits = rule.get("onExitCodes")
        if exits and exits["operator"] == "In" and exit_code in exits["values"]:
            return rule["action"]
    return "Count"


def test_exits_are_told_apart() -> None:
    manifest = job(TRANSLATE)
    assert what_becomes_of(manifest, ITEMS_FAILED) == "FailIndex"
    assert what_becomes_of(manifest, FAULT) == "Count"
    assert what_becomes_of(manifest, USAGE) == "FailJob", "the arguments of all shards are the same"
    assert what_becomes_of(manifest, 128 + 9) == "Count", "out of memory"
    assert what_becomes_of(manifest, SIGTERM_EXIT) == "Ignore"
    assert what_becomes_of(manifest, 128 + 9, "DisruptionTarget") == "Ignore"
    assert what_becomes_of(manifest, ITEMS_FAILED, "DisruptionTarget") == "Ignore", "evicted: it may be tried again"
    (container,) = pod(manifest).spec["containers"]
    for rule in manifest["spec"]["podFailurePolicy"]["rules"]:
        assert rule.get("onExitCodes", {}).get("containerName") in (None, container["name"])


def test_a_failure_policy_has_what_it_needs() -> None:
    spec = job(TRANSLATE)["spec"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["backoffLimitPerIndex"] == 6
    assert "backoffLimit" not in spec, "it would end all shards for the faults of one"
    assert spec["podReplacementPolicy"] == "Failed", "two pods of one shard would get into each other's way"
    assert "maxFailedIndexes" not in spec
    assert job({**TRANSLATE, "maxFailedIndexes": 0})["spec"]["maxFailedIndexes"] == 0


def test_a_job_that_is_changed_is_another_one() -> None:
    first = job(TRANSLATE)["metadata"]["name"]
    assert job(TRANSLATE)["metadata"]["name"] == first
    assert job({**TRANSLATE, "options": {"format": "webp"}})["metadata"]["name"] != first
    assert job(TRANSLATE, defaults={"tmpSize": "2Gi"})["metadata"]["name"] != first


def test_defaults_hold_for_all_jobs_and_each_may_differ() -> None:
    defaults = {"embedded": True, "parallelism": 2, "completions": 5, "activeDeadlineSeconds": 60, "suspend": True}
    like_all = job(TRANSLATE, defaults=defaults)
    assert parameters(like_all)[1]["embedded"] is True
    assert (like_all["spec"]["parallelism"], like_all["spec"]["suspend"]) == (2, True)
    own = {"embedded": False, "parallelism": None, "activeDeadlineSeconds": None, "suspend": False}
    otherwise = job({**TRANSLATE, **own}, defaults=defaults)
    assert parameters(otherwise)[1]["embedded"] is False
    assert (otherwise["spec"]["parallelism"], otherwise["spec"]["suspend"]) == (5, False)


def test_credentials_of_the_bucket_come_from_a_secret() -> None:
    values = {
        **TRANSLATE,
        "credentialsSecretName": "bucket",
        "env": [{"name": "AWS_ENDPOINT_URL", "value": "http://s"}],
    }
    (container,) = pod(job(values)).spec["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]
    assert environment(container)["AWS_ENDPOINT_URL"] == "http://s"


def test_a_job_may_have_an_identity_of_its_own() -> None:
    assert pod(job(TRANSLATE)).spec["serviceAccountName"] == "demo-gantry"
    assert pod(job({**TRANSLATE, "serviceAccountName": "writer"})).spec["serviceAccountName"] == "writer"


def test_folders_are_claims() -> None:
    claims = [
        {"claimName": "pictures", "mountPath": "/pictures", "readOnly": True},
        {"claimName": "zebras", "mountPath": "/zebras", "subPath": "new"},
    ]
    spec = pod(job({**TRANSLATE, "inputs": ["/pictures/in"], "out": "/zebras", "claims": claims})).spec
    (container,) = spec["containers"]
    volumes = {
        each["name"]: each["persistentVolumeClaim"] for each in spec["volumes"] if "persistentVolumeClaim" in each
    }
    mounted = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert volumes[mounted["/pictures"]["name"]] == {"claimName": "pictures", "readOnly": True}
    assert volumes[mounted["/zebras"]["name"]] == {"claimName": "zebras", "readOnly": False}
    assert mounted["/zebras"]["subPath"] == "new"


def test_the_gateway_of_an_embedded_job_keeps_to_the_memory_limit() -> None:
    def given(**more: Any) -> dict[str, str | None]:
        (container,) = pod(job({**TRANSLATE, **more})).spec["containers"]
        return environment(container)

    embedded = given(embedded=True, resources={"limits": {"memory": "2Gi"}})
    assert embedded["GANTRY_MEMORY_BYTES"] == str(1 << 29)
    assert embedded["GANTRY_WORKER_MEMORY_BYTES"] == str(1 << 30)
    own = given(embedded=True, env=[{"name": "GANTRY_MEMORY_BYTES", "value": "900000000"}])
    assert own["GANTRY_MEMORY_BYTES"] == "900000000"
    assert "GANTRY_MEMORY_BYTES" not in given()


def test_an_embedded_job_has_the_models_and_does_without_the_gateway() -> None:
    (manifest,) = of_kind(render(CHART / "ci" / "batch-embedded-values.yaml"), "Job")
    spec = pod(manifest).spec
    (container,) = spec["containers"]
    (init,) = spec["initContainers"]
    assert container["image"].startswith("ghcr.io/gantry/gateway-embedded:")
    assert "GANTRY_ADDRESS" not in environment(container)
    assert str(parameters(manifest)[1]["model_store"]) == "/models"
    assert "/models" in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert parse(init["args"])[0] == "batch copy"


def test_a_job_shows_the_gateway_its_token_and_trusts_its_certificate() -> None:
    values = merged(BUCKET, {
        "auth": {"insecure": False, "client": {"tokenSecretName": "key"}},
        "tls": {"secretName": "certificate"},
        "batch": {"jobs": {"it": TRANSLATE}},
    })  # fmt: skip
    spec = pod(one(render(values), "Job")).spec
    (container,) = spec["containers"]
    assert environment(container)["GANTRY_TLS"] == "true"
    assert {"GANTRY_CA", "GANTRY_TOKEN_FILE"} <= environment(container).keys()
    assert {each["secret"]["secretName"] for each in spec["volumes"] if "secret" in each} == {"certificate", "key"}


def test_a_cronjob_is_of_the_same_kind() -> None:
    cron = {"schedule": "@daily", "job": TRANSLATE}
    manifests = render(merged(BUCKET, {"batch": {"jobs": {"it": TRANSLATE}, "cronJobs": {"it": cron}}}))
    spec = one(manifests, "CronJob")["spec"]
    assert spec["jobTemplate"]["spec"] == one(manifests, "Job")["spec"]
    assert (spec["concurrencyPolicy"], spec["timeZone"], spec["suspend"]) == ("Forbid", "Etc/UTC", False)
    own = {"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 9, "timeZone": "Asia/Tokyo", "suspend": True}
    spec = one(render(merged(BUCKET, {"batch": {"cronJobs": {"it": {**cron, **own}}}})), "CronJob")["spec"]
    assert {name: spec[name] for name in own} == own


def test_jobs_reach_the_gateway_and_the_bucket_and_nobody_reaches_them() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "10.1.1.1/32"}}], "ports": [{"port": 9091}]}
    manifests = render(merged(BUCKET, {"batch": {"jobs": {"it": TRANSLATE}, "egress": [rule]}}))
    (batch,) = [each for each in pod_templates(manifests) if component(each) == "batch"]
    (gateway,) = [each for each in pod_templates(manifests) if component(each) == "gateway"]
    policies = [
        each for each in of_kind(manifests, "NetworkPolicy") if selects(each["spec"]["podSelector"], batch.labels)
    ]
    assert [each["spec"]["ingress"] for each in policies if "ingress" in each["spec"]] == []
    (egress,) = [each["spec"]["egress"] for each in policies if "egress" in each["spec"]]
    by_labels = [(each, peer["podSelector"]) for each in egress for peer in each["to"] if "podSelector" in peer]
    to_gateway = [each for each, selector in by_labels if selects(selector, gateway.labels)]
    assert [each["ports"] for each in to_gateway] == [[{"port": 50051, "protocol": "TCP"}]]
    assert {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443, "protocol": "TCP"}]} in egress
    assert rule in egress


def test_without_jobs_there_is_nothing_of_them() -> None:
    assert not [each for each in render({}) if component(each) == "batch"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({**TRANSLATE, "inputs": []}, "batch.jobs.it.inputs names nothing to translate"),
        ({**SAMPLE, "inputs": ["s3://a/in"]}, "batch.jobs.it.inputs means nothing to sample"),
        ({**SAMPLE, "options": {}}, "batch.jobs.it.options.count does not say how many"),
        ({**TRANSLATE, "out": "/lost"}, "batch.jobs.it: /lost is on no volume, but in the pod itself"),
        (
            {**TRANSLATE, "out": "/zebras2", "claims": [{"claimName": "a", "mountPath": "/zebras"}]},
            "/zebras2 is on no volume",
        ),
        ({**TRANSLATE, "maxFailedIndexes": 2}, "maxFailedIndexes (2) is more than its completions (1)"),
        ({**TRANSLATE, "command": "status"}, "/batch/jobs/it/command"),
        ({**TRANSLATE, "options": {"shard": "0/2"}}, "invalid propertyName 'shard'"),
        ({**TRANSLATE, "options": {"Format": "png"}}, "invalid propertyName 'Format'"),
        ({**TRANSLATE, "completion": 2}, "additional properties 'completion' not allowed"),
        ({key: value for key, value in TRANSLATE.items() if key != "out"}, "missing property 'out'"),
        ({key: value for key, value in TRANSLATE.items() if key != "model"}, "it.model does not name the model"),
        ({"command": "retry", "out": "s3://a", "inputs": ["s3://b"]}, "it.inputs means nothing to retry"),
        ({"command": "retry", "out": "s3://a", "model": "b"}, "it.model means nothing to retry"),
        (
            {**TRANSLATE, "env": [{"name": "GANTRY_ADDRESS", "value": "elsewhere:1"}]},
            "batch.jobs.it.env sets GANTRY_ADDRESS, which is set already",
        ),
    ],
)
def test_a_job_that_cannot_work_is_refused(values: dict[str, Any], message: str) -> None:
    assert message in refusal(merged(BUCKET, {"batch": {"jobs": {"it": values}}}))


def test_a_bucket_that_no_policy_lets_through_is_refused() -> None:
    values = {"batch": {"jobs": {"it": TRANSLATE}}}
    assert "batch.jobs.it has URLs, but the NetworkPolicy lets no pod reach them" in refusal(values)
    assert of_kind(render(merged(values, {"networkPolicy": {"enabled": False}})), "Job")


def test_a_job_that_the_gateway_would_not_know_is_refused() -> None:
    guards = {
        "auth": {"insecure": False, "apiKeys": {"secretName": "callers"}},
        "tls": {"secretName": "certificate", "clientCa": {"secretName": "ca"}},
    }
    values = merged(BUCKET, {**guards, "batch": {"jobs": {"it": TRANSLATE}}})
    message = "set auth.client.certificateSecretName and auth.client.tokenSecretName"
    assert f"batch.jobs.it would be refused by the gateway, which asks who calls: {message}" in refusal(values)
    known = {"auth": {"client": {"tokenSecretName": "key", "certificateSecretName": "mine"}}}
    for more in (known, {"batch": {"defaults": {"embedded": True}}}):
        assert of_kind(render(merged(values, more)), "Job")


def test_a_cronjob_that_cannot_work_is_refused() -> None:
    cron = {"schedule": "at night", "job": TRANSLATE}
    assert "/batch/cronJobs/it/schedule" in refusal(merged(BUCKET, {"batch": {"cronJobs": {"it": cron}}}))
    cron = {"schedule": "@daily", "job": {**TRANSLATE, "inputs": []}}
    assert "batch.cronJobs.it.job.inputs names nothing" in refusal(
        merged(BUCKET, {"batch": {"cronJobs": {"it": cron}}})
    )
