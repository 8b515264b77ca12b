"""Judges manifests by the schemas of Kubernetes and of custom resources; fields that these do not know are refused."""

import json
import os
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils

from tests.helm.manifests import identity
from tests.helm.rendering import Manifest

# The one custom group whose name looks as if it were built in.
_GATEWAY_API = "gateway.networking.k8s.io"


def is_custom(manifest: Manifest) -> bool:
    """Whether a manifest is of a kind that an operator brings."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return group == _GATEWAY_API or ("." in group and not group.endswith(".k8s.io"))


def crd_folder() -> Path | None:
    """Where the schemas of custom resources are, if anywhere."""
    folder = Path(os.environ.get("GANTRY_DATA_DIR", ""), "crds")
    return folder if folder.is_dir() else None


def objection(manifest: Manifest, kube_version: str) -> str | None:
    """What the schemas have against a manifest; an unknown kind is an objection too.

    Custom resources need `crd_folder`.
    """
    return _objection(json.dumps(manifest), kube_version)


@cache
def _objection(text: str, kube_version: str) -> str | None:
    """As `objection`; the files of values have many a manifest in common."""
    manifest = json.loads(text)
    try:
        if is_custom(manifest):
            _crd_validator(manifest["apiVersion"], manifest["kind"]).validate(manifest)
        else:
            kubernetes_validate.validate(manifest, kube_version, strict=True)
    except jsonschema.ValidationError as error:
        return f"{identity(manifest)}: {'.'.join(map(str, error.absolute_path))}: {error.message}"
    except (FileNotFoundError, utils.SchemaNotFoundError):
        return f"{identity(manifest)}: no schema of {manifest['apiVersion']} for Kubernetes {kube_version}"
    return None


# It reads the same megabytes for every manifest, which takes longer than to judge by them.
utils.schema_contents = cache(utils.schema_contents)


@cache
def _crd_validator(api_version: str, kind: str) -> jsonschema.Draft7Validator:
    folder = crd_folder()
    assert folder is not None, "GANTRY_DATA_DIR has no crds"
    group, _, version = api_version.rpartition("/")
    return jsonschema.Draft7Validator(json.loads((folder / group / f"{kind.lower()}_{version}.json").read_text()))
