"""Renders and lints the chart with Helm 4 as a library: no cluster, no network, no process."""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import _native
from helm_python.chart import Chart, lint

Manifest = dict[str, Any]
Values = Path | Mapping[str, Any]

CHART = Path(__file__).resolve().parents[2] / "helm" / "gantry"
CI_VALUES = sorted(CHART.glob("ci/*-values.yaml"))
KUBE_VERSIONS = "1.30.0", "1.33.0", "1.37.0"
# What a cluster has whose operators the chart can use.
API_VERSIONS = (
    "cert-manager.io/v1",
    "gateway.networking.k8s.io/v1",
    "keda.sh/v1alpha1",
    "monitoring.coreos.com/v1",
)
_WARNING = 2


class _KubernetesLoader(yaml.CSafeLoader):
    """Reads YAML as the API server does: a key given twice is an error, and a date is a text."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise yaml.constructor.ConstructorError(None, None, f"given twice: {', '.join(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)


_KubernetesLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def load_values(values: Values) -> dict[str, Any]:
    """Values of a file, or those given."""
    return (read_yaml(values.read_text())[0] or {}) if isinstance(values, Path) else dict(values)


def read_yaml(text: str) -> list[Any]:
    """All documents of a YAML text, empty ones too.

    Raises:
        yaml.YAMLError: It is not YAML, or gives a key twice.
    """
    return list(yaml.load_all(text, Loader=_KubernetesLoader)) or [None]


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Helm merges them: maps by their keys, and of all else the second."""
    both = dict(first)
    for key, value in second.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both


def render_texts(
    values: Values,
    *,
    name: str = "demo",
    namespace: str = "apps",
    kube_version: str = "1.33.0",
    api_versions: Iterable[str] = API_VERSIONS,
    chart: Path = CHART,
) -> dict[str, str]:
    """The text that every template of the chart gives, NOTES.txt too, by its path within the chart.

    The published interface of helm-python-sdk cannot say for which Kubernetes to render; the library below it can.

    Raises:
        helm_python.errors.HelmValuesError: The schema refuses the values.
        helm_python.errors.HelmRenderError: A template does.
    """
    options = {"name": name, "namespace": namespace, "kube_version": kube_version, "api_versions": list(api_versions)}
    given = json.dumps(load_values(values))
    texts: dict[str, str] = json.loads(
        _native.call_string("helm_render", _loaded(chart)._raw(), given, json.dumps(options))
    )
    return {path.partition("/")[2]: text for path, text in texts.items()}


def render(values: Values, **options: Any) -> list[Manifest]:
    """The manifests of a release, hooks and tests among them.

    Args:
        values: A file of values, or the values.
        **options: Those of `render_texts`.

    Raises:
        helm_python.errors.HelmValuesError: The schema refuses the values.
        helm_python.errors.HelmRenderError: A template does.
        yaml.YAMLError: A template gave something that is not YAML.
    """
    texts = render_texts(values, **options)
    return [
        document
        for path, text in sorted(texts.items())
        if path.endswith(".yaml")
        for document in read_yaml(text)
        if document
    ]


def notes(values: Values, **options: Any) -> str:
    """What Helm tells after an installation."""
    return render_texts(values, **options)["templates/NOTES.txt"]


def lint_strictly(values: Values, kube_version: str = "1.33.0") -> list[str]:
    """What `helm lint --strict` objects to: warnings and errors, each with the file."""
    report = lint(CHART, load_values(values), strict=True, namespace="apps", kube_version=f"v{kube_version}")
    return [f"{each['path']}: {each['error']}" for each in report["messages"] if each["severity"] >= _WARNING]


@cache
def _loaded(chart: Path) -> Chart:
    return Chart.load(chart)
