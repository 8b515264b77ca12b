"""What is known of pictures in numbers: the tables that lie beside them.

One is our own, `attributes.csv`: a line that names the columns, then a line for each picture, with its path first and a
number in every other column. The other is CelebA's, `list_attr_celeba.txt`: the number of pictures, the names of the
attributes, then for each picture its file's name and 1 or -1 for each attribute.
"""

import csv
import io
import math
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.dataset import DataError, Split
from training.data.pictures import File

OWN, CELEBA, CELEBA_SPLITS = "attributes.csv", "list_attr_celeba.txt", "list_eval_partition.txt"
"""The files' names."""

_SIGNS = {"1": 1.0, "-1": -1.0}
_SPLITS: dict[str, Split] = {"0": "train", "1": "validation", "2": "test"}


@dataclass(frozen=True)
class Table:
    """A table of numbers.

    Attributes:
        file: Where it was read, for errors.
        names: Of its columns.
        rows: The number of each picture's row.
        values: float64 [rows, columns].
        is_signed: Whether every value is 1, which is yes, or -1, which is no.
    """

    file: str
    names: Sequence[str]
    rows: Mapping[str, int]
    values: Tensor
    is_signed: bool

    def scaled(self, pictures: Sequence[str], train: Sequence[int]) -> tuple[Tensor, dict[str, str]]:
        """What is known of some pictures, each column scaled by its range in the training split.

        Args:
            pictures: As the table names them.
            train: The places of those to train on.

        Returns:
            float32 [pictures, columns], each in [-1, 1], where what is beyond the range is set to its end; and what
            each column says, by its name.

        Raises:
            DataError: If a picture has no row, or all of those to train on have the same number in a column.
        """
        if missing := [each for each in pictures if each not in self.rows]:
            raise DataError(f"{self.file}: expected a line for every picture, there is none for {missing[0]}")
        values = self.values[[self.rows[each] for each in pictures]]
        if self.is_signed:
            return values.float(), {name: f"{name.replace('_', ' ')}: 1 is yes, -1 is no" for name in self.names}
        least, most = values[train].aminmax(dim=0)
        ranges = dict(zip(self.names, zip(least.tolist(), most.tolist(), strict=True), strict=True))
        if same := [name for name, (low, high) in ranges.items() if low == high]:
            raise DataError(
                f"{self.file}: expected different numbers in column {same[0]!r}, every picture to train on has "
                f"{ranges[same[0]][0]:g}"
            )
        meanings = {name: f"{name}: -1 is {low:g}, 1 is {high:g}" for name, (low, high) in ranges.items()}
        return ((values - least) / (most - least) * 2 - 1).clamp(-1, 1).float(), meanings


def read_own(file: File) -> Table:
    """Reads `attributes.csv`; paths are taken from the folder that it lies in.

    Raises:
        DataError: If it is none; the message names the line.
    """
    where, lines = _named(file), csv.reader(_lines(file))
    _, *names = (name.strip() for name in next(filter(None, lines), [""]))
    if not names or not all(names) or len(set(names)) < len(names):
        raise DataError(
            f"{where}: line 1: expected the names of the columns, no two alike: the path's, then those of numbers"
        )
    folder = posixpath.dirname(file.path)
    rows: dict[str, int] = {}
    values: list[list[float]] = []
    for cells in filter(None, lines):
        numbers = [_number(cell) for cell in cells[1:]]
        path = posixpath.normpath(posixpath.join(folder, cells[0].strip()))
        if len(numbers) != len(names) or not all(map(math.isfinite, numbers)) or path in rows:
            raise DataError(
                f"{where}: line {lines.line_num}: expected a path that no earlier line has and {len(names)} number(s), "
                f"for {', '.join(names)}"
            )
        rows[path] = len(values)
        values.append(numbers)
    return Table(where, names, rows, torch.tensor(values, dtype=torch.float64).view(-1, len(names)), is_signed=False)


def read_celeba(file: File) -> Table:
    """Reads `list_attr_celeba.txt`.

    Raises:
        DataError: If it is none; the message names the line.
    """
    where, lines = _named(file), _lines(file)
    count, names = next(lines, "").strip(), next(lines, "").split()
    if not count.isdecimal() or not names or len(set(names)) < len(names):
        raise DataError(f"{where}: expected the number of pictures in line 1 and names of attributes in line 2")
    rows: dict[str, int] = {}
    values: list[list[float]] = []
    for number, line in enumerate(lines, 3):
        if not line.strip():
            continue
        picture, *signs = line.split()
        if len(signs) != len(names) or not set(signs) <= _SIGNS.keys() or picture in rows:
            raise DataError(
                f"{where}: line {number}: expected the name of a picture that no earlier line has and {len(names)} "
                "values, each 1 or -1"
            )
        rows[picture] = len(values)
        values.append([_SIGNS[sign] for sign in signs])
    if len(values) != int(count):
        raise DataError(f"{where}: line 1: expected the number of pictures, says {count} and {len(values)} follow")
    return Table(where, names, rows, torch.tensor(values, dtype=torch.float64).view(-1, len(names)), is_signed=True)


def read_celeba_splits(file: File) -> dict[str, Split]:
    """Reads `list_eval_partition.txt`: the split of each picture, by its file's name.

    Raises:
        DataError: If it is none; the message names the line.
    """
    splits: dict[str, Split] = {}
    for number, line in enumerate(_lines(file), 1):
        match line.split():
            case []:
                continue
            case [picture, split] if split in _SPLITS:
                splits[picture] = _SPLITS[split]
            case _:
                raise DataError(
                    f"{_named(file)}: line {number}: expected the name of a picture and 0 (train), 1 (validation) or "
                    "2 (test)"
                )
    return splits


def _lines(file: File) -> Iterator[str]:
    try:
        with file.open() as stream:
            content: str = stream.read().decode("utf-8-sig")  # spreadsheets put a mark before the first line
    except Exception as error:  # a broken archive makes Python's readers raise almost anything
        raise DataError(f"{_named(file)}: not a readable file of UTF-8 text: {error}") from error
    yield from io.StringIO(content, newline=None)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _named(file: File) -> str:
    return f"{file.source}: {file.path}"
