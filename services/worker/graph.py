"""Read an exported program as plain data: raw tensors, and calls of core ATen operators.

torch's own reader, `torch.export.load`, falls back to full unpickling where a file tells it to, loads C++ libraries
that a file brings along, resolves any name under `torch` as an operator, evaluates symbol expressions as Python,
imports what a tree of arguments names, and writes names into generated code. Here nothing of a file becomes code:
operators are looked up in a list, and the file's own names are only keys. It also takes a twentieth of the time, since
the shapes of all that a graph computes, which nothing needs to run it, are not read.
"""

import io
import json
import keyword
import operator
import re
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

# Of the files that torch 2.13 writes (`torch._export.serde.schema`).
_SCHEMA = 8
_MODEL = "models/model.json"
_ATEN = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)
# Operators outside the core ATen set that exported programs hold all the same.
_ALLOWED_OPERATORS = {"_assert_async", "_assert_scalar", "_assert_tensor_metadata", "linalg_vector_norm", "var_mean"}
_PYTHON_OPERATORS = ("add", "sub", "mul", "floordiv", "mod", "eq", "ne", "ge", "le", "gt", "lt", "getitem")
_DTYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64, 6: torch.float16, 7: torch.float32,
    8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
_MEMORY_FORMATS = {
    1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d, 4: torch.preserve_format
}  # fmt: skip
_LAYOUTS = {7: torch.strided}
_DEVICES = {"cpu": torch.device("cpu")}
_POSITIONAL = 1


class GraphError(Exception):
    """A program that is not to be loaded; the message names the entry at fault."""


def load_graph(program: bytes) -> fx.GraphModule:
    """Load a program that `torch.export.save` wrote.

    Args:
        program: The content of the `.pt2` file.

    Returns:
        A module that runs the graph, its inputs unchecked.

    Raises:
        GraphError: The file holds something else than raw tensors and a graph of allowed operators.
    """
    try:
        return _Reader(_entries(program)).read()
    except GraphError:
        raise
    except Exception as error:
        # Whatever a malformed file makes the readers of zip and JSON raise.
        raise GraphError(f"not an exported program: {error!r}") from error


def _entries(program: bytes) -> dict[str, bytes]:
    """Read the entries of the file by their names, without the folder that they are all in."""
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(program)) as file:
        for entry in file.infolist():
            name = entry.filename.partition("/")[2]
            # Readers differ in which of two they take; and a small file may not grow large.
            if name in found or entry.compress_type != zipfile.ZIP_STORED:
                raise GraphError(f"{entry.filename}: stands twice, or is compressed")
            found[name] = file.read(entry)
    return found


class _Reader:
    """Builds the graph of one program."""

    def __init__(self, entries: Mapping[str, bytes]) -> None:
        self._entries, self._model = entries, json.loads(entries[_MODEL])
        self._root, self._graph = nn.Module(), fx.Graph()
        self._nodes: dict[str, fx.Node] = {}
        """What each name of the file stands for."""

    def read(self) -> fx.GraphModule:
        if (major := self._model["schema_version"]["major"]) != _SCHEMA:
            raise GraphError(f"{_MODEL}: is of schema {major}; only {_SCHEMA} is allowed: export it with torch 2.13")
        module, signature = self._model["graph_module"]["graph"], self._model["graph_module"]["signature"]
        tensors = self._tensors("weights") | self._tensors("constants")
        for spec in signature["input_specs"]:
            self._add_input(spec, tensors)
        for node in module["nodes"]:
            self._add_node(node)
        (picture,) = module["outputs"]
        self._graph.output(self._nodes[picture["as_tensor"]["name"]])
        self._graph.eliminate_dead_code()
        return fx.GraphModule(self._root, self._graph)

    def _tensors(self, folder: str) -> dict[str, Tensor]:
        config = f"data/{folder}/model_{folder}_config.json"
        found = {}
        for name, payload in json.loads(self._entries[config])["config"].items():
            if payload["use_pickle"] is not False:
                raise GraphError(f"{config}: {name} is pickled; only raw tensors are allowed")
            found[name] = _tensor(self._entries[f"data/{folder}/{payload['path_name']}"], payload["tensor_meta"])
        return found

    def _add_input(self, spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        ((kind, value),) = spec.items()
        if kind == "user_input":
            name = value["arg"]["as_tensor"]["name"]
            self._nodes[name] = self._graph.placeholder(f"input_{len(self._nodes)}")
        elif kind in ("parameter", "buffer", "tensor_constant"):
            attribute = f"tensor_{len(self._nodes)}"
            self._root.register_buffer(attribute, tensors[value[f"{kind}_name"]])
            self._nodes[value["arg"]["name"]] = self._graph.get_attr(attribute)
        else:
            raise GraphError(f"{_MODEL}: an input of kind {kind!r} is not allowed")

    def _add_node(self, node: Mapping[str, Any]) -> None:
        target, arguments, named = _operator(node["target"]), [], {}
        for given in node["inputs"]:
            value = self._argument(given["arg"])
            if given["kind"] == _POSITIONAL:
                arguments.append(value)
            else:
                named[_argument_name(target, given["name"])] = value
        made = self._graph.call_function(target, tuple(arguments), named)
        outputs = [name for output in node["outputs"] for name in _names(output)]
        if len(node["outputs"]) == 1 and "as_tensors" not in node["outputs"][0]:
            self._nodes |= dict.fromkeys(outputs, made)
            return
        for place, name in enumerate(outputs):
            self._nodes[name] = self._graph.call_function(operator.getitem, (made, place))

    def _argument(self, given: Mapping[str, Any]) -> Any:
        """Read an argument: a value, or the node whose value it is, or a list of either."""
        ((kind, value),) = given.items()
        match kind:
            case "as_none":
                return None
            case "as_tensor":
                return self._nodes[value["name"]]
            case "as_tensors":
                return [self._nodes[one["name"]] for one in value]
            case "as_name":
                return self._nodes[value]
            case "as_sym_int" | "as_sym_float" | "as_sym_bool":
                return self._argument(value)
            case "as_sym_ints" | "as_sym_floats" | "as_sym_bools" | "as_optional_tensors":
                return [self._argument(one) for one in value]
            case "as_int" | "as_bool" | "as_float" | "as_string":
                return _PLAIN[kind](value)
            case "as_ints" | "as_bools" | "as_floats" | "as_strings":
                return [_PLAIN[kind.removesuffix("s")](one) for one in value]
            case "as_scalar_type":
                return _DTYPES[value]
            case "as_memory_format":
                return _MEMORY_FORMATS[value]
            case "as_layout":
                return _LAYOUTS[value]
            case "as_device":
                return _DEVICES[value["type"]]
        raise GraphError(f"{_MODEL}: an argument {kind!r} is not allowed")


_PLAIN: Mapping[str, Callable[[Any], object]] = {"as_int": int, "as_bool": bool, "as_float": float, "as_string": str}


def _tensor(raw: bytes, meta: Mapping[str, Any]) -> Tensor:
    dtype = _DTYPES[meta["dtype"]]
    sizes, strides = ([number["as_int"] for number in meta[key]] for key in ("sizes", "strides"))
    flat = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    return flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"])


def _names(output: Mapping[str, Any]) -> list[str]:
    """Return what the graph calls the results of an output."""
    ((kind, value),) = output.items()
    match kind:
        case "as_tensor":
            return [value["name"]]
        case "as_tensors":
            return [one["name"] for one in value]
        case "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return [value["as_name"]]
        case "as_none":
            return []
    raise GraphError(f"{_MODEL}: an output {kind!r} is not allowed")


def _operator(target: str) -> Callable[..., Any]:
    """Find an operator that touches nothing but tensors and numbers; others read and write files."""
    if (match := _ATEN.fullmatch(target)) and (found := _aten_operator(match[1], match[2])):
        return found
    name = target.removeprefix("_operator.")
    if name in _PYTHON_OPERATORS and name != target:
        return getattr(operator, name)  # type: ignore[no-any-return]
    raise GraphError(f"{_MODEL}: the operator {target!r} is not allowed")


def _aten_operator(name: str, overload: str) -> torch._ops.OpOverload | None:
    found = getattr(getattr(torch.ops.aten, name, None), overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        return None
    return found if torch.Tag.core in found.tags or name in _ALLOWED_OPERATORS else None


def _argument_name(target: Callable[..., Any], name: str) -> str:
    """Check the name of an argument, which is written into code."""
    known = (
        {argument.name for argument in target._schema.arguments} if isinstance(target, torch._ops.OpOverload) else ()
    )
    if name not in known or keyword.iskeyword(name):
        raise GraphError(f"{_MODEL}: an argument of the name {name!r} is not allowed")
    return name
