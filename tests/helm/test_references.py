"""What manifests say of each other is true: selectors, names, ports, mounts, and the gateway's settings."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from services.gateway.settings import Settings
from tests.helm.conftest import Rendering
from tests.helm.manifests import (
    PodTemplate,
    component,
    environment,
    identity,
    of_kind,
    one,
    references,
    selects,
    selects_plainly,
)
from tests.helm.rendering import Manifest

ROOT = Path(__file__).resolve().parents[2]
# Kinds whose pods run until they are told to stop, and that a Service may send calls to.
SERVING = "Deployment", "StatefulSet", "DaemonSet"
MANAGEMENT_PORTS = {7071, 8080, 8081}


def texts(value: Any) -> Iterator[str]:
    """Every text in values."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from texts(inner)


def named(manifests: list[Manifest]) -> set[tuple[str, str]]:
    """Kind and name of all that exists once a release is installed."""
    made_by_operators = {("Secret", each["spec"]["secretName"]) for each in of_kind(manifests, "Certificate")}
    return {(each["kind"], each["metadata"]["name"]) for each in manifests} | made_by_operators


def probes(container: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        yield container.get(name, {})
    yield from container.get("lifecycle", {}).values()


def test_every_selector_takes_its_own_pods_and_no_others(rendering: Rendering) -> None:
    workloads = [pod for pod in rendering.pods if pod.owner["kind"] in SERVING]
    assert workloads
    for workload in workloads:
        selector = workload.owner["spec"]["selector"]
        assert [pod for pod in rendering.pods if selects(selector, pod.labels)] == [workload]


def test_every_service_sends_to_one_workload_and_to_ports_that_it_has(rendering: Rendering) -> None:
    for service in of_kind(rendering.manifests, "Service"):
        (target,) = [pod for pod in rendering.pods if selects_plainly(service["spec"]["selector"], pod.labels)]
        assert target.owner["kind"] in SERVING
        for port in service["spec"]["ports"]:
            assert target.ports[port["targetPort"]] == port.get("protocol", "TCP"), identity(service)


def test_the_management_api_is_reached_from_its_pod_only(rendering: Rendering) -> None:
    for pod in rendering.pods:
        assert not MANAGEMENT_PORTS & pod.ports.keys(), pod
    for service in of_kind(rendering.manifests, "Service"):
        for port in service["spec"]["ports"]:
            assert not MANAGEMENT_PORTS & {port["port"], port["targetPort"]}, identity(service)
    for policy in of_kind(rendering.manifests, "NetworkPolicy"):
        allowed = {port["port"] for rule in policy["spec"].get("ingress", ()) for port in rule.get("ports", ())}
        assert not MANAGEMENT_PORTS & allowed, identity(policy)


def test_every_probe_asks_a_port_of_its_container(rendering: Rendering) -> None:
    for pod in rendering.pods:
        for container in pod.containers:
            declared = {key for port in container.get("ports", ()) for key in (port["containerPort"], port.get("name"))}
            for probe in probes(container):
                for kind in probe.keys() & {"grpc", "httpGet", "tcpSocket"}:
                    assert probe[kind]["port"] in declared, (pod, container["name"], kind)


def test_what_serves_is_probed(rendering: Rendering) -> None:
    for pod in rendering.pods:
        if pod.owner["kind"] in SERVING:
            for container in rendering.own(pod.spec["containers"]):
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), (pod, container["name"])


def test_every_name_that_a_pod_needs_is_rendered_or_given(rendering: Rendering) -> None:
    exists, given = named(rendering.manifests), set(texts(rendering.values))
    for pod in rendering.pods:
        missing = [each for each in references(pod.spec) if each not in exists and each[1] not in given]
        assert missing == [], pod


def test_every_mount_has_a_volume_and_every_volume_a_mount(rendering: Rendering) -> None:
    for pod in rendering.pods:
        volumes = [volume["name"] for volume in pod.spec["volumes"]]
        assert len(volumes) == len(set(volumes)), pod
        mounted = {mount["name"] for container in pod.containers for mount in container.get("volumeMounts", ())}
        assert mounted == set(volumes), pod
        for container in pod.containers:
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", ())]
            assert len(paths) == len(set(paths)), (pod, container["name"])


def test_secrets_are_mounted_as_folders(rendering: Rendering) -> None:
    """Kubernetes never renews a file that is mounted by itself."""
    for pod in rendering.pods:
        renewed = {volume["name"] for volume in pod.spec["volumes"] if volume.keys() & {"secret", "configMap"}}
        for container in pod.containers:
            for mount in container.get("volumeMounts", ()):
                assert mount["name"] not in renewed or "subPath" not in mount, (pod, mount)


def test_keys_that_pods_take_are_in_what_is_rendered(rendering: Rendering) -> None:
    made = {
        (each["kind"], each["metadata"]["name"]): each.get("data", {}).keys() | each.get("stringData", {}).keys()
        for each in of_kind(rendering.manifests, "Secret", "ConfigMap")
    }
    for pod in rendering.pods:
        for volume in pod.spec["volumes"]:
            for kind, source, name in (("Secret", "secret", "secretName"), ("ConfigMap", "configMap", "name")):
                wanted = volume.get(source, {})
                if (keys := made.get((kind, wanted.get(name)))) is not None:
                    assert {item["key"] for item in wanted.get("items", ())} <= keys, (pod, volume["name"])


def test_what_scales_and_what_protects_speak_of_what_exists(rendering: Rendering) -> None:
    manifests, exists = rendering.manifests, named(rendering.manifests)
    for scaler in of_kind(manifests, "HorizontalPodAutoscaler", "ScaledObject"):
        target = scaler["spec"]["scaleTargetRef"]
        kind = target.get("kind", "Deployment")
        assert (kind, target["name"]) in exists, identity(scaler)
        assert "replicas" not in one(manifests, kind, target["name"])["spec"], "an upgrade would undo the scaling"
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        (taken,) = [pod for pod in rendering.pods if selects(budget["spec"]["selector"], pod.labels)]
        assert taken.owner["kind"] in SERVING
    for each in rendering.pods:
        for spread in each.spec.get("topologySpreadConstraints", ()):
            assert selects(spread["labelSelector"], each.labels), each


def test_monitors_look_at_ports_that_exist(rendering: Rendering) -> None:
    for monitor in of_kind(rendering.manifests, "PodMonitor"):
        taken = [pod for pod in rendering.pods if selects(monitor["spec"]["selector"], pod.labels)]
        assert taken, identity(monitor)
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert all(endpoint["port"] in pod.ports for pod in taken), identity(monitor)
    for monitor in of_kind(rendering.manifests, "ServiceMonitor"):
        services = of_kind(rendering.manifests, "Service")
        taken = [each for each in services if selects(monitor["spec"]["selector"], each["metadata"]["labels"])]
        assert taken, identity(monitor)
        for endpoint in monitor["spec"]["endpoints"]:
            for service in taken:
                assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}, identity(monitor)


def test_routes_lead_to_services_that_exist(rendering: Rendering) -> None:
    for route in of_kind(rendering.manifests, "GRPCRoute"):
        for rule in route["spec"]["rules"]:
            for backend in rule["backendRefs"]:
                service = one(rendering.manifests, "Service", backend["name"])
                assert backend["port"] in {port["port"] for port in service["spec"]["ports"]}


def test_clients_call_the_gateway_where_it_is(rendering: Rendering) -> None:
    for pod in rendering.pods:
        for container in pod.containers:
            if address := environment(container).get("GANTRY_ADDRESS"):
                host, _, port = address.partition(":")
                service = one(rendering.manifests, "Service", host.partition(".")[0])
                assert host.removeprefix(service["metadata"]["name"]) == ".apps.svc", pod
                assert int(port) in {each["port"] for each in service["spec"]["ports"]}, pod


def _known_variables() -> set[str]:
    """All GANTRY_* variables that anything of the images reads."""
    sources = [*ROOT.glob("services/**/*"), *ROOT.glob("training/**/*.py"), *ROOT.glob("helm/gantry/files/**/*.py")]
    read = [path.read_text(errors="ignore") for path in sources if path.suffix in {".py", ".properties", ".sh", ".xml"}]
    return set(re.findall(r"GANTRY_[A-Z0-9_]+", "\n".join([*read, (ROOT / "Dockerfile").read_text()])))


def test_every_variable_is_one_that_something_reads(rendering: Rendering) -> None:
    known = _known_variables() | {f"GANTRY_{name.upper()}" for name in Settings.model_fields}
    for pod in rendering.pods:
        for container in pod.containers:
            own = {name for name in environment(container) if name.startswith("GANTRY_")}
            assert own <= known, (pod, container["name"])


def gateway(pods: list[PodTemplate]) -> dict[str, Any]:
    """The gateway's container."""
    (found,) = [
        container
        for pod in pods
        if component(pod) == "gateway"
        for container in pod.spec["containers"]
        if container["name"] == "gateway"
    ]
    return found


def test_the_gateway_takes_its_environment(rendering: Rendering, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {name: value for name, value in environment(gateway(rendering.pods)).items() if name[:7] == "GANTRY_"}
    fields = {name.removeprefix("GANTRY_").lower() for name in variables}
    assert fields <= Settings.model_fields.keys()
    for name, value in variables.items():
        # What the cluster fills in is a number.
        monkeypatch.setenv(name, "2" if value is None else value)
    settings = Settings()
    assert settings.metrics_host != "127.0.0.1", "nobody could probe it"
    assert settings.insecure or settings.tls_certificate or settings.api_keys or settings.jwt_keys
    ports = {port["name"]: port["containerPort"] for port in gateway(rendering.pods)["ports"]}
    assert (settings.port, settings.metrics_port) == (ports["grpc"], ports["metrics"])


def test_a_pod_may_take_as_long_to_stop_as_the_gateway_drains(rendering: Rendering) -> None:
    (pod,) = [pod for pod in rendering.pods if component(pod) == "gateway"]
    container = gateway(rendering.pods)
    drain = float(environment(container)["GANTRY_DRAIN_SECONDS"] or 0)
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod.spec["terminationGracePeriodSeconds"] > drain + pause


def test_files_that_variables_name_are_mounted(rendering: Rendering) -> None:
    for pod in rendering.pods:
        for container in pod.containers:
            mounts = [mount["mountPath"] for mount in container.get("volumeMounts", ())]
            for name, value in environment(container).items():
                if value and value.startswith("/etc/gantry/"):
                    assert any(value.startswith(f"{path}/") for path in mounts), (pod, container["name"], name)
