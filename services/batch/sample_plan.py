"""Which pictures a class-balanced data set has: a function of the model's card and a few options.

Picture j of class c always has the seed `seed + c * 2^32 + j` and the file `images/<folder of c>/<j>.png`, whatever the
number of pictures, the classes beside it and the shards. So a data set can be enlarged later, and no two pictures share
a latent.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gantry.v1 import models_pb2
from services.batch.shards import Shard
from services.client.paths import Codes
from services.client.requests import SampleOptions
from services.worker.inputs import CLASS, LATENT, takes

# Folder of the pictures: the data set for an ImageFolder; beside it are the table of labels and the job's own files.
PICTURES = "images"
# A call makes so many pictures at most: enough to fill batches, and well below what a gateway allows a request.
CALL_PICTURES = 32
_SEEDS = 1 << 64
_SEEDS_OF_A_CLASS = 1 << 32


@dataclass(frozen=True)
class Category:
    """One class of the data set: a class of the model, or a value of the categorical code that is balanced.

    Attributes:
        id: Of the class, or index of the value.
        name: What a person calls it.
        folder: Name of its folder: its name, with what is not safe there as %XX.
        condition: What a request asks for to get it: its label, or the codes.
    """

    id: int
    name: str
    folder: str
    condition: SampleOptions


@dataclass(frozen=True)
class SeedRange:
    """Pictures of one class with consecutive seeds, which one call makes.

    Attributes:
        category: Their class.
        first: Number of the first within the class, from 0.
        count: How many, 1 to CALL_PICTURES.
    """

    category: Category
    first: int
    count: int

    @property
    def numbers(self) -> range:
        """The numbers of all."""
        return range(self.first, self.first + self.count)


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        categories: Its classes, in the order of the card.
        count: Number of its pictures. Classes differ by one at most; the first have the more.
        seed: Of picture 0 of class 0.
        ending: Of the files, without a dot.
    """

    categories: Sequence[Category]
    count: int
    seed: int
    ending: str

    def runs(self, shard: Shard) -> Iterator[SeedRange]:
        """Yield a shard's pictures, a few of each class in turn, so that what is made first is about balanced too."""
        for first in range(0, self._count_of(0), CALL_PICTURES):
            for place, category in enumerate(self.categories):
                rest = self._count_of(place) - first
                if rest > 0 and shard.owns(self.file_of(category, first)):
                    yield SeedRange(category, first, min(CALL_PICTURES, rest))

    def seed_of(self, category: Category, number: int) -> int:
        """Return the seed of a picture of a class."""
        return (self.seed + category.id * _SEEDS_OF_A_CLASS + number) % _SEEDS

    def file_of(self, category: Category, number: int) -> str:
        """Return the path of a picture within the data set."""
        return f"{PICTURES}/{category.folder}/{number:08}.{self.ending}"

    def _count_of(self, place: int) -> int:
        each, more = divmod(self.count, len(self.categories))
        return each + (place < more)


def plan_data_set(
    card: models_pb2.ModelCard,
    *,
    count: int,
    seed: int,
    labels: Sequence[str] | None,
    codes: Codes | None,
    ending: str,
) -> DataSet:
    """Plan a data set.

    Args:
        card: Of a model that makes pictures from latents.
        count: Number of pictures, at least one of each class.
        seed: 0 to 2^64 - 1.
        labels: The classes to have, by name or id; None for all.
        codes: Codes that are held, as in `SampleOptions`. One of them may be the code that is balanced else.
        ending: Of the files, without a dot.

    Returns:
        The plan.

    Raises:
        ValueError: The model translates, there is no such class, or a number is out of range.
    """
    if not takes(card, LATENT):
        raise ValueError(f"model {card.name} translates pictures; gantry batch translate runs it")
    categories = _chosen(card, _categories(card, codes), labels)
    most = _SEEDS_OF_A_CLASS * len(categories)
    if not len(categories) <= count <= most:
        raise ValueError(f"--count must be {len(categories)} (one picture of each class) to {most}, got {count}")
    if not 0 <= seed < _SEEDS:
        raise ValueError(f"--seed must be 0 to 2^64 - 1, got {seed}")
    return DataSet(categories, count, seed, ending)


def safe_folder(name: str) -> str:
    """Turn a name into that of a folder on any system, so that different names stay different.

    Letters and digits of all scripts stay, `-_+,=` too, and within the name spaces and dots; each byte of anything else
    becomes %XX.
    """
    last = len(name) - 1
    return "".join(
        character
        if character.isalnum() or character in "-_+,=" or (character in " ." and 0 < place < last)
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for place, character in enumerate(name)
    )


def _categories(card: models_pb2.ModelCard, codes: Codes | None) -> list[Category]:
    """List the classes of a model, or the values of the first categorical code that is not held, else one for all."""
    held = dict(codes or {})
    if takes(card, CLASS):
        named = [(info.id, info.name) for info in card.classes]
        return _named(named, {number: SampleOptions(labels=number, codes=codes) for number, _ in named})
    code = next((code for code in card.categorical_codes if not {code.id, code.name} & held.keys()), None)
    if code is None:
        return _named([(0, "all")], {0: SampleOptions(codes=codes)})
    values = [(value.index, value.name or f"{code.id}={value.index}") for value in code.values]
    return _named(values, {index: SampleOptions(codes={**held, code.id: index}) for index, _ in values})


def _named(named: Sequence[tuple[int, str]], conditions: Mapping[int, SampleOptions]) -> list[Category]:
    """Name the folders. Where two would be one to a system that does not tell cases apart, all begin with the id."""
    folders = {number: safe_folder(name) for number, name in named}
    if max(Counter(folder.casefold() for folder in folders.values()).values()) > 1 or "" in folders.values():
        folders = {number: f"{number}-{folder}" for number, folder in folders.items()}
    return [Category(number, name, folders[number], conditions[number]) for number, name in named]


def _chosen(
    card: models_pb2.ModelCard, categories: Sequence[Category], labels: Sequence[str] | None
) -> Sequence[Category]:
    if labels is None:
        return categories
    known = {str(category.id): category for category in categories}
    known |= {category.name: category for category in categories}
    for label in labels:
        if label not in known:
            allowed = ", ".join(f"{category.id} {category.name!r}" for category in categories)
            raise ValueError(f"--label: model {card.name} has no class {label!r}; its classes: {allowed}")
    wanted = {known[label].id for label in labels}
    return [category for category in categories if category.id in wanted]
