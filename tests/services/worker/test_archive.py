"""What is served and what is refused: every refusal names the member or field at fault."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.worker import archive
from services.worker.archive import ArchiveError, card_digest, open_archive, parse_card

Members = dict[str, bytes]
STORE = Path(__file__).resolve().parent.parent.parent.parent / "model_store"


@pytest.fixture(scope="session")
def members(tiny_mar: Path) -> Members:
    with zipfile.ZipFile(tiny_mar) as mar:
        return {name: mar.read(name) for name in mar.namelist()}


def write(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as mar:
        for name, content in members.items():
            mar.writestr(name, content)
    return path


def with_card(members: Members, change: Callable[[dict[str, Any]], None]) -> Members:
    card = json.loads(members["card.json"])
    change(card)
    return {**members, "card.json": json.dumps(card).encode()}


def test_an_archive_opens(tiny_mar: Path, members: Members) -> None:
    archive = open_archive(tiny_mar)
    assert archive.card.name == "tiny"
    assert archive.graphs == {"model.pt2": members["model.pt2"]}
    assert archive.card_json == members["card.json"]
    assert archive.digest == hashlib.sha256(members["card.json"]).hexdigest() == card_digest(archive.card_json)


def test_the_unpacked_folder_equals_the_file(tiny_mar: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tiny_mar) as mar:
        mar.extractall(tmp_path)
    # TorchServe and Python leave files of their own in the folder.
    (tmp_path / "__pycache__").mkdir()
    assert open_archive(tmp_path) == open_archive(tiny_mar)


def test_a_member_that_would_fill_the_memory_is_not_read(tiny_mar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 100)
    with pytest.raises(ArchiveError, match=r"^card\.json: \d+ bytes, more than 100$"):
        open_archive(tiny_mar)


def test_a_changed_member_is_refused_by_name(members: Members, tmp_path: Path) -> None:
    for name in members:
        if name != "card.json":
            path = write(tmp_path / "x.mar", {**members, name: members[name] + b" "})
            with pytest.raises(ArchiveError, match=f"^{name}: its SHA-256 is not the one in the card"):
                open_archive(path)


def test_a_missing_member_is_refused_by_name(members: Members, tmp_path: Path) -> None:
    for name in members:
        rest = {other: content for other, content in members.items() if other != name}
        with pytest.raises(ArchiveError, match=f"^{name}: missing"):
            open_archive(write(tmp_path / "x.mar", rest))


def test_a_missing_file_of_a_folder_is_refused_by_name(tiny_mar: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tiny_mar) as mar:
        mar.extractall(tmp_path)
    (tmp_path / "handler.py").unlink()
    with pytest.raises(ArchiveError, match=r"^handler\.py: missing"):
        open_archive(tmp_path)


def test_an_unlisted_member_is_refused_by_name(members: Members, tmp_path: Path) -> None:
    path = write(tmp_path / "x.mar", {**members, "sitecustomize.py": b""})
    with pytest.raises(ArchiveError, match=r"^sitecustomize\.py: not listed"):
        open_archive(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_stands_twice_is_refused_by_name(members: Members, tmp_path: Path) -> None:
    path = tmp_path / "x.mar"
    with zipfile.ZipFile(path, "w") as mar:
        for name, content in [("handler.py", b"evil"), *members.items()]:
            mar.writestr(name, content)
    with pytest.raises(ArchiveError, match=r"^handler\.py: .* more than once"):
        open_archive(path)


@pytest.mark.parametrize("escape", ["../secret", "/etc/hostname", "a/../../secret", "nul\0byte"])
def test_a_member_outside_the_archive_is_refused(escape: str, tiny_mar: Path, members: Members, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "folder"
    with zipfile.ZipFile(tiny_mar) as mar:
        mar.extractall(folder)
    digest = hashlib.sha256(b"secret").hexdigest()
    changed = with_card(members, lambda card: card["member_sha256"].update({escape: digest}))
    (folder / "card.json").write_bytes(changed["card.json"])
    for path in (folder, write(tmp_path / "x.mar", changed)):
        with pytest.raises(ArchiveError):
            open_archive(path)


def test_a_graph_that_the_card_does_not_list_is_refused(members: Members, tmp_path: Path) -> None:
    changed = with_card(members, lambda card: card["member_sha256"].pop("model.pt2"))
    with pytest.raises(ArchiveError, match=r"member_sha256: must list model\.pt2"):
        open_archive(write(tmp_path / "x.mar", changed))


def test_what_is_not_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mar"
    for content in (b"", b"not a zip", b"PK\5\6" + bytes(18)):
        path.write_bytes(content)
        with pytest.raises(ArchiveError):
            open_archive(path)
    with pytest.raises(ArchiveError, match="not a readable"):
        open_archive(tmp_path / "absent.mar")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_and_nothing_worse(data: st.DataObject, tiny_mar: Path, tmp_path: Path) -> None:
    content = bytearray(tiny_mar.read_bytes())
    if data.draw(st.booleans(), "truncate"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        # The directory of a zip lies at its end: damage there is the most interesting.
        first = data.draw(st.sampled_from([0, len(content) - 1500]))
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(first, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "damaged.mar"
    path.write_bytes(content)
    try:
        archive = open_archive(path)
    except ArchiveError:
        return
    # Bytes that nothing reads, such as a time stamp, may change.
    assert archive == open_archive(tiny_mar)


def test_a_bad_field_is_refused_by_name(members: Members) -> None:
    card = json.loads(members["card.json"]) | {"version": "1.0"}
    with pytest.raises(ArchiveError, match=r"^card\.json: version: must be a semantic version"):
        parse_card(json.dumps(card).encode())


@pytest.mark.parametrize("sort", ["tiny_mar", "code_mar", "translation_mar"])
def test_an_archive_of_before_graphs_opens_as_one_that_lists_them(
    sort: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    now = request.getfixturevalue(sort)
    with zipfile.ZipFile(now) as mar:
        members = {name: mar.read(name) for name in mar.namelist()}
    path = write(tmp_path / "before.mar", with_card(members, lambda card: card.pop("graphs")))
    before = open_archive(path)
    assert b"graphs" not in before.card_json
    assert before.digest == hashlib.sha256(before.card_json).hexdigest()
    assert (before.card, before.graphs) == (open_archive(now).card, open_archive(now).graphs)


@pytest.mark.parametrize("path", sorted(STORE.glob("*.mar")), ids=lambda path: path.stem)
def test_the_archives_of_this_repository_open(path: Path) -> None:
    with zipfile.ZipFile(path) as mar:
        assert open_archive(path).digest == hashlib.sha256(mar.read("card.json")).hexdigest()


def test_a_translation_model_needs_both_graphs(translation_mar: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(translation_mar) as mar:
        members = {name: mar.read(name) for name in mar.namelist()}
    archive = open_archive(translation_mar)
    assert archive.graphs == {name: members[name] for name in ("a_to_b.pt2", "b_to_a.pt2")}
    changed = with_card(members, lambda card: card["member_sha256"].pop("b_to_a.pt2"))
    with pytest.raises(ArchiveError, match=r"member_sha256: must list b_to_a\.pt2"):
        open_archive(write(tmp_path / "x.mar", changed))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"unknown": 1}', b'{"image": {"width": -1}}', b'{"name": "\\ud800"}'],
)
def test_what_is_not_a_card_is_refused(text: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"^card\.json: "):
        parse_card(text)


def test_a_deeply_nested_card_is_refused() -> None:
    with pytest.raises(ArchiveError, match=r"^card\.json: "):
        parse_card(b'{"image":' * 50_000)
