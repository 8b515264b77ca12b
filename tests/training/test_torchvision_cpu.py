"""torchvision's import beside whatever build of torch is installed."""

import subprocess
import sys


def test_torchvision_imports_after_it() -> None:
    """In a process of its own, since an import is only tried once."""
    code = "import training.torchvision_cpu; from torchvision import datasets, transforms, utils"
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
