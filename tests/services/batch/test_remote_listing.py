"""Listings of object stores are whole: however many pages they have, and whatever the keys."""

from typing import Any

import pytest

from services.batch.inputs import open_input
from services.batch.remote_listing import objects_below
from services.batch.storage import open_filesystem


def test_a_listing_of_many_pages_is_whole(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "50")  # The server's page.
    filesystem, path = open_filesystem(s3)
    names = {f"{number % 3}/{number:05}.jpg" for number in range(120)}
    filesystem.pipe({f"{path}/in/{name}": b"" for name in names})
    listed = [found.name for found in open_input(f"{s3}/in").pictures()]
    assert len(listed) == len(names)
    assert set(listed) == names


def test_an_object_whose_name_no_file_can_have_is_a_bad_item(s3: str) -> None:
    filesystem, path = open_filesystem(s3)
    for key in ("in/a.jpg", "in//b.jpg", "in/x//c.jpg", "in/x/d.jpg"):
        filesystem.pipe_file(f"{path}/{key}", key.encode())
    for key in ("in/", "in/x/"):  # What a console makes of a folder.
        filesystem.pipe_file(f"{path}/{key}", b"")
    for given, sound in ((f"{s3}/in", {"a.jpg", "x/d.jpg"}), (s3, {"in/a.jpg", "in/x/d.jpg"})):
        found = list(open_input(given).pictures())
        assert {one.name for one in found if one.fault is None} == sound
        bad = {one.input: str(one.fault) for one in found if one.fault is not None}
        assert set(bad) == {f"{s3}/in//b.jpg", f"{s3}/in/x//c.jpg"}
        assert all("has an empty part" in fault for fault in bad.values())


class Google:
    """Answers as Google does; the server that stands in for it elsewhere leaves empty parts out of names."""

    def unstrip_protocol(self, name: str) -> str:
        return f"gs://{name}"

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.partition("/")
        return bucket, key, None

    def call(self, *_: str, prefix: str, json_out: bool, pageToken: str | None = None) -> dict[str, Any]:  # noqa: N803
        assert (prefix, json_out) == ("in/", True)
        match pageToken:
            case None:  # Pages may be empty.
                return {"nextPageToken": "1"}
            case "1":
                return {
                    "items": [{"name": "in/", "size": "0"}, {"name": "in//b.jpg", "size": "3"}],
                    "nextPageToken": "2",
                }
        return {"items": [{"name": "in/x//c.jpg", "size": "4", "etag": "e"}]}


def test_google_s_listing_keeps_empty_parts() -> None:
    assert list(objects_below(Google(), "bucket/in", None)) == [
        {"name": "bucket/in//b.jpg", "size": 3},
        {"name": "bucket/in/x//c.jpg", "size": 4, "etag": "e"},
    ]
