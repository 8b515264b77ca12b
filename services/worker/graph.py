"""Load an exported program without ever unpickling.

`torch.export.load` reads tensors as raw bytes, but it falls back to full unpickling where a file tells it to, loads
C++ libraries that a file brings along, resolves any name under `torch` as an operator, evaluates symbol expressions
as Python, imports what a tree of arguments names, and writes names into generated code. So the file is first checked
to hold only raw tensors, core ATen operators and plain names; anything else is refused by name. What torch then reads
is a copy made of the checked entries: torch's zip reader and Python's might see different things in one file. It
leaves out the shapes of what the graph computes, which torch takes longest to read.
"""

import io
import json
import re
import warnings
import zipfile
from typing import Any

import torch
from torch import fx

_ALLOWED_ENTRIES = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt"
)
# What the strings of the graph's JSON may hold, by key. Keys of objects and the strings of every other key must be
# plain names, as in "body.0.weight".
_PLAIN_NAME = re.compile(r"[\w.]*", re.ASCII)
_IDENTIFIER = re.compile(r"([A-Za-z_]\w*)?", re.ASCII)
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(\w+)\.(\w+)|_operator\.(add|sub|mul|floordiv|mod|eq|ne|ge|le|gt|lt|getitem)", re.ASCII
)
_ARGUMENT_TREE = re.compile(
    r'([\d\s,:\[\]{}]|null|"(type|context|children_spec|builtins\.(tuple|list|dict)|null|\[\])")*', re.ASCII
)
_ALLOWED_STRINGS = {
    "as_name": _IDENTIFIER,
    "as_operator": _OPERATOR,
    "as_string": re.compile(r"[\w .,:-]*", re.ASCII),
    "custom": re.compile(r'[\w {}":,]*', re.ASCII),
    "expr_str": re.compile(
        r"[a-z]\w*|(Symbol\('[a-z]\w*'(, (positive|integer|nonnegative)=True)*\)"
        r"|(Add|Mul|FloorDiv|Mod|Integer)\(|[\d ,)-])*",
        re.ASCII,
    ),
    "forward_arg_names": _IDENTIFIER,
    "guards_code": re.compile(r"(L\['\w+'\]\.size\(\)\[\d+\]|[=!<>]=?|\*(?!\*)|[\d\s()+/-])*", re.ASCII),
    "in_spec": _ARGUMENT_TREE,
    "name": _IDENTIFIER,
    "out_spec": _ARGUMENT_TREE,
    "target": _OPERATOR,
    "torch_version": re.compile(r"[\w.+]*", re.ASCII),
}
# Operators outside the core ATen set that exported programs hold all the same.
_ALLOWED_OPERATORS = {"_assert_async", "_assert_scalar", "_assert_tensor_metadata", "linalg_vector_norm", "var_mean"}


class GraphError(Exception):
    """A program that is not to be loaded; the message names the entry at fault."""


def load_graph(program: bytes) -> fx.GraphModule:
    """Load a program that `torch.export.save` wrote.

    Args:
        program: The content of the `.pt2` file.

    Returns:
        A module that runs the graph, its inputs unchecked.

    Raises:
        GraphError: The file holds something that is not a raw tensor or a plain graph, or torch cannot read it.
    """
    try:
        with warnings.catch_warnings():
            # torch warns of its own use of an old name.
            warnings.simplefilter("ignore", FutureWarning)
            module = torch.export.load(_checked_copy(program)).module(check_guards=False)
        if not isinstance(module, fx.GraphModule):
            raise GraphError("the program is not a graph")
        return module
    except GraphError:
        raise
    except Exception as error:
        raise GraphError(f"torch cannot read the program: {error}") from error


def _checked_copy(program: bytes) -> io.BytesIO:
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(program)) as entries, zipfile.ZipFile(copy, "w") as checked:
            for entry in entries.infolist():
                # Names and contents are looked up by torch, so none may stand twice; a small file may not grow large.
                if entry.filename in checked.namelist() or entry.compress_type != zipfile.ZIP_STORED:
                    raise GraphError(f"{entry.filename}: stands twice, or is compressed")
                content = _checked(entry.filename.partition("/")[2], entries.read(entry))
                checked.writestr(entry.filename, content)
    except GraphError:
        raise
    except Exception as error:
        # Whatever a malformed file makes the readers of zip and JSON raise.
        raise GraphError(f"not an exported program: {error!r}") from error
    copy.seek(0)
    return copy


def _checked(name: str, content: bytes) -> bytes:
    if not _ALLOWED_ENTRIES.fullmatch(name):
        raise GraphError(f"{name}: only tensors and graphs are allowed in a program")
    if name == "data/sample_inputs/model.pt" and content:
        raise GraphError(f"{name}: example inputs are pickled and must be left out")
    if name.endswith("_config.json"):
        _check_payloads(name, json.loads(content))
    if name == "models/model.json":
        model = json.loads(content)
        _check_strings(name, "", model)
        _forget_shapes(model)
        return json.dumps(model).encode()
    return content


def _forget_shapes(model: dict[str, Any]) -> None:
    """Drop the shapes of all tensors but the inputs: a graph runs without them."""
    graph, signature = model["graph_module"]["graph"], model["graph_module"]["signature"]
    inputs = [spec["user_input"]["arg"] for spec in signature["input_specs"] if "user_input" in spec]
    kept = {argument["as_tensor"]["name"] for argument in inputs if "as_tensor" in argument}
    for name, tensor in graph["tensor_values"].items():
        if name not in kept:
            tensor |= {"sizes": [], "strides": [], "storage_offset": {"as_int": 0}}


def _check_payloads(name: str, config: dict[str, Any]) -> None:
    for tensor, payload in config["config"].items():
        is_raw = payload["use_pickle"] is False and re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"])
        if not is_raw:
            raise GraphError(f"{name}: {tensor} is pickled; only raw tensors are allowed")


def _check_strings(entry: str, key: str, node: object) -> None:
    """Walk the JSON tree; torch may turn any string of it into code."""
    if isinstance(node, dict):
        for child_key, child in node.items():
            _check_strings(entry, "", child_key)
            _check_strings(entry, child_key, child)
    elif isinstance(node, list):
        for child in node:
            _check_strings(entry, key, child)
    elif isinstance(node, str):
        match = _ALLOWED_STRINGS.get(key, _PLAIN_NAME).fullmatch(node)
        if not match or (match.re is _OPERATOR and match[1] and not _is_pure(match[1], match[2])):
            raise GraphError(f"{entry}: {key} {node!r} is not allowed")


def _is_pure(operator: str, overload: str) -> bool:
    """Whether an ATen operator touches nothing but tensors; others read and write files."""
    found = getattr(getattr(torch.ops.aten, operator, None), overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        return False
    return torch.Tag.core in found.tags or operator in _ALLOWED_OPERATORS
