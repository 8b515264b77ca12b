"""Graphs under every plan: one thread, one result, and after the first call no compiling."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from services.worker.archive import Archive
from services.worker.execution import FLOAT32, ExecutionPlan, Precision, can_compile
from services.worker.graph import load_graph
from services.worker.lowering import prepare, run_graph
from tests.archives import CLASS_NAMES, LATENT_SIZE, TinyGenerator
from training.archive.export import export_generator, export_translator
from training.nets.translator import MULTIPLE, TranslatorConfig

Graph = Callable[..., torch.Tensor]
Floats = NDArray[np.float32]

SIZES = [(16, 16), (16, 20), (20, 16), (64, 80), (256, 256), (260, 132), (16, 512)]


@pytest.fixture(scope="module")
def programs() -> list[bytes]:
    """Both directions of a small CycleGAN, with every kind of layer of a large one."""
    torch.manual_seed(0)
    nets = [TranslatorConfig(width=8, blocks=1).build() for _ in range(2)]
    for net in nets:
        # As untrained the picture would hardly differ from grey, whatever the precision.
        torch.nn.init.normal_(net.layers[-1].weight, std=0.05)
    return [export_translator(net, MULTIPLE) for net in nets]


def picture(height: int, width: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(-1, 1, (1, height, width, 3)).astype(np.float32)


def difference(first: Floats, second: Floats) -> float:
    """Mean absolute difference, in steps of 8 bits."""
    return float(np.abs(first - second).mean() * 127.5)


def test_inputs_and_pictures_have_their_channels_last() -> None:
    module = TinyGenerator(channels=1, seed=0).eval()
    latents, conditions = np.random.default_rng(0).normal(size=(5, LATENT_SIZE)), np.eye(3)[[0, 1, 2, 0, 1]]
    graph = prepare(load_graph(export_generator(module, LATENT_SIZE, len(CLASS_NAMES))), FLOAT32)
    made = run_graph(graph, latents.astype(np.float32), conditions.astype(np.float32))
    with torch.inference_mode():
        expected = module(torch.tensor(latents).float(), torch.tensor(conditions).float())
    assert made.shape == (5, 8, 6, 1)
    np.testing.assert_allclose(made[..., 0], expected[:, 0].numpy(), rtol=1e-5, atol=1e-6)


def test_a_graph_runs_on_one_thread_wherever_it_is_called(tiny_program: bytes) -> None:
    graph = prepare(load_graph(tiny_program), FLOAT32)

    def many_then_one() -> tuple[int, int]:
        torch.set_num_threads(4)
        torch.ones(10).sum()
        before = torch.get_num_threads()
        run_graph(graph, np.zeros((1, LATENT_SIZE), np.float32), np.zeros((1, len(CLASS_NAMES)), np.float32))
        return before, torch.get_num_threads()

    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(many_then_one).result() == (4, 1)


def test_bfloat16_is_of_the_convolutions_alone_and_comes_close(programs: list[bytes]) -> None:
    exact = prepare(load_graph(programs[0]), FLOAT32)
    lowered = load_graph(programs[0])
    graph = prepare(lowered, ExecutionPlan("bfloat16", compiled=False))
    convolutions = [node for node in lowered.graph.nodes if node.target is torch.ops.aten.convolution.default]
    assert len(convolutions) == 8
    for node in convolutions:
        assert all(operand.args[1] is torch.bfloat16 for operand in node.args[:3] if operand is not None)
        assert [user.args[1] for user in node.users] == [torch.float32]
    for height, width in SIZES[:4]:
        made = run_graph(graph, picture(height, width))
        assert made.dtype == np.float32
        assert 0 < difference(made, run_graph(exact, picture(height, width))) < 1


def test_what_is_not_compiled_takes_variances_as_means(programs: list[bytes]) -> None:
    plain, lowered = load_graph(programs[0]), load_graph(programs[0])
    graph = prepare(lowered, FLOAT32)
    kinds = [{node.target for node in each.graph.nodes} for each in (plain, lowered)]
    assert [torch.ops.aten.var_mean.correction in kind for kind in kinds] == [True, False]
    for height, width in SIZES:
        np.testing.assert_allclose(
            run_graph(graph, picture(height, width)), run_graph(plain, picture(height, width)), rtol=1e-4, atol=1e-5
        )


def test_variances_of_another_kind_stay() -> None:
    class Corrected(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            variance, mean = torch.var_mean(x, 1, correction=1, keepdim=True)
            return (x - mean) / variance

    traced = torch.export.export(Corrected(), (torch.ones(2, 3),)).module()
    assert isinstance(traced, torch.fx.GraphModule)
    values = torch.tensor([[1.0, 2.0, 6.0], [0.0, 1.0, 5.0]])
    assert torch.equal(prepare(traced, FLOAT32)(values), Corrected()(values))
    assert torch.ops.aten.var_mean.correction in {node.target for node in traced.graph.nodes}


def test_a_card_without_bfloat16_gives_the_graph_as_it_is(translation_archive: Archive) -> None:
    graph = load_graph(translation_archive.graphs["a_to_b.pt2"])
    assert prepare(graph, FLOAT32) is graph


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_moved_graph_leaves_nothing_on_the_processor(
    tiny_program: bytes, programs: list[bytes], precision: Precision
) -> None:
    """Torch's device "meta" has no numbers, but refuses a tensor that was left behind, as a GPU does."""
    plan = ExecutionPlan(precision, compiled=False, device="meta")
    for program, inputs in (
        (programs[0], [picture(40, 32)]),
        (tiny_program, [np.zeros((2, LATENT_SIZE), np.float32), np.zeros((2, len(CLASS_NAMES)), np.float32)]),
    ):
        graph = load_graph(program)
        moved = prepare(graph, plan)
        assert {tensor.device.type for tensor in graph.state_dict().values()} == {"meta"}
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
            run_graph(moved, *inputs)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_makes_the_same_pictures_but_for_last_digits(programs: list[bytes]) -> None:
    exact = prepare(load_graph(programs[0]), FLOAT32)
    moved = prepare(load_graph(programs[0]), ExecutionPlan("float32", compiled=False, device="cuda"))
    first, again = run_graph(moved, picture(40, 32)), run_graph(moved, picture(40, 32))
    assert np.array_equal(first, again)
    assert difference(first, run_graph(exact, picture(40, 32))) < 0.01


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(), reason="needs a C++ compiler and Python.h")
def test_compiled_graphs_serve_every_size_and_thread_without_compiling_again(programs: list[bytes]) -> None:
    exact = [prepare(load_graph(program), FLOAT32) for program in programs]
    compiled = [prepare(load_graph(program), ExecutionPlan("bfloat16", compiled=True)) for program in programs]
    for graph in compiled:
        run_graph(graph, np.zeros((1, 32, 48, 3), np.float32))
    cases = [(direction, height, width) for direction in (0, 1) for height, width in SIZES]

    def make(case: tuple[int, int, int]) -> Floats:
        direction, height, width = case
        return run_graph(compiled[direction], picture(height, width, seed=direction))

    with torch.compiler.set_stance("fail_on_recompile"):
        alone = [make(case) for case in cases]
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(make, cases * 2))
    assert all(np.array_equal(first, second) for first, second in zip(alone * 2, together, strict=True))
    for (direction, height, width), made in zip(cases, alone, strict=True):
        assert difference(made, run_graph(exact[direction], picture(height, width, seed=direction))) < 1
