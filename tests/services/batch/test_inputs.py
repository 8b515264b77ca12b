"""What a user may name as inputs: how pictures in it are called, and what is refused."""

import io
import json
import os
import tarfile
import uuid
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from services.batch.archives import is_archive, open_picture_archive
from services.batch.faults import ItemError, JobError, StorageError
from services.batch.inputs import Input, open_input
from services.batch.naming import Found, unsafe


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def names_of(given: Input) -> dict[str, Found]:
    return {found.name: found for found in given.pictures()}


def contents_of(given: Input) -> dict[str, bytes]:
    return {found.name: given.read(found.locator) for found in given.pictures() if not found.fault}


def test_a_folder_gives_its_pictures_with_their_sub_paths(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "sub/b.PNG", "sub/deep/c.webp", "notes.txt", "sub/d.jpg.part")
    assert contents_of(open_input(str(tmp_path))) == {
        "a.jpg": b"a.jpg",
        "sub/b.PNG": b"sub/b.PNG",
        "sub/deep/c.webp": b"sub/deep/c.webp",
    }
    found = names_of(open_input(f"file://{tmp_path}"))["sub/b.PNG"]
    assert found.input == str(tmp_path / "sub/b.PNG")
    assert found.fingerprint is not None
    assert found.fingerprint.startswith("9:")


def test_links_to_folders_are_not_followed_and_links_to_nothing_fail_alone(tmp_path: Path) -> None:
    write(tmp_path, "in/a.jpg")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone.jpg").symlink_to(tmp_path / "nothing")
    given = open_input(str(tmp_path / "in"))
    found = names_of(given)
    assert set(found) == {"a.jpg", "gone.jpg"}
    with pytest.raises(FileNotFoundError):
        given.read(found["gone.jpg"].locator)


def test_links_that_cannot_be_followed_fail_alone(tmp_path: Path) -> None:
    write(tmp_path, "in/a.jpg")
    (tmp_path / "in/self.jpg").symlink_to("self.jpg")
    (tmp_path / "in/long.jpg").symlink_to("x" * 300)
    for given in (open_input(str(tmp_path / "in")), open_input(str(tmp_path / "in/*.jpg"))):
        found = names_of(given)
        assert set(found) == {"a.jpg", "self.jpg", "long.jpg"}
        for name in ("self.jpg", "long.jpg"):
            with pytest.raises(OSError, match=name):
                given.read(found[name].locator)


def test_a_file_is_called_by_its_name(tmp_path: Path) -> None:
    write(tmp_path, "sub/a.picture")
    assert contents_of(open_input(str(tmp_path / "sub/a.picture"))) == {"a.picture": b"sub/a.picture"}


def test_a_glob_keeps_what_lies_below_its_fixed_part(tmp_path: Path) -> None:
    write(tmp_path, "x/1/a.jpg", "x/2/a.jpg", "x/2/b.txt", "x/a.jpg")
    assert set(names_of(open_input(f"{tmp_path}/x/*/a.*"))) == {"1/a.jpg", "2/a.jpg"}
    assert set(names_of(open_input(f"{tmp_path}/x/**/*.jpg"))) == {"a.jpg", "1/a.jpg", "2/a.jpg"}


def test_a_glob_goes_through_no_links_to_folders_by_itself(tmp_path: Path) -> None:
    write(tmp_path, "x/a.jpg", "x/1/b.jpg", "x/.hidden/c.jpg", "y/d.jpg")
    for name in ("up", "back"):  # Through two of them there would be 2^40 ways.
        (tmp_path / "x" / name).symlink_to("..")
    (tmp_path / "x/y").symlink_to("../y")
    assert set(names_of(open_input(f"{tmp_path}/x/**/*.jpg"))) == {"a.jpg", "1/b.jpg"}
    assert set(names_of(open_input(f"{tmp_path}/x/**"))) == {"a.jpg", "1/b.jpg"}
    assert set(names_of(open_input(f"{tmp_path}/x/*/d.jpg"))) == {"y/d.jpg"}
    assert set(names_of(open_input(f"{tmp_path}/x/.h*/*"))) == {".hidden/c.jpg"}
    with pytest.raises(JobError, match="none: No such file or directory"):
        list(open_input(f"{tmp_path}/none/*.jpg").pictures())


def test_a_name_with_a_glob_s_letters_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, "[a].jpg", "a.jpg")
    assert set(names_of(open_input(f"{tmp_path}/[a].jpg"))) == {"[a].jpg"}


def test_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no such file"):
        open_input(str(tmp_path / "none.jpg"))
    with pytest.raises(JobError, match=r"none\.txt"):
        list(open_input(f"@{tmp_path}/none.txt").pictures())


def test_what_is_there_but_no_file_is_told_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    with pytest.raises(JobError, match=r"fifo\.png: is neither a regular file nor a folder"):
        open_input(str(tmp_path / "fifo.png"))
    (tmp_path / "self.png").symlink_to("self.png")
    with pytest.raises(JobError, match=r"self\.png: Too many levels of symbolic links"):
        open_input(str(tmp_path / "self.png"))


@pytest.mark.parametrize("name", ["fifo.png", "/dev/zero"])
def test_what_is_no_file_but_listed_fails_alone(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "list.txt").write_text(str(tmp_path / name))
    listed = open_input(f"@{tmp_path / 'list.txt'}")
    (found,) = listed.pictures()
    with pytest.raises(ItemError, match="is not a regular file"):
        listed.read(found.locator)


def test_a_name_that_is_not_unicode_fails_alone(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb"):
        pass
    bad = [found for found in open_input(str(tmp_path)).pictures() if found.fault]
    assert [found.name for found in bad] == ["\\xff.jpg"]
    assert "not UTF-8" in str(bad[0].fault)


def test_a_list_keeps_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "in/a.jpg", "in/b", "other/c.jpg")
    monkeypatch.chdir(tmp_path / "in")
    listed = ["a.jpg", "", "./b", f"{tmp_path}/in/a.jpg", "../other/c.jpg", "gone.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    given = open_input(f"@{tmp_path}/list.txt")
    place = str(tmp_path).strip("/")
    found = list(given.pictures())
    assert [one.name for one in found] == ["a.jpg", "b", f"{place}/in/a.jpg", f"{place}/other/c.jpg", "gone.jpg"]
    assert [given.read(one.locator) for one in found[:4]] == [b"in/a.jpg", b"in/b", b"in/a.jpg", b"other/c.jpg"]
    with pytest.raises(FileNotFoundError):
        given.read(found[4].locator)


def test_a_list_may_begin_with_a_byte_order_mark(remote: str, tmp_path: Path) -> None:
    import fsspec

    write(tmp_path, "a.jpg")
    content = f"{tmp_path}/a.jpg\n".encode("utf-8-sig")
    (tmp_path / "list.txt").write_bytes(content)
    filesystem, path = fsspec.core.url_to_fs(remote)
    filesystem.pipe_file(f"{path}/list.txt", content)
    for name in (f"@{tmp_path}/list.txt", f"@{remote}/list.txt"):
        assert [found.input for found in open_input(name).pictures()] == [f"{tmp_path}/a.jpg"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_a_list_of_another_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\n", encoding=encoding)
    with pytest.raises(JobError, match=r"list\.txt.* must be UTF-8"):
        list(open_input(f"@{tmp_path}/list.txt").pictures())


def test_a_list_may_name_outputs(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    lines = [{"input": str(tmp_path / "a.jpg"), "output": "x/y.png"}, {"input": str(tmp_path / "a.jpg")}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [found.output for found in open_input(f"@{tmp_path}/list.jsonl").pictures()] == ["x/y.png", None]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"input": "a.jpg", "output": "../a.png"}', "leads out"),
        ('{"input": "a.jpg", "output": "/a.png"}', "leads out"),
        ('{"input": "a.jpg", "output": ".gantry/job.json"}', "own files"),
        ('{"output": "a.png"}', "must be"),
        ('{"input": "a.jpg", "name": "b"}', "must be"),
        ("{input}", "not JSON"),
    ],
)
def test_a_line_at_fault_is_told_by_its_number(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "list").write_text(f"a.jpg\n{line}\n")
    with pytest.raises(JobError, match=f"line 2.*{told}"):
        list(open_input(f"@{tmp_path}/list").pictures())


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    mode = {".tar": "w", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}[path.suffix]
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members:
            packed.writestr(name, data)


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> str:
    (write_zip if path.suffix == ".zip" else write_tar)(path, members)
    return str(path)


ARCHIVES = ["a.tar", "a.tgz", "a.tar.xz", "a.tar.bz2", "a.zip"]


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_gives_its_pictures(tmp_path: Path, name: str) -> None:
    members = [(f"sub/{number}.jpg", os.urandom(1000 * number)) for number in range(20)]
    given = open_input(write_archive(tmp_path / name, [*members, ("sub/notes.txt", b"no")]))
    assert contents_of(given) == dict(members)
    found = list(given.pictures())
    assert found[3].input == f"{tmp_path / name}!sub/3.jpg"
    assert len({one.fingerprint for one in found}) == 20
    # In any order, too.
    assert [given.read(one.locator) for one in reversed(found)] == [data for _, data in reversed(members)]


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_member_that_leads_out_is_a_bad_item(tmp_path: Path, name: str) -> None:
    bad = ["../a.jpg", "/etc/a.jpg", "sub/../../a.jpg", "..\\a.jpg", ".gantry/a.jpg"]
    given = open_input(write_archive(tmp_path / name, [(one, b"x") for one in [*bad, "good.jpg"]]))
    faults = {found.name: found.fault for found in given.pictures()}
    assert faults.pop("good.jpg") is None
    # The zip library itself may drop what is before a leading slash.
    assert all(faults.values())
    assert len(faults) == len(bad)


def test_links_in_a_tar_are_bad_items(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("s.jpg", tarfile.SYMTYPE), ("h.jpg", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    faults = [found.fault for found in open_input(str(tmp_path / "a.tar")).pictures()]
    assert faults == ["is a link or no ordinary file"] * 2


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_damaged_archive_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"this is no archive at all" * 100)
    with pytest.raises(JobError, match=name):
        list(open_input(str(tmp_path / name)).pictures())


def test_a_tar_with_a_wrong_checksum_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    write_archive(path, [("a.jpg", b"picture")])
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # RFC 1952: the last eight bytes are the checksum and the length
    path.write_bytes(content)
    with pytest.raises(JobError, match=r"a\.tgz: CRC check failed"):
        list(open_input(str(path)).pictures())


def test_a_member_with_a_wrong_checksum_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("a.jpg", b"first picture")
        packed.writestr("b.jpg", b"second picture")
    path.write_bytes(path.read_bytes().replace(b"first picture", b"FIRST picture"))
    given = open_input(str(path))
    a, b = given.pictures()
    with pytest.raises(OSError, match="damaged"):
        given.read(a.locator)
    assert given.read(b.locator) == b"second picture"


def test_a_member_that_says_to_be_huge_is_a_bad_item(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.batch.archives.MOST_BYTES", 1000)
    for name in ("a.tar", "a.zip"):
        given = open_input(write_archive(tmp_path / name, [("a.jpg", bytes(1001)), ("b.jpg", bytes(1000))]))
        faults = {found.name: found.fault for found in given.pictures()}
        assert "at most 1000 are read" in str(faults["a.jpg"])
        assert faults["b.jpg"] is None


def test_a_file_that_is_huge_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate((1 << 28) + 1)
    given = open_input(str(tmp_path))
    (found,) = given.pictures()
    with pytest.raises(ItemError, match="TOO_LARGE"):
        given.read(found.locator)


def test_endings_tell_archives() -> None:
    assert all(map(is_archive, ["a.tar", "A.TGZ", "x/a.tar.gz", "a.zip"]))
    assert not any(map(is_archive, ["a.gz", "a.jpg", "tar", "zip"]))


@pytest.fixture(params=["memory", "s3", "gcs"])
def remote(request: pytest.FixtureRequest) -> str:
    """URL of a prefix with pictures in it."""
    import fsspec

    memory = request.param == "memory"
    root = f"memory://{uuid.uuid4().hex}" if memory else str(request.getfixturevalue(request.param))
    filesystem, path = fsspec.core.url_to_fs(root)
    for name in ("in/a.jpg", "in/sub/b.jpg", "in/notes.txt"):
        filesystem.pipe_file(f"{path}/{name}", name.encode())
    return root


def test_a_prefix_a_glob_and_an_object(remote: str) -> None:
    assert contents_of(open_input(f"{remote}/in")) == {"a.jpg": b"in/a.jpg", "sub/b.jpg": b"in/sub/b.jpg"}
    assert contents_of(open_input(f"{remote}/in/*.jpg")) == {"a.jpg": b"in/a.jpg"}
    assert contents_of(open_input(f"{remote}/**/*.jpg")) == {"in/a.jpg": b"in/a.jpg", "in/sub/b.jpg": b"in/sub/b.jpg"}
    assert contents_of(open_input(f"{remote}/in/a.jpg")) == {"a.jpg": b"in/a.jpg"}
    with pytest.raises(JobError, match="nothing is there"):
        open_input(f"{remote}/none")


def test_objects_have_names_that_open_them_and_fingerprints_that_change(remote: str) -> None:
    import fsspec

    before = names_of(open_input(f"{remote}/in"))["a.jpg"]
    assert before.input.startswith(remote.partition("://")[0] + "://")
    assert contents_of(open_input(before.input)) == {"a.jpg": b"in/a.jpg"}
    filesystem, path = fsspec.core.url_to_fs(f"{remote}/in/a.jpg")
    filesystem.pipe_file(path, b"changed")
    after = names_of(open_input(f"{remote}/in"))["a.jpg"]
    assert before.fingerprint is not None
    assert after.fingerprint not in (None, before.fingerprint)


def test_lists_and_archives_behind_urls(remote: str, tmp_path: Path) -> None:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(remote)
    filesystem.pipe_file(f"{path}/list.txt", f"{remote}/in/a.jpg\n{remote}/in/gone.jpg\n".encode())
    given = open_input(f"@{remote}/list.txt")
    found = list(given.pictures())
    assert [one.name.endswith(end) for one, end in zip(found, ("in/a.jpg", "in/gone.jpg"), strict=True)] == [True] * 2
    assert given.read(found[0].locator) == b"in/a.jpg"
    with pytest.raises(FileNotFoundError):
        given.read(found[1].locator)
    for name in ("a.tgz", "a.zip"):
        filesystem.pipe_file(
            f"{path}/{name}", Path(write_archive(tmp_path / name, [("a.jpg", b"picture")])).read_bytes()
        )
        assert contents_of(open_input(f"{remote}/{name}")) == {"a.jpg": b"picture"}


@pytest.mark.parametrize("name", ["a.jpg", "a/b.jpg", "a b/ü.jpg", "...jpg", "a..b/c.jpg"])
def test_ordinary_names_are_safe(name: str) -> None:
    assert unsafe(name) is None


@pytest.mark.parametrize("name", ["/a", "../a", "a/../b", "a\\b", "a\0b", "", ".", ".gantry", "./.gantry/a"])
def test_other_names_are_not(name: str) -> None:
    assert unsafe(name)


def test_a_list_reads_each_host_s_files_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Host:
        def __init__(self, name: str) -> None:
            self._name = name

        def _strip_protocol(self, url: str) -> str:
            return url.rpartition("/")[2]

        def cat_file(self, path: str) -> bytes:
            return f"{path} of {self._name}".encode()

    monkeypatch.setattr("services.batch.list_input.open_filesystem", lambda url: (Host(url.split("/")[2]), ""))
    given = open_input(f"@{tmp_path / 'list.txt'}")
    read = [given.read(f"sftp://{host}/a.jpg") for host in ("one", "two", "one")]
    assert read == [b"a.jpg of one", b"a.jpg of two", b"a.jpg of one"]


@pytest.mark.parametrize("text", ["", "@"])
def test_an_input_without_a_name_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="no name"):
        open_input(text)


def test_a_list_that_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    given = open_input(f"@{tmp_path / 'none.txt'}")
    with pytest.raises(StorageError) as caught:
        list(given.pictures())
    assert str(caught.value) == f"{tmp_path / 'none.txt'}: No such file or directory"


def test_a_store_that_cannot_be_used_is_the_job_s_fault(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(StorageError, match=f"{s3}/in: Unable to locate credentials"):
        open_input(f"{s3}/in")
    with pytest.raises(StorageError, match="Unable to locate credentials"):
        open_input("@unused").read(f"{s3}/in/a.jpg")


def test_an_object_that_is_huge_is_not_fetched(remote: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.batch.archives.MOST_BYTES", 3)
    faults = {found.fault for found in open_input(remote).pictures()}
    assert faults
    assert all("at most 3 are read" in str(fault) for fault in faults)


@pytest.mark.parametrize("name", ["in.tar", "in.zip"])
def test_members_of_an_archive_without_a_version_have_none(tmp_path: Path, name: str) -> None:
    path = Path(write_archive(tmp_path / name, [("a.jpg", b"a")]))
    (found,) = open_picture_archive(name, None, lambda: path.open("rb")).members()
    assert found.fingerprint is None
