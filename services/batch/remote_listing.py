"""All objects below a prefix, whatever their number and names.

fsspec's own `walk` passes over keys with an empty part, such as a//b.png, and holds the names of a folder in memory;
its `find` holds those of all. So the two large object stores are listed here page by page, by the calls that their
libraries offer.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_Listing = Callable[[Any, str, str], Iterator[dict[str, Any]]]


def objects_below(filesystem: Any, path: str, depth: int | None) -> Iterator[Mapping[str, Any]]:
    """Yield the objects below a prefix, in no particular order.

    Args:
        filesystem: fsspec's.
        path: The prefix's path in it, without a slash at the end.
        depth: How many folders deep objects are wanted, 1 for those of the prefix itself; None for all.

    Yields:
        What fsspec tells of each: its path as `name`, its bytes as `size`, and what tells a change of it.
    """
    list_all = _LISTINGS.get(filesystem.unstrip_protocol("").partition("://")[0])
    if list_all is None or depth is not None:
        for _, _, files in filesystem.walk(path, maxdepth=depth, detail=True, on_error="raise"):
            yield from files.values()
        return
    bucket, prefix, _ = filesystem.split_path(path)
    for info in list_all(filesystem, bucket, f"{prefix}/" if prefix else ""):
        # Such an empty object is how consoles keep a folder.
        if info["size"] or not info["name"].endswith("/"):
            yield info


def _list_s3(filesystem: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    asked: dict[str, str] | None = {"Bucket": bucket, "Prefix": prefix, **filesystem.req_kw}
    while asked:
        page = filesystem.call_s3("list_objects_v2", **asked)
        for found in page.get("Contents", ()):
            yield {**found, "name": f"{bucket}/{found['Key']}", "size": found["Size"]}
        is_last = not page.get("IsTruncated")
        asked = None if is_last else {**asked, "ContinuationToken": page["NextContinuationToken"]}


def _list_google(filesystem: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    asked: dict[str, str] | None = {"prefix": prefix}
    while asked:
        page = filesystem.call("GET", "b/{}/o", bucket, json_out=True, **asked)
        for found in page.get("items", ()):
            yield {**found, "name": f"{bucket}/{found['name']}", "size": int(found["size"])}
        token = page.get("nextPageToken")
        asked = {**asked, "pageToken": token} if token else None


_LISTINGS: dict[str, _Listing] = {"s3": _list_s3, "gs": _list_google}
