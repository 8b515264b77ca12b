"""The matrix of templates/network/policy.yaml, asked of the policies as a cluster would."""

from typing import Any

import pytest

from tests.helm.core import INTERNET, OWN, SIDECAR
from tests.helm.manifests import PodTemplate, component, of_kind, one, pod_templates, selects
from tests.helm.rendering import CHART, Manifest, load_values, merged, render


@pytest.mark.parametrize("values", [{}, SIDECAR, OWN], ids=["embedded", "sidecar", "own"])
def test_every_pod_is_closed_in_both_directions(values: dict[str, Any]) -> None:
    manifests = render(values)
    deny = one(manifests, "NetworkPolicy", "demo-gantry-default-deny")["spec"]
    assert set(deny) == {"podSelector", "policyTypes"}
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    for pod in pod_templates(manifests):
        assert selects(deny["podSelector"], pod.labels)


def test_pods_of_the_release_reach_each_other_where_the_matrix_says_so_and_nowhere_else() -> None:
    everything = merged(OWN, load_values(CHART / "ci/batch-values.yaml"))
    manifests = render(merged(everything, load_values(CHART / "ci/training-values.yaml")))
    pods = pod_templates(manifests)
    assert {component(pod) for pod in pods} == {"gateway", "torchserve", "batch", "training", "test"}
    reached = {
        (component(source), component(target), port)
        for source in pods
        for target in pods
        for port in (53, 443, 7070, 7071, 8080, 8081, 8082, 9464, 50051)
        if _passes(manifests, "Egress", source, target, port) and _passes(manifests, "Ingress", target, source, port)
    }
    assert reached == {
        ("gateway", "torchserve", 7070),
        ("batch", "gateway", 50051),
        ("test", "gateway", 50051),
    }


def _passes(manifests: list[Manifest], direction: str, pod: PodTemplate, other: PodTemplate, port: int) -> bool:
    """Whether the policies of a pod let traffic from or to another one of the namespace through."""
    policies = [each["spec"] for each in of_kind(manifests, "NetworkPolicy")]
    policies = [
        each for each in policies if direction in each["policyTypes"] and selects(each["podSelector"], pod.labels)
    ]
    rules = [rule for each in policies for rule in each.get(direction.lower(), ())]
    return not policies or any(
        port in [each["port"] for each in rule["ports"]]
        and any(_takes(peer, other) for peer in rule.get("from", rule.get("to", ())))
        for rule in rules
    )


def _takes(peer: dict[str, Any], pod: PodTemplate) -> bool:
    namespaces = peer.get("namespaceSelector", {})
    return (
        "ipBlock" not in peer
        and selects(namespaces, {"kubernetes.io/metadata.name": "apps"})
        and selects(peer.get("podSelector", {}), pod.labels)
    )


def test_no_rule_is_open_to_everybody() -> None:
    values = {
        "networkPolicy": {
            "ingress": {"grpcFrom": [], "metricsFrom": []},
            "egress": {"dns": {"to": []}},
        }
    }
    for policy in of_kind(render(merged(OWN, values)), "NetworkPolicy"):
        for rule in [*(policy["spec"].get("ingress") or ()), *(policy["spec"].get("egress") or ())]:
            assert rule.get("from") or rule.get("to"), policy["metadata"]["name"]
            assert rule["ports"]


@pytest.mark.parametrize(
    ("values", "ingress", "egress"),
    [
        ({}, {50051, 9464}, set()),
        (SIDECAR, {50051, 9464}, set()),
        (OWN, {50051, 9464}, {53, 7070}),
    ],
    ids=["embedded", "sidecar", "own"],
)
def test_ports_of_the_gateway(values: dict[str, Any], ingress: set[int], egress: set[int]) -> None:
    assert _ports(render(values), "gateway") == (ingress, egress)


def test_torchserve_speaks_to_the_gateway_only() -> None:
    manifests = render(OWN)
    assert _ports(manifests, "torchserve") == ({7070}, set())
    (rule,) = one(manifests, "NetworkPolicy", "demo-gantry-torchserve")["spec"]["ingress"]
    (peer,) = rule["from"]
    callers = [pod for pod in pod_templates(manifests) if selects(peer["podSelector"], pod.labels)]
    assert [str(pod) for pod in callers] == ["Deployment/demo-gantry-gateway"]


@pytest.mark.parametrize(
    ("values", "copies"), [({}, "gateway"), (SIDECAR, "gateway"), (OWN, "torchserve")], ids=["1", "2", "3"]
)
def test_the_pod_that_copies_the_models_reaches_the_object_store(values: dict[str, Any], copies: str) -> None:
    store = {
        "modelStore": {"source": "objectStore", "objectStore": {"url": "s3://a/b"}},
        "networkPolicy": {"egress": {"objectStore": {"to": INTERNET, "ports": [9000]}}},
    }
    manifests = render(merged(values, store))
    for name in ("gateway", "torchserve"):
        if name == copies or values is OWN:
            assert (9000 in _ports(manifests, name)[1]) == (name == copies)
    assert 53 in _ports(manifests, copies)[1]


def test_dns_is_where_the_values_say() -> None:
    dns = {"to": [{"ipBlock": {"cidr": "192.0.2.53/32"}}], "ports": [53, 5353]}
    manifests = render(merged(OWN, {"networkPolicy": {"egress": {"dns": dns}}}))
    for name in ("gateway", "test"):
        first, *_ = one(manifests, "NetworkPolicy", f"demo-gantry-{name}")["spec"]["egress"]
        assert first["to"] == dns["to"]
        assert [(each["port"], each["protocol"]) for each in first["ports"]] == [
            (53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP"),
        ]  # fmt: skip


def test_jwks_is_reached_where_it_is_a_url() -> None:
    jwks = {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [8443]}
    values = {"networkPolicy": {"egress": {"jwks": jwks}}}
    assert not _ports(render(values), "gateway")[1]
    jwt = {"auth": {"insecure": False, "jwt": {"keys": "https://a.example/k", "audience": "gantry"}}}
    assert _ports(render(merged(values, jwt)), "gateway")[1] == {53, 8443}


def test_callers_and_prometheus_come_from_where_the_values_say() -> None:
    grpc = [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]
    metrics = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
    extra = [{"from": [{"ipBlock": {"cidr": "198.51.100.0/24"}}], "ports": [{"port": 50051}]}]
    values = {"networkPolicy": {"ingress": {"grpcFrom": grpc, "metricsFrom": metrics, "extra": extra}}}
    rules = one(render(values), "NetworkPolicy", "demo-gantry-gateway")["spec"]["ingress"]
    release, *others = rules[0]["from"]
    assert others == grpc
    assert release == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "gantry", "app.kubernetes.io/instance": "demo"}}
    }
    assert rules[1]["from"] == metrics
    assert rules[2:] == extra


def test_it_may_be_left_out() -> None:
    assert not of_kind(render({"networkPolicy": {"enabled": False}}), "NetworkPolicy")


def _ports(manifests: list[Manifest], name: str) -> tuple[set[int], set[int]]:
    """Ports that a policy opens for what comes in, and for what goes out."""
    spec = one(manifests, "NetworkPolicy", f"demo-gantry-{name}")["spec"]
    incoming, outgoing = (
        {port["port"] for rule in spec.get(direction, ()) for port in rule["ports"]}
        for direction in ("ingress", "egress")
    )
    return incoming, outgoing
