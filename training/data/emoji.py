"""Emoji in two drawing styles as pairs: Google's (Noto Emoji) and Twitter's (Twemoji), 64×64 each.

The npm packages `emoji-datasource-google` and `emoji-datasource-twitter` hold both sets under the same file names:

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0
    python -m training.data.emoji emoji-datasource-google-16.0.0.tgz emoji-datasource-twitter-16.0.0.tgz emoji

The styles differ in more than lines and colours: where one has a face the other may have a figure. Pairs that have
little in common are left out, since from these only averages can be learnt.

Noto Emoji is under the Apache License 2.0, Twemoji under CC BY 4.0.
"""

import hashlib
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Annotated

import torch
import typer
from torch import Tensor

from training.data.dataset import DataError
from training.data.pictures import File, in_threads, picture_files, read_picture

_FOLDER = "64"  # of the packages' single pictures
_MODIFIERS = {"200d", "2640", "2642", "fe0f", *(f"1f3f{tone}" for tone in "bcdef")}  # joiners, genders, skin tones
_WHOLE = {
    "flags": {"1f3f3", "1f3f4", *(f"{letter:x}" for letter in range(0x1F1E6, 0x1F200))},
    "keys": {"0023", "002a", *(f"003{digit}" for digit in range(10))},
    "people": {"1f468", "1f469", "1f9d1"},  # man, woman and person do the same things in the same clothes
}
_SHARES = {"test": 10, "val": 5}  # families in a hundred
_ALIKE = 0.27  # about half of all pairs
_WHITE = 250  # and above, of 255


def family_of(name: str) -> str:
    """What an emoji is a variant of, so that no variants of one stand on both sides of a split.

    Args:
        name: Its code points in hexadecimal, joined by hyphens, such as "1f3c3-1f3fb-200d-2640-fe0f".

    Returns:
        Its first code point that is no skin tone and no gender; or a word for flags, keys and people.
    """
    points = name.split("-")
    base = next((point for point in points if point not in _MODIFIERS), points[0])
    return next((word for word, bases in _WHOLE.items() if base in bases), base)


def split_of(family: str) -> str:
    """The split that a family belongs to, "train", "val" or "test": by a digest of its name.

    Flags, keys and people are trained on, since each would be most of what is held out.
    """
    place = int(hashlib.sha256(family.encode()).hexdigest(), 16) % 100
    test, val = _SHARES["test"], _SHARES["test"] + _SHARES["val"]
    return "train" if family in _WHOLE or place >= val else "test" if place < test else "val"


def difference(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference of two drawings, uint8 [3, H, W], where either has drawn anything; 0 to 1."""
    drawn = (torch.minimum(one, other) < _WHITE).any(0)
    return float((one.float() - other.float()).abs().mean(0)[drawn].mean()) / 255 if drawn.any() else 0.0


def prepare(google: Path, twitter: Path, out: Path, most: float = _ALIKE) -> Counter[str]:
    """Lays the pictures of both packages out as a set of pairs, A being Google's.

    Args:
        google: The package of Google's, as a file or a folder.
        twitter: That of Twitter's.
        out: The folder to write; it must not be there yet.
        most: The greatest `difference` of a pair that is kept; 1 keeps all.

    Returns:
        The number of pairs in each split.

    Raises:
        DataError: If a package cannot be read or holds no such pictures, or `out` is there.
    """
    sides = [(letter, _drawings(package)) for letter, package in (("A", google), ("B", twitter))]
    if out.exists():
        raise DataError(f"{out}: is there already; name another folder")
    names = sorted(set.intersection(*(set(drawings) for _, drawings in sides)))
    pairs = [[drawings[name] for _, drawings in sides] for name in names]
    apart = in_threads(lambda pair: difference(*map(read_picture, pair)), pairs, "comparing")
    splits = {name: split_of(family_of(name)) for name, each in zip(names, apart, strict=True) if each <= most}
    for letter, drawings in sides:
        for split in ("train", *_SHARES):
            (out / f"{split}{letter}").mkdir(parents=True)
        for name, split in splits.items():
            with drawings[name].open() as stream:
                (out / f"{split}{letter}" / f"{name}.png").write_bytes(stream.read())
    return Counter(splits.values())


def _drawings(package: Path) -> dict[str, File]:
    files = [(PurePosixPath(file.path), file) for file in picture_files(package)]
    found = {path.stem: file for path, file in files if path.parent.name == _FOLDER}
    if not found:
        raise DataError(f"{package}: holds no pictures in a folder {_FOLDER}")
    return found


def _main(
    google: Annotated[Path, typer.Argument(help="Package of Google's emoji, a .tgz or a folder.")],
    twitter: Annotated[Path, typer.Argument(help="Package of Twitter's emoji.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")] = Path("emoji"),
    most: Annotated[
        float, typer.Option(min=0, max=1, help="Mean difference of the two drawings of a pair that is kept, at most.")
    ] = _ALIKE,
) -> None:
    """Lays two packages of emoji out as pairs to train a pix2pix on."""
    try:
        counts = prepare(google, twitter, out, most)
    except DataError as error:
        raise SystemExit(str(error)) from error
    typer.echo(f"{out}: {', '.join(f'{count:,} {split}' for split, count in counts.items())}")


if __name__ == "__main__":
    typer.run(_main)
