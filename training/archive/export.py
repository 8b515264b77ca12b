"""Export generators as graphs that any worker runs: raw tensors and core operators, without a line of Python."""

import io
import warnings
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from gantry.v1 import models_pb2

# Node metadata that names files and lines of the machine that exported the graph.
_TRACE_METADATA = ("from_node", "nn_module_stack", "source_fn_stack", "stack_trace", "torch_fn")


def export_graph(module: nn.Module, card: models_pb2.ModelCard, graph: models_pb2.Graph) -> bytes:
    """Export the net of one of a card's graphs, with the inputs that the card lists; see the two functions below."""
    if "picture" in graph.inputs:
        return export_translator(module, card.translation.multiple)
    sizes = {"class": len(card.classes)} | {code.id: len(code.values) for code in card.categorical_codes}
    return export_generator(module, card.latent.size, sum(sizes.get(name, 1) for name in graph.inputs[1:]))


def export_generator(generator: nn.Module, latent_size: int, condition_size: int) -> bytes:
    """Export a generator as a program with a dynamic batch.

    Args:
        generator: `forward(latents float32 [B, latent_size], condition float32 [B, condition_size])` → float32
            [B, C, H, W]; on the CPU. Without a condition it is `forward(latents)`.
        latent_size: Number of values of a latent.
        condition_size: Number of values of a condition; 0 for none.

    Returns:
        The content of a `.pt2` file: raw tensors and a graph, nothing pickled, no paths of this machine.
    """
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = tuple(torch.zeros(2, size) for size in (latent_size, condition_size) if size)
    return _export(generator, example, ({0: batch},) * len(example))


def least_side(multiple: int) -> int:
    """Return the least height and width, in pixels, that a worker gives to a translator with this multiple."""
    return multiple * ceil(16 / multiple)


def export_translator(translator: nn.Module, multiple: int) -> bytes:
    """Export one way of a translation model as a program for a picture of dynamic height and width.

    Args:
        translator: `forward(pictures float32 [1, 3, H, W])` → the same shape; on the CPU.
        multiple: Divides H and W; 1 to 256.

    Returns:
        The content of a `.pt2` file, as of `export_generator`.
    """
    least = least_side(multiple)
    height, width = (multiple * torch.export.Dim(name, min=least // multiple) for name in ("rows", "columns"))
    # The example's height and width differ, since the program would take equal ones to be equal always.
    return _export(translator, (torch.zeros(1, 3, 2 * least, 3 * least),), ({2: height, 3: width},))


def _export(module: nn.Module, example: tuple[Tensor, ...], dynamic_shapes: tuple[Any, ...]) -> bytes:
    with warnings.catch_warnings():
        # torch warns of its own use of an old name.
        warnings.simplefilter("ignore", FutureWarning)
        program = torch.export.export(module.eval(), example, dynamic_shapes=dynamic_shapes)
        program = program.run_decompositions()
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            # What is left of a conversion to the type that a tensor has.
            program.graph.erase_node(node)
        for key in _TRACE_METADATA:
            node.meta.pop(key, None)
    # Of a product such as 4·rows torch writes a range beside that of its symbol, and does not know it again.
    # The order of the others follows from what the process exported before.
    ranges = sorted((str(known), known, program.range_constraints[known]) for known in program.range_constraints)
    program.range_constraints.clear()
    program.range_constraints.update({known: bounds for _, known, bounds in ranges if known.is_Symbol})
    # Example inputs are the one thing that torch would pickle.
    program.example_inputs = None
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()
