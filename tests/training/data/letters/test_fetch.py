"""Fetching fonts, with a stand-in for npm."""

import json
import sys
from pathlib import Path

import pytest

from training.data.letters import fetch

_NPM = """#!{python}
import io, sys, tarfile
place, package = sys.argv[-2:]
if "gone" in package:
    sys.exit("404 Not Found")
with tarfile.open(f"{{place}}/it.tgz", "w:gz") as archive:
    for name in ("LICENSE", "index.css", "files/x-latin-400-normal.woff2", "files/x-cyrillic-400-normal.woff2"):
        member = tarfile.TarInfo(f"package/{{name}}")
        member.size = len(package)
        archive.addfile(member, io.BytesIO(package.encode()))
"""


def families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    listed = {name: {"package": f"@fonts/{name.lower()}", "version": "1.2.3", "licence": "OFL-1.1"} for name in names}
    (tmp_path / "families.json").write_text(json.dumps(listed))
    monkeypatch.setattr(fetch, "FAMILIES", tmp_path / "families.json")


@pytest.fixture(autouse=True)
def _npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/npm").write_text(_NPM.format(python=sys.executable))
    (tmp_path / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_latin_fonts_and_licences_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    families(tmp_path, monkeypatch, "One", "Two")
    fetch.main(tmp_path / "fonts")
    found = sorted(str(file.relative_to(tmp_path / "fonts")) for file in (tmp_path / "fonts").rglob("*.*"))
    assert found == ["One/x-latin-400-normal.woff2", "Two/x-latin-400-normal.woff2"]
    assert (tmp_path / "fonts/One/LICENSE").read_text() == "@fonts/one@1.2.3"


def test_what_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    families(tmp_path, monkeypatch, "One")
    (tmp_path / "fonts/One").mkdir(parents=True)
    fetch.main(tmp_path / "fonts")
    assert list((tmp_path / "fonts/One").iterdir()) == []


def test_a_failure_names_the_package_and_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    families(tmp_path, monkeypatch, "Gone")
    with pytest.raises(SystemExit, match=r"npm could not fetch @fonts/gone@1\.2\.3: 404 Not Found"):
        fetch.main(tmp_path / "fonts")
    assert list((tmp_path / "fonts").iterdir()) == []


def test_without_npm_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    families(tmp_path, monkeypatch, "One")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="npm is needed to fetch the fonts"):
        fetch.main(tmp_path / "fonts")


def test_every_listed_family_has_a_version_and_an_open_licence() -> None:
    listed = json.loads(fetch.FAMILIES.read_text())
    assert 250 <= len(listed) <= 350
    assert {each["licence"] for each in listed.values()} <= {"OFL-1.1", "Apache-2.0", "Ubuntu-font-1.0"}
    assert all(each["version"][0].isdigit() and each["package"].startswith("@") for each in listed.values())
