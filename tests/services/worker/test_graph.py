"""A program is loaded without running code: attacks that work on plain `torch.export.load` are refused or ignored."""

import contextlib
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from services.worker.execution import FLOAT32
from services.worker.graph import GraphError, load_graph
from services.worker.lowering import prepare
from tests.archives import CLASS_NAMES, LATENT_SIZE, MULTIPLE, TinyGenerator, TinyTranslator
from training.archive.export import export_generator, export_translator

GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"

Entries = dict[str, bytes]


class _Bomb:
    """Unpickling it touches a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._path,)


def entries_of(program: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(program)) as file:
        return {name.partition("/")[2]: file.read(name) for name in file.namelist()}


def program_of(entries: Entries, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def pickled(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(_Bomb(path), buffer)
    return buffer.getvalue()


def change_json(entries: Entries, name: str, change: Callable[[Any], object]) -> None:
    content = json.loads(entries[name])
    change(content)
    entries[name] = json.dumps(content).encode()


def code(path: Path) -> str:
    """An expression that touches a file, without dots, quotes of one kind, or line breaks."""
    return f"exec(bytes({list(f'open({str(path)!r}, {chr(34)}w{chr(34)})'.encode())}))"


def rename(node: Any, old: str, new: str) -> Any:
    """Replace a string everywhere in a JSON tree."""
    if isinstance(node, dict):
        return {rename(key, old, new): rename(value, old, new) for key, value in node.items()}
    if isinstance(node, list):
        return [rename(value, old, new) for value in node]
    return new if node == old else node


def renamed(entries: Entries, name: str, old: str, new: str) -> None:
    entries[name] = json.dumps(rename(json.loads(entries[name]), old, new)).encode()


def pickled_weight(entries: Entries, marker: Path) -> None:
    entries["data/weights/weight_0"] = pickled(marker)
    change_json(entries, WEIGHTS, lambda config: config["config"]["embedding.weight"].update(use_pickle=True))


def pickled_constant(entries: Entries, marker: Path) -> None:
    entries["data/constants/tensor_0"] = pickled(marker)
    payload = {"path_name": "tensor_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    change_json(entries, CONSTANTS, lambda config: config["config"].update(evil=payload))


def opaque_object(entries: Entries, marker: Path) -> None:
    entries["data/constants/opaque_obj_0"] = pickle.dumps(_Bomb(marker))
    payload = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    change_json(entries, CONSTANTS, lambda config: config["config"].update(evil=payload))


def legacy_weights(entries: Entries, marker: Path) -> None:
    entries["data/weights/model.pt"] = pickled(marker)


def sample_inputs(entries: Entries, marker: Path) -> None:
    entries["data/sample_inputs/model.pt"] = pickled(marker)


def symbol_expression(entries: Entries, marker: Path) -> None:
    evil = f"lambdify([], {code(marker)!r})()"

    def change(tree: Any) -> None:
        tree["graph_module"]["graph"]["tensor_values"]["latents"]["sizes"][0]["as_expr"]["expr_str"] = evil

    change_json(entries, GRAPH, change)


def imported_module(entries: Entries, marker: Path) -> None:
    marker.with_name("evil_module.py").write_text(code(marker))

    def change(tree: Any) -> None:
        signature = tree["graph_module"]["module_call_graph"][0]["signature"]
        spec = json.loads(signature["in_spec"])
        spec[1]["context"] = json.dumps({"__enum__": True, "fqn": "evil_module:E", "name": "E"})
        signature["in_spec"] = json.dumps(spec)

    change_json(entries, GRAPH, change)


def argument_name(entries: Entries, marker: Path) -> None:
    def change(tree: Any) -> None:
        signature = tree["graph_module"]["module_call_graph"][0]["signature"]
        signature["forward_arg_names"] = ["latents", f"condition={code(marker)}"]

    change_json(entries, GRAPH, change)


def keyword_name(entries: Entries, marker: Path) -> None:
    def change(tree: Any) -> None:
        signature = tree["graph_module"]["module_call_graph"][0]["signature"]
        signature["forward_arg_names"] = None
        spec = json.loads(signature["in_spec"])
        arguments, keywords = spec[1]["children_spec"]
        keywords["children_spec"] = [arguments["children_spec"].pop()]
        keywords["context"] = json.dumps([f"condition={code(marker)}"])
        signature["in_spec"] = json.dumps(spec)

    change_json(entries, GRAPH, change)


def parameter_name(entries: Entries, marker: Path) -> None:
    evil = f'x", {code(marker)}) or (lambda *a: a[0])(self, "y'
    for name in (GRAPH, WEIGHTS):
        renamed(entries, name, "project.bias", evil)


def node_name(entries: Entries, marker: Path) -> None:
    renamed(entries, GRAPH, "condition", f"condition={code(marker)}")


def symbol_name(entries: Entries, marker: Path) -> None:
    evil = {"as_sym_int": {"as_name": f"evil={code(marker)}"}}
    change_json(entries, GRAPH, lambda tree: tree["graph_module"]["graph"]["inputs"].append(evil))


def add_operator(entries: Entries, target: str, arguments: dict[str, Any]) -> None:
    """Put an operator at the beginning of the graph, with its result in place of a weight."""

    def change(tree: Any) -> None:
        graph = tree["graph_module"]["graph"]
        graph["nodes"] = rename(graph["nodes"], "p_body_0_bias", "evil")
        graph["tensor_values"]["evil"] = graph["tensor_values"]["p_body_0_bias"]
        node = {
            "target": target,
            "inputs": [{"name": name, "arg": value, "kind": 1} for name, value in arguments.items()],
            "outputs": [{"as_tensor": {"name": "evil"}}],
            "metadata": {},
            "is_hop_single_tensor_return": None,
            "name": "evil",
        }
        graph["nodes"].insert(0, node)

    change_json(entries, GRAPH, change)


def python_function(entries: Entries, marker: Path) -> None:
    add_operator(entries, "torch.serialization.os.mkdir", {"path": {"as_string": str(marker)}})


def method_of_the_operators(entries: Entries, marker: Path) -> None:
    add_operator(entries, "torch.ops.aten.__class__.mro", {"self": {"as_string": str(marker)}})


def object_key(entries: Entries, marker: Path) -> None:
    def change(tree: Any) -> None:
        values = tree["graph_module"]["graph"]["tensor_values"]
        values[f"evil={code(marker)}"] = values["latents"]

    change_json(entries, GRAPH, change)


def file_operator(entries: Entries, marker: Path) -> None:
    """Its file is in the working folder: nothing but the operator is at fault."""
    arguments = {"filename": {"as_string": marker.name}, "shared": {"as_bool": True}, "size": {"as_int": 16}}
    add_operator(entries, "torch.ops.aten.from_file.default", arguments)


def keyword_argument(entries: Entries, marker: Path) -> None:
    def change(tree: Any) -> None:
        given = tree["graph_module"]["graph"]["nodes"][0]["inputs"][-1]
        given.update(kind=2, name=f"dim={code(marker)}, out")

    change_json(entries, GRAPH, change)


def guard(entries: Entries, marker: Path) -> None:
    change_json(entries, GRAPH, lambda tree: tree.update(guards_code=[code(marker)]))


def native_library(entries: Entries, marker: Path) -> None:
    entries["data/aotinductor/model/evil.so"] = b"\x7fELF"


# Of what is read.
REFUSED_ATTACKS = [
    pickled_weight,
    pickled_constant,
    opaque_object,
    file_operator,
    keyword_argument,
    python_function,
    method_of_the_operators,
]
# Of what is not read, or is only a key.
HARMLESS_ATTACKS = [
    legacy_weights,
    sample_inputs,
    symbol_expression,
    imported_module,
    parameter_name,
    node_name,
    argument_name,
    keyword_name,
    symbol_name,
    object_key,
    guard,
    native_library,
]
# Those that run code in plain torch 2.13; it stops the others for reasons of its own.
WORKING_ATTACKS = [
    pickled_weight,
    pickled_constant,
    opaque_object,
    legacy_weights,
    sample_inputs,
    symbol_expression,
    imported_module,
    parameter_name,
    node_name,
    file_operator,
]
Attack = Callable[[Entries, Path], None]


def attacked(program: bytes, attack: Attack, marker: Path) -> bytes:
    entries = entries_of(program)
    attack(entries, marker)
    return program_of(entries)


@pytest.mark.parametrize("attack", REFUSED_ATTACKS)
def test_an_attack_is_refused(
    attack: Attack, tiny_program: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    with pytest.raises(GraphError, match=r"allowed|pickled"):
        load_graph(attacked(tiny_program, attack, marker))
    assert not marker.exists()


@pytest.mark.parametrize("attack", HARMLESS_ATTACKS)
def test_an_attack_does_nothing(
    attack: Attack, tiny_program: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    marker, inputs = tmp_path / "marker", (torch.ones(3, LATENT_SIZE), torch.eye(3))
    graph = load_graph(attacked(tiny_program, attack, marker))
    assert torch.equal(graph(*inputs), load_graph(tiny_program)(*inputs))
    assert not marker.exists()


@pytest.mark.parametrize("attack", WORKING_ATTACKS)
def test_the_attack_works_on_plain_torch(
    attack: Attack, tiny_program: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the test above would prove little."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    # Most attacks have their effect and fail later.
    with contextlib.suppress(Exception):
        graph = torch.export.load(io.BytesIO(attacked(tiny_program, attack, marker))).module()
        graph(torch.zeros(2, LATENT_SIZE), torch.zeros(2, len(CLASS_NAMES)))
    assert marker.exists()


def test_a_sound_program_loads_without_unpickling(tiny_program: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> NoReturn:
        pytest.fail("something was unpickled")

    for owner, name in [
        (pickle, "Unpickler"),
        (pickle, "load"),
        (pickle, "loads"),
        (torch, "load"),
        (torch._C, "_pickle_load_obj"),
    ]:
        monkeypatch.setattr(owner, name, forbidden)
    graph = load_graph(tiny_program)
    assert graph(torch.zeros(3, LATENT_SIZE), torch.eye(3)).shape == (3, 1, 8, 6)


def test_the_loaded_graph_gives_what_the_module_gave() -> None:
    module = TinyGenerator(channels=3, seed=1).eval()
    inputs = torch.randn(5, LATENT_SIZE), torch.rand(5, len(CLASS_NAMES))
    graph = load_graph(export_generator(module, LATENT_SIZE, len(CLASS_NAMES)))
    with torch.inference_mode():
        torch.testing.assert_close(graph(*inputs), module(*inputs))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 20), (64, 28), (128, 128)])
def test_the_loaded_translator_takes_any_size(height: int, width: int) -> None:
    module = TinyTranslator(seed=1).eval()
    pictures = torch.rand(1, 3, height, width) * 2 - 1
    graph = load_graph(export_translator(module, MULTIPLE))
    with torch.inference_mode():
        torch.testing.assert_close(graph(pictures), module(pictures))


class _ManyOperators(nn.Module):
    """What the generators of the literature are made of, to see that none of it is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(8, 12, 3, padding=1)
        self.embedding = nn.Linear(3, 8)
        self.norms = nn.ModuleList([nn.InstanceNorm2d(12, affine=True), nn.GroupNorm(3, 12)])
        self.pad = nn.ReflectionPad2d(1)
        self.register_buffer("scale", torch.arange(8.0))

    def forward(self, latents: Tensor, condition: Tensor) -> Tensor:
        one_hot = functional.one_hot(condition.argmax(dim=1), 8).to(latents.dtype)
        hidden = latents * self.scale + self.embedding(condition) + one_hot + torch.tensor([1.0])
        hidden = functional.normalize(hidden, dim=1) * hidden.norm(dim=1, keepdim=True)
        maps = self.convolution(self.pad(hidden.view(-1, 8, 1, 1).expand(-1, 8, 4, 4)))
        for norm in self.norms:
            maps = functional.silu(norm(maps))
        maps = functional.interpolate(functional.pixel_shuffle(maps, 2), scale_factor=2, mode="bilinear")
        maps = functional.softplus(functional.leaky_relu(functional.interpolate(maps, scale_factor=2), 0.2))
        variance, mean = torch.var_mean(maps, dim=(2, 3), correction=0, keepdim=True)
        maps = torch.atanh(0.9 * torch.tanh((maps - mean) * torch.rsqrt(variance + 1e-5)))
        return torch.tanh(maps * torch.softmax(maps, dim=1) + maps.std(dim=1, keepdim=True))


def test_generators_of_many_operators_load() -> None:
    module = _ManyOperators().eval()
    inputs = torch.randn(3, 8), torch.eye(3)
    graph = prepare(load_graph(export_generator(module, 8, 3)), FLOAT32)
    with torch.inference_mode():
        torch.testing.assert_close(graph(*inputs), module(*inputs))


@pytest.mark.parametrize("program", [b"", b"not a zip", b"PK\5\6" + bytes(18)])
def test_what_is_not_a_program_is_refused(program: bytes) -> None:
    with pytest.raises(GraphError):
        load_graph(program)


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, CONSTANTS])
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"config": []}', b'{"config": {"a": 1}}', b"\xff", b"[" * 99999]
)
def test_a_malformed_entry_is_refused(name: str, content: bytes, tiny_program: bytes) -> None:
    with pytest.raises(GraphError):
        load_graph(program_of(entries_of(tiny_program) | {name: content}))


def test_a_compressed_entry_is_refused(tiny_program: bytes) -> None:
    with pytest.raises(GraphError, match="compressed"):
        load_graph(program_of(entries_of(tiny_program), zipfile.ZIP_DEFLATED))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_twice_is_refused(tiny_program: bytes) -> None:
    buffer = io.BytesIO(tiny_program)
    with zipfile.ZipFile(buffer, "a") as file:
        file.writestr(f"archive/{GRAPH}", entries_of(tiny_program)[GRAPH])
    with pytest.raises(GraphError, match="twice"):
        load_graph(buffer.getvalue())


def test_a_file_that_two_readers_read_differently_does_nothing(tiny_program: bytes, tmp_path: Path) -> None:
    """Python's zip reader skips what stands before an archive, torch's does not: here they see two programs."""
    marker = tmp_path / "marker"
    evil, sound = entries_of(tiny_program), entries_of(tiny_program)
    node_name(evil, marker)
    sound[GRAPH] = sound[GRAPH].ljust(len(evil[GRAPH]))
    evil[GRAPH] = evil[GRAPH].ljust(len(sound[GRAPH]))
    program = program_of(evil) + program_of(sound)
    load_graph(program)
    assert not marker.exists()
    with contextlib.suppress(Exception):
        torch.export.load(io.BytesIO(program)).module()
    assert marker.exists()
