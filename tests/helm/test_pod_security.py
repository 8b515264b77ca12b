"""Every pod of the chart is admitted where Pod Security is "restricted", and goes beyond it.

The fields are those of the Pod Security Standards, https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.helm.conftest import Rendering
from tests.helm.manifests import PodTemplate, pod_templates
from tests.helm.rendering import render

# Volumes of OCI images are allowed since the Kubernetes that has them.
VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
}  # fmt: skip
SECCOMP = {"RuntimeDefault", "Localhost"}
APPARMOR = {"RuntimeDefault", "Localhost"}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}  # fmt: skip
GANTRY_UID = 10001


def violations(pod: PodTemplate) -> list[str]:
    """The fields in which a pod is not "restricted"."""
    return _of_the_pod(pod.spec) + [
        f"{container['name']}: {text}"
        for container in pod.containers
        for text in _of_a_container(container, pod.spec.get("securityContext", {}))
    ]


def _of_the_pod(spec: Mapping[str, Any]) -> list[str]:
    security = spec.get("securityContext", {})
    wrong = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    wrong += [
        f"volume {volume['name']}: {kind}"
        for volume in spec.get("volumes", ())
        for kind in volume.keys() - {"name"}
        if kind not in VOLUMES
    ]
    wrong += [f"sysctl {each['name']}" for each in security.get("sysctls", ()) if each["name"] not in SYSCTLS]
    return wrong + _of_a_context(security)


def _of_a_container(container: Mapping[str, Any], pod: Mapping[str, Any]) -> list[str]:
    own = container.get("securityContext", {})
    both = {**pod, **own}
    capabilities = own.get("capabilities", {})
    handlers = [container.get(name, {}) for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    handlers += container.get("lifecycle", {}).values()
    checks = {
        "privileged": not own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities.drop": "ALL" in capabilities.get("drop", ()),
        "capabilities.add": set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"},
        "runAsNonRoot": both.get("runAsNonRoot") is True,
        "runAsUser": both.get("runAsUser") != 0,
        "seccompProfile": both.get("seccompProfile", {}).get("type") in SECCOMP,
        "procMount": own.get("procMount", "Default") == "Default",
        "hostPort": not any(port.get("hostPort") for port in container.get("ports", ())),
        "host of a probe": not any(
            action.get("host") for each in handlers for action in each.values() if isinstance(action, dict)
        ),
    }
    return [name for name, fine in checks.items() if not fine] + _of_a_context(own)


def _of_a_context(security: Mapping[str, Any]) -> list[str]:
    """What may stand in the security context of a pod or of a container, but not with every value."""
    selinux = security.get("seLinuxOptions", {})
    checks = {
        "runAsNonRoot": security.get("runAsNonRoot", True) is True,
        "runAsUser": security.get("runAsUser") != 0,
        "seccompProfile": security.get("seccompProfile", {"type": "RuntimeDefault"}).get("type") in SECCOMP,
        "appArmorProfile": security.get("appArmorProfile", {"type": "RuntimeDefault"}).get("type") in APPARMOR,
        "seLinuxOptions": selinux.get("type", "") in SELINUX_TYPES and not selinux.keys() & {"user", "role"},
        "windowsOptions": not security.get("windowsOptions", {}).get("hostProcess"),
    }
    return [name for name, fine in checks.items() if not fine]


def test_every_pod_is_restricted(every_rendering: Rendering) -> None:
    assert every_rendering.pods
    assert {str(pod): violations(pod) for pod in every_rendering.pods if violations(pod)} == {}


def test_every_container_does_without_more(rendering: Rendering) -> None:
    for pod in rendering.pods:
        assert pod.spec["automountServiceAccountToken"] is False, pod
        assert pod.spec["securityContext"]["runAsUser"] == GANTRY_UID, pod
        assert pod.spec["securityContext"]["runAsGroup"] == GANTRY_UID, pod
        for container in pod.containers:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, (pod, container["name"])


def test_every_container_says_what_it_needs(rendering: Rendering) -> None:
    for pod in rendering.pods:
        for container in pod.containers:
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert {"cpu", "memory"} <= requests.keys(), (pod, container["name"])
            assert "memory" in limits, (pod, container["name"])


def test_every_container_can_write_to_tmp_and_only_to_volumes_of_its_own(rendering: Rendering) -> None:
    for pod in rendering.pods:
        kinds = {volume["name"]: next(iter(volume.keys() - {"name"})) for volume in pod.spec["volumes"]}
        for container in rendering.own(pod.containers):
            mounts = {mount["mountPath"]: kinds[mount["name"]] for mount in container["volumeMounts"]}
            assert mounts["/tmp"] == "emptyDir", (pod, container["name"])


def test_every_image_is_of_one_version(rendering: Rendering) -> None:
    for pod in rendering.pods:
        for container in pod.containers:
            name, _, digest = container["image"].partition("@")
            tag = name.rpartition("/")[2].partition(":")[2]
            assert digest.startswith("sha256:") or (tag and tag != "latest"), (pod, container["image"])


def test_no_service_account_gives_its_token(rendering: Rendering) -> None:
    accounts = [each for each in rendering.manifests if each["kind"] == "ServiceAccount"]
    assert all(account["automountServiceAccountToken"] is False for account in accounts)


BREAKING: dict[str, Callable[[dict[str, Any]], object]] = {
    "hostNetwork": lambda pod: pod.update(hostNetwork=True),
    "hostPID": lambda pod: pod.update(hostPID=True),
    "hostIPC": lambda pod: pod.update(hostIPC=True),
    "volume node: hostPath": lambda pod: pod["volumes"].append({"name": "node", "hostPath": {"path": "/"}}),
    "sysctl kernel.msgmax": lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax"}]),
    "seccompProfile": lambda pod: pod["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "runAsNonRoot": lambda pod: pod["securityContext"].update(runAsNonRoot=False),
    "runAsUser": lambda pod: pod["securityContext"].update(runAsUser=0),
    "seLinuxOptions": lambda pod: pod["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
    "appArmorProfile": lambda pod: pod["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
    "windowsOptions": lambda pod: pod["securityContext"].update(windowsOptions={"hostProcess": True}),
    "gateway: privileged": lambda pod: _first(pod).update(privileged=True),
    "gateway: allowPrivilegeEscalation": lambda pod: _first(pod).pop("allowPrivilegeEscalation"),
    "gateway: capabilities.drop": lambda pod: _first(pod)["capabilities"].update(drop=["CHOWN"]),
    "gateway: capabilities.add": lambda pod: _first(pod)["capabilities"].update(add=["SYS_ADMIN"]),
    "gateway: procMount": lambda pod: _first(pod).update(procMount="Unmasked"),
    "gateway: hostPort": lambda pod: pod["containers"][0]["ports"][0].update(hostPort=80),
    "gateway: host of a probe": lambda pod: pod["containers"][0].update(
        livenessProbe={"httpGet": {"host": "10.0.0.1", "port": 80}}
    ),
}


def _first(pod: dict[str, Any]) -> dict[str, Any]:
    return pod["containers"][0]["securityContext"]


@pytest.mark.parametrize("field", BREAKING)
def test_each_field_is_looked_at(field: str) -> None:
    """Else the tests above would prove nothing."""
    (manifest,) = [copy.deepcopy(each) for each in render({}) if each["kind"] == "Deployment"]
    (pod,) = pod_templates([manifest])
    assert violations(pod) == []
    BREAKING[field](pod.spec)
    assert field in violations(pod)
