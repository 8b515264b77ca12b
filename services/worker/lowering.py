"""A loaded graph made ready to run under a plan, and run.

In bfloat16 only the convolutions are computed, with sums in float32; everything between them, such as the statistics
of a normalisation, stays in float32. That is where processors with matrix units (AMX) win, most of all once a compiler
has merged the conversions with what stands between the convolutions.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx

from services.worker.execution import ExecutionPlan


def prepare(graph: fx.GraphModule, plan: ExecutionPlan) -> Callable[..., Tensor]:
    """Make a graph ready to run under a plan.

    Args:
        graph: What `services.worker.graph.load_graph` returned; it is changed.
        plan: The plan.

    Returns:
        A function of the graph's inputs. Under a compiled plan the first call compiles, for all sizes, so it must be
        of a picture whose height and width differ: the compiler takes equal numbers to be equal always.
    """
    if plan.precision == "bfloat16":
        _convolve_in_bfloat16(graph)
    if plan.device != "cpu":
        return _moved(graph, torch.device(plan.device))
    if plan.compiled:
        return torch.compile(graph, dynamic=True)
    _take_variances_as_means(graph)
    return graph


def run_graph(graph: Callable[..., Tensor], *inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run a graph, on one thread where it runs on the processor.

    Args:
        graph: What `prepare` returned.
        inputs: Its inputs, float32; pictures as [B, H, W, C].

    Returns:
        The pictures, float32 [B, H, W, C] in the card's value range.
    """
    # A setting of the thread that runs the graph, not of the process; compiled code depends on it too.
    torch.set_num_threads(1)
    tensors = [torch.from_numpy(np.ascontiguousarray(value)) for value in inputs]
    with torch.inference_mode():
        pictures = graph(*(value.permute(0, 3, 1, 2) if value.ndim == 4 else value for value in tensors))
    return pictures.permute(0, 2, 3, 1).numpy()


def _moved(graph: fx.GraphModule, device: torch.device) -> Callable[..., Tensor]:
    """Move a graph to another device, with the tensors that it makes on its way."""
    # The same algorithm every time, and multiplications in the precision that the plan's name tells.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    graph.to(device)
    for node in graph.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": device}
    graph.recompile()
    return lambda *inputs: graph(*(value.to(device) for value in inputs)).cpu()


def _convolve_in_bfloat16(graph: fx.GraphModule) -> None:
    """Convert what goes into every convolution to bfloat16, and what comes out back to float32."""
    nodes, to = graph.graph, torch.ops.prims.convert_element_type.default
    for node in list(nodes.nodes):
        if node.target is not torch.ops.aten.convolution.default:
            continue
        with nodes.inserting_before(node):
            operands = [value and nodes.call_function(to, (value, torch.bfloat16)) for value in node.args[:3]]
        node.args = (*operands, *node.args[3:])
        with nodes.inserting_after(node):
            exact = nodes.call_function(to, (node, torch.float32))
        node.replace_all_uses_with(exact, delete_user_cb=lambda user, exact=exact: user is not exact)
    graph.recompile()


def _take_variances_as_means(graph: fx.GraphModule) -> None:
    """Compute every mean and variance as two means, var x = mean (x - mean x)².

    Torch's kernel for both at once takes as long as all convolutions in bfloat16 do, several times what these take.
    """
    nodes, aten = graph.graph, torch.ops.aten
    for node in list(nodes.nodes):
        if node.target is not aten.var_mean.correction or node.kwargs != {"correction": 0, "keepdim": True}:
            continue
        values, dimensions = node.args
        with nodes.inserting_before(node):
            mean = nodes.call_function(aten.mean.dim, (values, dimensions, True))
            distance = nodes.call_function(aten.sub.Tensor, (values, mean))
            square = nodes.call_function(aten.mul.Tensor, (distance, distance))
            variance = nodes.call_function(aten.mean.dim, (square, dimensions, True))
        for part in list(node.users):
            part.replace_all_uses_with((variance, mean)[part.args[1]])
            nodes.erase_node(part)
        nodes.erase_node(node)
    graph.recompile()
