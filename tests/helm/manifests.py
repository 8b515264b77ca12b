"""What the chart's tests ask of rendered manifests: their pods, containers, labels and references."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.helm.rendering import Manifest

# Where each kind keeps the template of its pods.
_TEMPLATES: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "ScaledJob": ("spec", "jobTargetRef", "template"),
}


@dataclass(frozen=True)
class PodTemplate:
    """The pods of a workload."""

    owner: Manifest
    metadata: dict[str, Any]
    spec: dict[str, Any]

    def __str__(self) -> str:
        return identity(self.owner)

    @property
    def labels(self) -> dict[str, str]:
        """Labels that each pod has."""
        return self.metadata.get("labels", {})

    @property
    def containers(self) -> list[dict[str, Any]]:
        """All containers, those that run before and beside the main ones too."""
        kinds = "initContainers", "containers", "ephemeralContainers"
        return [container for kind in kinds for container in self.spec.get(kind) or ()]

    @property
    def ports(self) -> dict[str | int, str]:
        """Protocols of the ports that containers declare, by number and by name."""
        declared = [port for container in self.containers for port in container.get("ports", ())]
        return {
            key: port.get("protocol", "TCP") for port in declared for key in (port["containerPort"], port.get("name"))
        }


def identity(manifest: Manifest) -> str:
    """How a failed test names a manifest."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def of_kind(manifests: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    """The manifests of these kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def one(manifests: Sequence[Manifest], kind: str, name: str | None = None) -> Manifest:
    """The only manifest of a kind, or of a kind and a name."""
    (found,) = [each for each in of_kind(manifests, kind) if name in (None, each["metadata"]["name"])]
    return found


def component(manifest: Manifest | PodTemplate) -> str:
    """The part of Gantry that a manifest or a pod belongs to."""
    metadata = manifest.metadata if isinstance(manifest, PodTemplate) else manifest["metadata"]
    return metadata["labels"]["app.kubernetes.io/component"]


def pod_templates(manifests: Sequence[Manifest]) -> list[PodTemplate]:
    """The pods of all workloads."""
    found = []
    for manifest in manifests:
        if manifest["kind"] in _TEMPLATES:
            template: Any = manifest
            for step in _TEMPLATES[manifest["kind"]]:
                template = template[step]
            found.append(PodTemplate(manifest, template.get("metadata", {}), template["spec"]))
    return found


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (`matchLabels` and `matchExpressions`) takes something with these labels."""
    return selects_plainly(selector.get("matchLabels", {}), labels) and all(
        _fulfils(labels, **expression) for expression in selector.get("matchExpressions", ())
    )


def selects_plainly(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether the selector of a Service takes something with these labels."""
    return selector.items() <= labels.items()


def _fulfils(labels: Mapping[str, str], key: str, operator: str, values: Sequence[str] = ()) -> bool:
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[operator]


def environment(container: Mapping[str, Any]) -> dict[str, str | None]:
    """The variables that a container is given by name; None for one whose value comes from elsewhere."""
    return {variable["name"]: variable.get("value") for variable in container.get("env", ())}


def references(value: Any) -> Iterator[tuple[str, str]]:
    """Kind and name of every other object that a pod's specification needs to start; optional ones are left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, Mapping) and not inner.get("optional"):
                if key in ("configMap", "configMapRef", "configMapKeyRef"):
                    yield "ConfigMap", inner["name"]
                elif key == "secret":
                    yield "Secret", inner["secretName"] if "secretName" in inner else inner["name"]
                elif key in ("secretRef", "secretKeyRef"):
                    yield "Secret", inner["name"]
                elif key == "persistentVolumeClaim":
                    yield "PersistentVolumeClaim", inner["claimName"]
            if key == "serviceAccountName":
                yield "ServiceAccount", inner
            if key == "imagePullSecrets":
                yield from (("Secret", each["name"]) for each in inner)
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
