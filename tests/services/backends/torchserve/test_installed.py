"""What TorchServe needs is found, or said to be missing."""

from pathlib import Path

import pytest

from services.backends.base import BackendUnavailableError
from services.backends.torchserve.installed import find_java


def install_java(folder: Path, version_line: str) -> None:
    """Put a `java` into the folder that tells this version."""
    java = folder / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{version_line}' >&2\n")
    java.chmod(0o755)


@pytest.fixture
def java_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    return tmp_path


def test_missing_java_is_told(java_home: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="TorchServe needs Java 17: `java` was not found"):
        find_java()


@pytest.mark.parametrize("line", ['openjdk version "11.0.22" 2024-01-16', 'java version "1.8.0_401"', "not a java"])
def test_old_java_is_told_with_its_version(java_home: Path, line: str) -> None:
    install_java(java_home, line)

    with pytest.raises(BackendUnavailableError) as raised:
        find_java()

    assert str(raised.value) == f"TorchServe needs Java 17: {java_home}/bin/java is {line}"


@pytest.mark.parametrize("line", ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "21" 2023-09-19'])
def test_java_17_and_later_will_do(java_home: Path, line: str) -> None:
    install_java(java_home, line)

    assert find_java() == f"{java_home}/bin/java"
