"""What data sets of two domains share, whether their pictures form pairs or not."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from training.data.dataset import MEMORY_BUDGET, Split, fingerprint
from training.data.folders import UNKNOWN_LICENCE
from training.data.pictures import in_threads, shrunk
from training.data.streams import Pictures

EVALUABLE_DOMAIN = 4
"""Test pictures that a domain must have for an evaluation: an unbiased distance is taken between its halves."""

LEVELS = 3
"""Of a picture's path at most: a folder around the set, the folder of its split, the picture."""

_LICENCES = {
    "emoji": "Noto Emoji (Google), Apache-2.0; Twemoji (Twitter), CC BY 4.0, which asks for attribution",
    "horse2zebra": "pictures from ImageNet, for research use only; so are weights trained on them",
}


@dataclass(frozen=True)
class DomainsInfo:
    """What a trained model must remember of its data: as of `DatasetInfo`, images being those of both domains."""

    name: str
    licence: str
    images: int
    fingerprint: str = ""


@dataclass(frozen=True)
class DomainsDataset:
    """One split of two domains.

    Attributes:
        name: The name it is loaded by, e.g. "horse2zebra".
        a: The pictures of domain A in the order of their file names, each uint8 [3, H, W] of its own size; a list in
            memory, or a sequence that decodes what is asked for.
        b: Those of domain B.
        counts: Pictures of A and of B in each split, as far as known.
    """

    name: str
    split: Split
    a: Sequence[Tensor]
    b: Sequence[Tensor]
    counts: Sequence[Mapping[Split, int]] = ({}, {})

    @cached_property
    def info(self) -> DomainsInfo:
        """What a trained model must remember of this data set."""
        domains = [each.fingerprint if isinstance(each, Pictures) else fingerprint(*each) for each in (self.a, self.b)]
        licence = _LICENCES.get(self.name, UNKNOWN_LICENCE)
        return DomainsInfo(self.name, licence, len(self.a) + len(self.b), fingerprint(*domains))


def held_in_memory(
    name: str, domains: tuple[Pictures, Pictures], sizes: Iterable[tuple[int, int]], max_side: int | None
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Decodes both domains of a split where the whole set fits in memory; else they stay as they are.

    Args:
        name: What to call the set while it is read.
        domains: The split's.
        sizes: Width and height of every picture of every split, as stored.
        max_side: As of `shrunk`.
    """
    if sum(3 * math.prod(shrunk(size, max_side)) for size in sizes) > MEMORY_BUDGET:
        return domains
    a, b = (list(in_threads(each.__getitem__, range(len(each)), f"reading {name}")) for each in domains)
    return a, b
