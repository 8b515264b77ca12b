"""What may import what: the rules on which the parts can be installed and trusted apart from each other."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Parts that are installed without torch.
TORCHLESS = [folder for folder in ("gateway", "client", "batch") if any((ROOT / "services" / folder).glob("*.py"))]
# Fails on the first import of torch, by whatever way.
_WITHOUT_TORCH = """
import importlib, sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "training"}:
            raise AssertionError(name + " was imported")
sys.meta_path.insert(0, NoTorch())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at its top or within a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def importers(folder: str, *forbidden: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(folder)
        for name in sorted(imports(path))
        if any(name == module or name.startswith(module + ".") for module in forbidden)
    ]


@pytest.mark.parametrize("folder", TORCHLESS)
def test_a_part_imports_without_torch(folder: str) -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in sources(f"services/{folder}")]
    modules = [name.removesuffix(".__init__") for name in modules]
    done = subprocess.run([sys.executable, "-c", _WITHOUT_TORCH, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_hook_forbids_torch() -> None:
    """Else the test above would prove nothing."""
    command = [sys.executable, "-c", _WITHOUT_TORCH, "services.worker.runner"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "AssertionError: torch was imported" in done.stderr


def test_serving_and_training_do_not_import_each_other() -> None:
    assert sources("services")
    assert sources("training")
    assert importers("services", "training") == []
    assert importers("training", "services") == []


def test_the_worker_imports_nothing_that_an_archive_does_not_hold() -> None:
    allowed = {"services.worker", "gantry.v1"}
    for path in sources("services/worker"):
        for name in imports(path):
            if name.partition(".")[0] in {"services", "gantry", "torchserve", "tests", "benchmarks"}:
                assert any(name == module or name.startswith(module + ".") for module in allowed), (path, name)


def test_nothing_that_serves_unpickles() -> None:
    assert importers("services", "pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal") == []
    for path in sources("services"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"torch.load", "torch.jit.load"}:
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords.get("weights_only") == "True", f"{path}: {ast.unparse(node)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec"}, f"{path}: {ast.unparse(node)}"


@pytest.mark.parametrize("folder", ["services", "training"])
def test_every_module_says_why_it_exists(folder: str) -> None:
    assert [str(path) for path in sources(folder) if not ast.get_docstring(ast.parse(path.read_text()))] == []
