"""Files that change while the gateway runs."""

import logging
import os
from pathlib import Path

import pytest

from services.gateway.credentials.watched import CHECK_SECONDS, Watched


class Clock:
    """Time that stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_a_check(self) -> None:
        self.now += CHECK_SECONDS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "number"
    path.write_text("1")
    return path


def watched(path: Path, clock: Clock) -> Watched[int]:
    return Watched([path], lambda: int(path.read_text()), clock)


def test_a_change_shows_at_the_next_check_and_not_before(path: Path, clock: Clock) -> None:
    number, shown = watched(path, clock), 1
    for change in (22, 333):
        path.write_text(str(change))
        assert number() == shown
        clock.pass_a_check()
        assert number() == change
        shown = change


def test_a_file_that_did_not_change_is_not_read_again(path: Path, clock: Clock) -> None:
    reads = []

    def load() -> str:
        reads.append(path.read_text())
        return reads[-1]

    text = Watched([path], load, clock)
    for _ in range(3):
        clock.pass_a_check()
        assert text() == "1"
    assert reads == ["1"]


def test_a_swapped_link_is_a_change_as_kubernetes_makes_it(tmp_path: Path, clock: Clock) -> None:
    """..data is a link to a folder of one moment; the file is a link through it; only ..data is replaced."""
    for folder, text in (("..1", "1"), ("..2", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "number").write_text(text)
        os.utime(tmp_path / folder / "number", (0, 0))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "number").symlink_to("..data/number")
    number = watched(tmp_path / "number", clock)
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    clock.pass_a_check()
    assert number() == 2


def test_a_change_of_permissions_is_a_change(path: Path, clock: Clock) -> None:
    """It may be what makes an unreadable file readable."""
    reads: list[str] = []
    text = Watched([path], lambda: reads.append(path.read_text()), clock)
    path.chmod(0o400)
    clock.pass_a_check()
    text()
    assert reads == ["1", "1"]


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("no number"), lambda path: path.unlink()])
def test_a_spoilt_file_is_logged_once_and_the_old_value_stays(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, spoil: object
) -> None:
    number = watched(path, clock)
    assert callable(spoil)
    spoil(path)
    for _ in range(3):
        clock.pass_a_check()
        assert number() == 1
    assert [record.levelno for record in caplog.records if record.name == Watched.__module__] == [logging.ERROR]
    assert str(path) in caplog.text
    path.write_text("333")
    clock.pass_a_check()
    assert number() == 333


def test_a_file_that_is_bad_from_the_start_is_an_error(path: Path, clock: Clock) -> None:
    path.write_text("no number")
    with pytest.raises(ValueError, match="no number"):
        watched(path, clock)
    path.unlink()
    with pytest.raises(OSError, match="number"):
        watched(path, clock)
