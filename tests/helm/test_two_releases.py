"""Two releases in one namespace leave each other alone, and a release may have a very long name."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.helm.conftest import Rendering
from tests.helm.manifests import identity, of_kind, one, pod_templates, references, selects, selects_plainly
from tests.helm.rendering import CHART, Manifest, merged, render

# The 53 characters that Helm permits.
LONGEST = f"a{'-long' * 10}er"
# What the API server takes as a name, and its longest: some kinds' pods and objects get longer ones made of it.
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
LONGEST_NAMES = {"CronJob": 52, "Job": 63 - len("-99999")}


@cache
def release(path: Path, name: str) -> list[Manifest]:
    values = merged({}, Rendering(path, "1.37.0").values)
    # Who says these names himself sees to it that they differ.
    values.pop("fullnameOverride", None)
    values.pop("extraObjects", None)
    return render(values, name=name, kube_version="1.37.0")


def selectors(manifests: list[Manifest]) -> list[tuple[Manifest, dict]]:
    """All that takes pods by their labels, each with its selector in the form of matchLabels."""
    found = [(each, {"matchLabels": each["spec"]["selector"]}) for each in of_kind(manifests, "Service")]
    for kind, field in {
        "NetworkPolicy": "podSelector",
        "PodDisruptionBudget": "selector",
        "PodMonitor": "selector",
        "Deployment": "selector",
    }.items():
        found += [(each, each["spec"][field]) for each in of_kind(manifests, kind)]
    return found


@pytest.mark.parametrize("names", [("demo", "demo-2"), ("demo", "gantry"), ("gantry", "gantry-gateway"), ("a", "b")])
def test_names_and_selectors_are_disjoint(rendering: Rendering, names: tuple[str, str]) -> None:
    first, second = (release(rendering.path, name) for name in names)
    assert not {identity(each) for each in first} & {identity(each) for each in second}
    for one_side, other_side in ((first, second), (second, first)):
        for manifest, selector in selectors(one_side):
            assert any(selects(selector, pod.labels) for pod in pod_templates(one_side)), identity(manifest)
            taken = [pod for pod in pod_templates(other_side) if selects(selector, pod.labels)]
            assert taken == [], f"{identity(manifest)} of the one takes pods of the other"
        services = of_kind(other_side, "Service")
        for monitor in of_kind(one_side, "ServiceMonitor"):
            assert not [each for each in services if selects(monitor["spec"]["selector"], each["metadata"]["labels"])]


def test_one_release_does_not_let_the_other_in_or_reach_out_to_it(rendering: Rendering) -> None:
    """Policies between pods of the release name the release; `grpcFrom` opens the gateway to more, and nothing else."""
    first, second = release(rendering.path, "demo"), release(rendering.path, "other")
    for policy in of_kind(first, "NetworkPolicy"):
        rules = policy["spec"].get("egress", [])
        if policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component") != "gateway":
            rules = rules + policy["spec"].get("ingress", [])
        for peer in [peer for rule in rules for peer in rule.get("to", rule.get("from", ()))]:
            if "podSelector" in peer and "namespaceSelector" not in peer:
                assert not any(selects(peer["podSelector"], pod.labels) for pod in pod_templates(second)), policy


def test_a_very_long_name_is_cut_without_collisions(rendering: Rendering) -> None:
    long, short = release(rendering.path, LONGEST), release(rendering.path, "demo")
    assert sorted(each["kind"] for each in long) == sorted(each["kind"] for each in short)
    assert len({identity(each) for each in long}) == len(long)
    for manifest in long:
        name = manifest["metadata"]["name"]
        assert DNS_LABEL.fullmatch(name), name
        assert len(name) <= LONGEST_NAMES.get(manifest["kind"], 63), identity(manifest)
        labels = manifest["metadata"]["labels"].values()
        assert all(len(label) <= 63 for label in labels), identity(manifest)
    for pod in pod_templates(long):
        assert all(len(label) <= 63 for label in pod.labels.values())


def test_a_long_name_is_the_same_wherever_it_is_used(rendering: Rendering) -> None:
    """Names are cut in one place, so that who refers to an object finds it."""
    manifests = release(rendering.path, LONGEST)
    short = {name for pod in pod_templates(release(rendering.path, "demo")) for _, name in references(pod.spec)}
    rendered = {each["metadata"]["name"] for each in manifests}
    given = {name for name in short if not name.startswith("demo")}
    made = {each["spec"]["secretName"] for each in of_kind(manifests, "Certificate")}
    for pod in pod_templates(manifests):
        assert {name for _, name in references(pod.spec)} <= rendered | given | made, pod
    for service in of_kind(manifests, "Service"):
        assert len(
            [pod for pod in pod_templates(manifests) if selects_plainly(service["spec"]["selector"], pod.labels)]
        )


def test_jobs_of_a_cronjob_fit_into_names_of_hosts() -> None:
    """Kubernetes appends a dash and ten digits for each Job, and a dash and the index for each pod."""
    cron = one(release(CHART / "ci" / "batch-values.yaml", LONGEST), "CronJob")
    assert len(cron["metadata"]["name"]) + len("-1234567890") + len("-99999") <= 63
