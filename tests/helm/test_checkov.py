"""checkov finds nothing in rendered manifests but what was looked at and skipped with a reason."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.rendering import CI_VALUES, KUBE_VERSIONS, read_yaml, render

CHECKOV = Path(__file__).resolve().parents[2] / ".venv-checkov" / "bin" / "checkov"
SKIPPED: dict[str, dict[str, str]] = read_yaml(Path(__file__).with_name("checkov.yaml").read_text())[0]

pytestmark = pytest.mark.skipif(not CHECKOV.exists(), reason="no .venv-checkov/bin/checkov")


def failed_checks(folder: Path) -> list[dict[str, Any]]:
    """What checkov objects to in a folder of manifests."""
    command = [CHECKOV, "--directory", folder, "--framework", "kubernetes", "--skip-download", "--compact", "--quiet"]
    done = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, done.stderr
    assert report["summary"]["passed"] > 0, "nothing was looked at"
    return report["results"]["failed_checks"]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What checkov objects to in what all files of values give; in one go, as it takes seconds to start."""
    folder = tmp_path_factory.mktemp("manifests")
    for path in CI_VALUES:
        manifests = render(path, kube_version=KUBE_VERSIONS[-1])
        for manifest in manifests:
            manifest["metadata"]["namespace"] = "apps"  # as Helm does when it installs
        (folder / path.name).write_text(yaml.safe_dump_all(manifests))
    return failed_checks(folder)


def test_checkov_finds_nothing_else(failed: list[dict[str, Any]]) -> None:
    found = {
        f"{each['check_id']} {each['check_name']}: {each['file_path']} {each['resource']}"
        for each in failed
        if each["check_id"] not in SKIPPED or not re.fullmatch(SKIPPED[each["check_id"]]["objects"], each["resource"])
    }
    assert found == set()


def test_every_skip_is_needed_and_means_the_check_that_it_names(failed: list[dict[str, Any]]) -> None:
    assert {each["check_id"]: each["check_name"] for each in failed} == {
        name: skipped["check"] for name, skipped in SKIPPED.items()
    }
    assert all(skipped["reason"] for skipped in SKIPPED.values())


def test_checkov_would_find_a_fault(tmp_path: Path) -> None:
    (manifest,) = [each for each in render({}) if each["kind"] == "Deployment"]
    manifest["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"] = True
    (tmp_path / "faulty.yaml").write_text(yaml.safe_dump(manifest))
    assert "CKV_K8S_16" in {each["check_id"] for each in failed_checks(tmp_path)}
