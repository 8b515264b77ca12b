"""Archives are written reproducibly, complete, and without a trace of the machine that wrote them."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from gantry.v1 import models_pb2
from services.worker.archive import open_archive
from services.worker.graph import load_graph
from tests.archives import (
    CLASS_NAMES,
    LATENT_SIZE,
    MULTIPLE,
    TinyGenerator,
    TinyTranslator,
    tiny_attribute_card,
    tiny_card,
    tiny_code_card,
    tiny_translation_card,
    write_tiny_archive,
    write_tiny_code_archive,
    write_tiny_translation_archive,
)
from training.archive import package
from training.archive.export import export_generator, export_translator
from training.archive.package import (
    LATENT_EXECUTION,
    TRANSLATION_EXECUTION,
    ArchivingError,
    git_commit,
    write_archive,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def graph() -> bytes:
    return export_generator(TinyGenerator(channels=1, seed=0), LATENT_SIZE, len(CLASS_NAMES))


@pytest.fixture(scope="module")
def mar(graph: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "tiny.mar"
    write_archive(path, tiny_card(), {"model.pt2": graph})
    return path


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_serving_side_opens_what_was_written(mar: Path, graph: bytes) -> None:
    opened = open_archive(mar)
    assert opened.graphs == {"model.pt2": graph}
    assert [known.name for known in opened.card.classes] == list(CLASS_NAMES)
    assert opened.card.execution == LATENT_EXECUTION
    assert opened.card.library_versions["torch"] == torch.__version__


def test_the_digest_is_that_of_the_card(tmp_path: Path, graph: bytes) -> None:
    path = tmp_path / "tiny.mar"
    digest = write_archive(path, tiny_card(), {"model.pt2": graph})
    assert digest == hashlib.sha256(members_of(path)["card.json"]).hexdigest() == open_archive(path).digest


def test_the_card_lists_every_other_member(mar: Path) -> None:
    members = members_of(mar)
    card = json.loads(members.pop("card.json"))
    assert card["member_sha256"] == {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}


def test_the_worker_is_packed_as_it_stands(mar: Path) -> None:
    members = members_of(mar)
    worker = ROOT / "services" / "worker"
    packed = {path.name: path.read_bytes() for path in worker.glob("*.py")}
    assert members["handler.py"] == packed.pop("handler.py")
    assert {name: members[f"services/worker/{name}"] for name in packed} == packed
    assert {"services/__init__.py", "gantry/v1/worker_pb2.py", "model-config.yaml"} <= set(members)


def test_the_manifest_names_what_torchserve_loads(mar: Path) -> None:
    members = members_of(mar)
    manifest = json.loads(members["MAR-INF/MANIFEST.json"])
    model = manifest["model"]
    assert manifest["runtime"] == "python"
    assert (model["modelName"], model["modelVersion"]) == ("tiny", "1.0.0")
    assert {model["serializedFile"], model["handler"], model["configFile"]} <= set(members)


@pytest.mark.parametrize("card", [tiny_card(), tiny_code_card(), tiny_attribute_card()], ids=lambda card: card.name)
def test_graphs_that_a_card_does_not_list_take_all_that_it_describes(
    card: models_pb2.ModelCard, tmp_path: Path
) -> None:
    expected = list(card.graphs)
    card.ClearField("graphs")
    write_archive(tmp_path / "x.mar", card, {"model.pt2": b""})
    assert list(open_archive(tmp_path / "x.mar").card.graphs) == expected


@pytest.mark.parametrize("members", [("a_to_b.pt2",), ("b_to_a.pt2",), ("a_to_b.pt2", "b_to_a.pt2")])
def test_graphs_of_a_translator_go_the_ways_that_their_members_name(members: tuple[str, ...], tmp_path: Path) -> None:
    card = tiny_translation_card()
    expected = [graph for graph in card.graphs if graph.member in members]
    card.ClearField("graphs")
    write_archive(tmp_path / "x.mar", card, dict.fromkeys(members, b""))
    assert list(open_archive(tmp_path / "x.mar").card.graphs) == expected


def test_a_graph_of_latents_alone_has_one_argument() -> None:
    graph = export_generator(TinyGenerator(channels=1, seed=0, condition_size=0), LATENT_SIZE, 0)
    assert load_graph(graph)(torch.zeros(3, LATENT_SIZE)).shape == (3, 1, 8, 6)


def test_a_translation_model_says_how_it_runs(translation_mar: Path) -> None:
    members = members_of(translation_mar)
    assert open_archive(translation_mar).card.execution == TRANSLATION_EXECUTION
    assert json.loads(members["MAR-INF/MANIFEST.json"])["model"]["serializedFile"] in members
    # Compiling takes a minute or more, and a large picture many seconds.
    assert b"startupTimeout: 600\n" in members["model-config.yaml"]
    assert b"responseTimeout: 300\n" in members["model-config.yaml"]


@pytest.fixture(scope="module")
def translation_mar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_translation_archive(tmp_path_factory.mktemp("store"))


def test_the_same_inputs_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    for write in (write_tiny_archive, write_tiny_code_archive, write_tiny_translation_archive):
        write(here)
    script = (
        "from pathlib import Path; from tests.archives import *; "
        f"[write(Path({str(there)!r})) for write in "
        "(write_tiny_translation_archive, write_tiny_code_archive, write_tiny_archive)]"
    )
    search = os.pathsep.join([str(ROOT), str(ROOT / "protos" / "gen")])
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": search, "PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
    )
    names = sorted(path.name for path in here.iterdir())
    assert len(names) == 3
    for name in names:
        assert (here / name).read_bytes() == (there / name).read_bytes(), name


def test_other_weights_give_another_digest(tmp_path: Path, mar: Path) -> None:
    write_tiny_archive(tmp_path, seed=1)
    assert open_archive(tmp_path / "tiny-1.0.0.mar").digest != open_archive(mar).digest


@pytest.mark.parametrize("kind", ["mar", "translation_mar"])
def test_an_archive_tells_nothing_of_the_machine(kind: str, request: pytest.FixtureRequest) -> None:
    members = members_of(request.getfixturevalue(kind))
    graphs = [name for name in members if name.endswith(".pt2")]
    assert graphs
    for graph in graphs:
        with zipfile.ZipFile(io.BytesIO(members[graph])) as program:
            members |= {f"{graph}/{name}": program.read(name) for name in program.namelist()}
    for trace in (str(ROOT).encode(), str(Path.home()).encode(), sys.prefix.encode(), b"site-packages"):
        assert [name for name, content in members.items() if trace in content] == []


@pytest.fixture(scope="module")
def translator() -> bytes:
    return export_translator(TinyTranslator(seed=0), MULTIPLE)


@pytest.mark.parametrize("program", ["graph", "translator"])
def test_a_program_holds_nothing_pickled(program: str, request: pytest.FixtureRequest) -> None:
    with zipfile.ZipFile(io.BytesIO(request.getfixturevalue(program))) as entries:
        contents = {name.partition("/")[2]: entries.read(name) for name in entries.namelist()}
    assert contents["data/sample_inputs/model.pt"] == b""
    assert not any(b'"use_pickle": true' in content for content in contents.values())


def test_a_translator_is_exported_without_what_does_nothing(translator: bytes) -> None:
    nodes = torch.export.load(io.BytesIO(translator)).graph.nodes
    targets = [str(node.target) for node in nodes if node.op == "call_function"]
    assert "aten.convolution.default" in targets
    assert not any("assert" in target or "_to_copy" in target for target in targets)


@pytest.mark.parametrize("multiple", [1, 24, 256])
def test_a_translator_takes_every_size_from_the_least_on(multiple: int) -> None:
    module = TinyTranslator(seed=0).eval() if multiple % 4 == 0 else torch.nn.Conv2d(3, 3, 3, padding=1)
    graph = torch.export.load(io.BytesIO(export_translator(module, multiple))).module()
    least = max(multiple, 16)
    for height, width in ((least, least), (least, 2 * least), (2 * least, 2 * least)):
        assert graph(torch.zeros(1, 3, height, width)).shape == (1, 3, height, width)


def test_writing_replaces_in_one_step(tmp_path: Path, graph: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.mar"
    path.write_bytes(b"the former archive")

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", fail)
        with pytest.raises(ArchivingError, match=f"^--out {tmp_path}: cannot be written: "):
            write_archive(path, tiny_card(), {"model.pt2": graph})
    assert path.read_bytes() == b"the former archive"
    write_archive(path, tiny_card(), {"model.pt2": graph})
    assert open_archive(path).card.name == "tiny"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArchivingError, match=r"^--out .*file: cannot be written: "):
        write_archive(tmp_path / "file" / "x.mar", tiny_card(), {"model.pt2": b""})


def test_the_commit_is_that_of_the_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(package, "_SOURCE_ROOT", tmp_path)
    # Else git could find another repository, one above or that of the hook it runs in, and take its user's settings.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    assert git_commit() == "unknown"
    git("init")
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "code").write_text("1")
    git("add", "training")
    git("commit", "-m", "first")
    clean = git_commit()
    assert len(clean) == 40
    (tmp_path / "README").write_text("no code")
    assert git_commit() == clean
    (tmp_path / "training" / "code").write_text("2")
    assert git_commit() == f"{clean}-dirty"
