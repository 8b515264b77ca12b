"""State comes back as it was, though safetensors know flat names only and JSON no tensors and no numbers as keys."""

import json

import torch

from training.engine import trees


def test_gives_back_keys_and_values_of_every_kind() -> None:
    tree = {"a": {0: [1, 2.5, "x", None, True], "0": (1, (2,))}, "b": {}, "c": []}
    tensors, document = trees.split(tree)
    assert tensors == {}
    assert trees.join(tensors, json.loads(json.dumps(document))) == tree


def test_names_tensors_by_their_paths() -> None:
    tensors, _ = trees.split({"net": {"weight": torch.ones(2), "more": [torch.zeros(1)]}})
    assert {name: value.tolist() for name, value in tensors.items()} == {"/net/weight": [1, 1], "/net/more/0": [0]}


def test_a_tensor_lies_in_memory_as_it_did() -> None:
    channels_last = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    one_channel = torch.ones(3, 1, 2, 2).to(memory_format=torch.channels_last)
    tensors, document = trees.split([channels_last, one_channel])
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    for before, after in zip([channels_last, one_channel], trees.join(tensors, document), strict=True):
        assert torch.equal(before, after)
        assert before.stride() == after.stride()


def test_what_two_paths_share_is_kept_once() -> None:
    shared = torch.ones(3)
    tensors, document = trees.split({"a": shared, "b": shared, "c": shared[:2]})
    assert set(tensors) == {"/a", "/c"}
    assert trees.join(tensors, document)["b"].tolist() == [1, 1, 1]
