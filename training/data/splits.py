"""Which pictures are held out of those to train on: by one seed, the same for every run."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import torch

from training import seeds
from training.data.dataset import EVALUABLE, DataError, Split

Item = TypeVar("Item")


def divide(
    what: str,
    given: Mapping[Split, Sequence[Item]],
    fewest: int,
    *names: str,
    class_of: Callable[[Item], Hashable] = lambda _: None,
    what_counts: str = "pictures",
) -> dict[Split, Sequence[Item]]:
    """Holds out of the training split what is given for no other: a tenth to test, then a tenth of the rest.

    Where four times as many are there it is at least what an evaluation needs.

    Args:
        what: Whose splits they are, for the error.
        given: Those that are there.
        fewest: What the training split must have.
        names: What the seed depends on, beside the splits.
        class_of: Gives a picture's class, each of which has its share in what is held out.
        what_counts: What is divided, for the error.

    Raises:
        DataError: If there is too little to train on.
    """
    splits: dict[Split, Sequence[Item]] = {"train": [], **given}
    count, fewest = len(splits["train"]), max(fewest, 4 - len(splits))  # one for each split that comes out of it
    if count < fewest:
        raise DataError(f"{what}: at least {fewest} {what_counts} are needed to train on, found {count}")
    least = EVALUABLE if count >= 4 * EVALUABLE else 1
    held: tuple[Split, ...] = ("test", "validation")
    for split in (each for each in held if each not in given):
        whole = splits["train"]
        parts = _hold_out(list(map(class_of, whole)), least, split, *names)
        splits["train"], splits[split] = ([whole[index] for index in part] for part in parts)
    return splits


def _hold_out(classes: Sequence[Hashable], least: int, *names: str) -> tuple[list[int], list[int]]:
    """Which of some pictures stay and which tenth is held out, as near to a tenth of each class as can be."""
    order = torch.randperm(len(classes), generator=seeds.random_source(0, *names)).tolist()
    groups = defaultdict(list)
    for index in order:
        groups[classes[index]].append(index)
    place = {index: (rank + 0.5) / len(group) for group in groups.values() for rank, index in enumerate(group)}
    order.sort(key=place.__getitem__)  # every part of it has its share of each class
    few = max(least, len(classes) // 10)
    return sorted(order[few:]), sorted(order[:few])
