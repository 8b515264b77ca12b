"""Takes nested state apart into tensors and JSON, and puts it together again.

A checkpoint holds tensors as safetensors, which know flat names only, and all else as JSON, which knows no tensors and
no numbers as keys.
"""

from typing import Any

import torch
from torch import Tensor


def split(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """Takes a state apart.

    Args:
        tree: Dicts with keys that are texts or whole numbers, lists and tuples, of tensors, numbers, texts and None.

    Returns:
        The tensors on the CPU by their path, each contiguous, and once where two paths have the same; and the rest,
        fit for JSON.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[tuple[Any, ...], str] = {}

    def reduced(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {"dict": [[key, reduced(each, f"{path}/{key}")] for key, each in value.items()]}
        if isinstance(value, list | tuple):
            parts = [reduced(each, f"{path}/{place}") for place, each in enumerate(value)]
            return parts if isinstance(value, list) else {"tuple": parts}
        if not isinstance(value, Tensor):
            return value
        identity = (value.data_ptr(), value.dtype, value.shape, value.stride())
        name = names.setdefault(identity, path)
        if name == path:
            tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name} if value.is_contiguous() else {"tensor": name, "strides": value.stride()}

    return tensors, reduced(tree, "")


def join(tensors: dict[str, Tensor], document: Any) -> Any:
    """Puts a state together again.

    Args:
        tensors: As `split` gave them.
        document: The rest; it may have been JSON in between.

    Returns:
        The state; each tensor lies in memory as it did, on which the bits of later sums depend.
    """
    if isinstance(document, list):
        return [join(tensors, each) for each in document]
    if not isinstance(document, dict):
        return document
    if "tuple" in document:
        return tuple(join(tensors, document["tuple"]))
    if "dict" in document:
        return {key: join(tensors, each) for key, each in document["dict"]}
    tensor = tensors[document["tensor"]]
    if "strides" not in document:
        return tensor
    return torch.empty_strided(tensor.shape, document["strides"], dtype=tensor.dtype).copy_(tensor)
