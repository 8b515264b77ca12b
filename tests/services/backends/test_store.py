"""A store gives its sound archives, and the reason for each that it refuses."""

import os
import shutil
from pathlib import Path

from services.backends.base import ModelKey
from services.backends.store import open_model_store
from tests.archives import write_tiny_archive


def test_sound_archives_are_kept_and_others_refused(tmp_path: Path) -> None:
    tiny = write_tiny_archive(tmp_path)
    write_tiny_archive(tmp_path, version="2.0.0")
    (tmp_path / "garbage.mar").write_bytes(b"nope")
    (tmp_path / "notes.txt").write_text("not an archive, and not looked at")
    shutil.copy(tiny, tmp_path / "z-twin.mar")
    os.mkfifo(tmp_path / "pipe.mar")
    (tmp_path / "zeros.mar").symlink_to("/dev/zero")

    opened, refused = open_model_store(tmp_path)

    assert opened == {
        ModelKey("tiny", "1.0.0"): tiny,
        ModelKey("tiny", "2.0.0"): tmp_path / "tiny-2.0.0.mar",
    }
    assert [(archive.archive, archive.reason) for archive in refused] == [
        ("garbage.mar", "not a readable .mar file: File is not a zip file"),
        ("pipe.mar", "not a file"),
        ("z-twin.mar", "tiny 1.0.0 is in the store more than once"),
        ("zeros.mar", "not a file"),
    ]
