"""values.schema.json is strict and complete: no typo in a value goes unnoticed, and no value is without a schema."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from helm_python.errors import HelmRenderError, HelmValuesError

from tests.helm.rendering import CHART, CI_VALUES, load_values, merged, render

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = load_values(CHART / "values.yaml")
# Where anything may stand, and why.
LOOSE = {
    "/properties/global": "Helm gives it to every chart.",
    "/definitions/kubernetesObject": "Kubernetes defines it, and its API server checks it.",
    "/definitions/named/items": "Volumes, as Kubernetes defines them.",
    "/definitions/containers/items": "Containers, as Kubernetes defines them.",
    "/properties/gateway/properties/extraVolumeMounts/items": "Mounts, as Kubernetes defines them.",
    "/properties/torchserve/properties/extraVolumeMounts/items": "Mounts, as Kubernetes defines them.",
}
# Values with few defaults, as the gateway and Kubernetes have their own.
WITHOUT_DEFAULTS = {"/gateway/settings", "/podSecurityContext", "/containerSecurityContext"}


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of an object, with where it stands."""
    if isinstance(schema, dict):
        if schema.get("type") == "object" or "properties" in schema:
            yield path, schema
        for key, inner in schema.items():
            yield from objects(inner, f"{path}/{key}")
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from objects(inner, f"{path}/{index}")


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        _, _, name = schema["$ref"].rpartition("/")
        return resolved(SCHEMA["definitions"][name])
    return schema


def undescribed(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Values that the schema does not know."""
    schema = resolved(schema)
    for key, value in values.items():
        described = schema.get("properties", {}).get(key)
        if described is None:
            if schema.get("additionalProperties") is False:
                yield f"{path}/{key}"
        elif isinstance(value, dict):
            yield from undescribed(value, described, f"{path}/{key}")


def without_default(schema: dict[str, Any], values: Any, path: str = "") -> Iterator[str]:
    """Values that the schema takes in a place where values.yaml lists those that there are, but not this."""
    schema = resolved(schema)
    if not isinstance(values, dict) or path in WITHOUT_DEFAULTS:
        return
    for key, inner in schema.get("properties", {}).items():
        if key not in values:
            yield f"{path}/{key}"
        else:
            yield from without_default(inner, values[key], f"{path}/{key}")


def test_every_object_is_closed_or_says_what_its_values_are() -> None:
    loose = {path for path, schema in objects(SCHEMA) if schema.get("additionalProperties") in (None, True)}
    assert loose == LOOSE.keys()


def test_every_value_is_described() -> None:
    assert list(undescribed(DEFAULTS, SCHEMA)) == []


def test_every_value_that_is_taken_is_listed() -> None:
    """What only a job of its own can say has no default."""
    job = {f"/batch/defaults/{key}" for key in ("command", "model", "inputs", "out")}
    assert set(without_default(SCHEMA, DEFAULTS)) == job | {"/global"}


def closed(schema: dict[str, Any], values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values have a map or a list of maps that takes only keys which the schema knows."""
    schema = resolved(schema)
    known = [schema, *(resolved(each) for each in schema.get("allOf", ()))]
    if isinstance(values, dict):
        if any(each.get("additionalProperties") is False for each in known):
            yield path
        for key, inner in values.items():
            for each in known:
                if described := each.get("properties", {}).get(key, each.get("additionalProperties")):
                    yield from closed(described, inner, (*path, key))
    elif isinstance(values, list) and "items" in schema:
        for index, inner in enumerate(values):
            yield from closed(schema["items"], inner, (*path, index))


def with_typo(values: Any, path: tuple[Any, ...]) -> Any:
    """A copy of values with one more key, at the end of a path."""
    if not path:
        return {**values, "nmae": "typo"}
    copied: Any = dict(values) if isinstance(values, dict) else list(values)
    copied[path[0]] = with_typo(values[path[0]], path[1:])
    return copied


@pytest.mark.parametrize("path", [CHART / "values.yaml", *CI_VALUES], ids=lambda path: path.name)
def test_a_typo_is_refused_at_every_depth(path: Any) -> None:
    values = load_values(path)
    places = list(closed(SCHEMA, values))
    assert () in places
    for place in places:
        with pytest.raises(HelmValuesError, match="'nmae' not allowed"):
            render(with_typo(values, place))


@pytest.mark.parametrize("path", CI_VALUES, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_defaults_said_again_change_nothing(path: Any) -> None:
    """As when somebody begins with a copy of values.yaml."""
    given = load_values(path)
    try:
        assert render(merged(DEFAULTS, given)) == render(given)
    except HelmRenderError:
        pytest.fail(f"{path.name} is refused together with the defaults")
