"""What has cost workers their lives is refused for a while, whoever asks for it again."""

import pytest

from gantry.v1 import generation_pb2, worker_pb2
from services.backends.base import ModelKey
from services.gateway.errors import ItemFailedError
from services.gateway.poison import REMEMBERED_SECONDS, Poison
from tests.services.gateway.fakes import Clock

KEY, OTHER = ModelKey("tiny", "1.0.0"), ModelKey("other", "1.0.0")


def item(seed: int, image_format: int = generation_pb2.IMAGE_FORMAT_PNG) -> worker_pb2.WorkItem:
    return worker_pb2.WorkItem(generate=worker_pb2.GenerateWork(seed=seed), format=image_format)


def test_it_is_refused_for_its_model_in_any_format_and_for_a_while() -> None:
    clock = Clock()
    poison = Poison(clock)
    poison.note(KEY, item(1))
    for same in (item(1), item(1, generation_pb2.IMAGE_FORMAT_WEBP)):
        with pytest.raises(ItemFailedError, match="2 workers were lost"):
            poison.check(KEY, same)
    poison.check(KEY, item(2))
    poison.check(OTHER, item(1))
    clock.now += REMEMBERED_SECONDS
    poison.check(KEY, item(1))


def test_it_remembers_the_newest_of_many() -> None:
    poison = Poison(Clock())
    for seed in range(2000):
        poison.note(KEY, item(seed))
    poison.check(KEY, item(0))
    with pytest.raises(ItemFailedError):
        poison.check(KEY, item(1999))
