"""Find what a TorchServe of the gateway's own needs on this machine: Java, and TorchServe itself."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from services.backends.base import BackendUnavailableError

_LEAST_JAVA = 17


def find_java() -> str:
    """Find Java 17 or later, under JAVA_HOME or else on the path.

    Returns:
        The path of `java`.

    Raises:
        BackendUnavailableError: There is none, or it is older.
    """
    java_home = os.environ.get("JAVA_HOME")
    java = shutil.which(f"{java_home}/bin/java" if java_home else "java")
    if java is None:
        raise BackendUnavailableError(f"TorchServe needs Java {_LEAST_JAVA}: `java` was not found")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', told)
    if version is None or int(version[1]) < _LEAST_JAVA:
        first_line = told.partition("\n")[0]
        raise BackendUnavailableError(f"TorchServe needs Java {_LEAST_JAVA}: {java} is {first_line or 'not Java'}")
    return java


def find_torchserve() -> Path:
    """Find the installed TorchServe.

    Returns:
        The folder that holds its package `ts`.

    Raises:
        BackendUnavailableError: It is not installed.
    """
    found = importlib.util.find_spec("ts")
    if found is None or found.origin is None:
        raise BackendUnavailableError("TorchServe is not installed: pip install 'gantry[torchserve]'")
    return Path(found.origin).resolve().parent.parent
