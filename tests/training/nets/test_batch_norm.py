"""Batch normalisation over two real processes is that of torch over the whole batch."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from tests.training.processes import together
from training import distributed
from training.nets.batch_norm import BatchNorm1d, BatchNorm2d

CASES = [(BatchNorm1d, nn.BatchNorm1d, (6, 5)), (BatchNorm2d, nn.BatchNorm2d, (6, 5, 3, 4))]


def case(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A batch whose halves differ and whose mean is large beside its deviation, and how much each output counts."""
    batch = torch.randn(shape) + 30
    batch[: len(batch) // 2] *= 1.5
    return batch, torch.randn(shape)


def normalised(kind: type[nn.Module], shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[list[float]]:
    """Outputs, gradients for the inputs and running statistics after one pass of this process's share."""
    torch.manual_seed(0)
    batch, counts = case(shape)
    norm = kind(shape[1])
    for parameter in norm.parameters():
        nn.init.uniform_(parameter)
    with distributed.joined(torch.device("cpu")):
        rank = torch.distributed.get_rank() if distributed.count() > 1 else 0
        share = batch.chunk(distributed.count())[rank].to(dtype).requires_grad_()
        outputs = norm(share)
        (outputs * counts.chunk(distributed.count())[rank]).sum().backward()
    assert outputs.dtype == dtype
    assert share.grad is not None
    results = [outputs, share.grad, *(norm.get_buffer(f"running_{name}") for name in ("mean", "var"))]
    assert norm.num_batches_tracked == 1
    return [result.flatten().tolist() for result in results]


@pytest.mark.parametrize(("ours", "torchs", "shape"), CASES)
def test_two_processes_normalise_as_one_does(ours: type, torchs: type, shape: tuple[int, ...]) -> None:
    outputs, gradients, *statistics = normalised(torchs, shape)
    first, second = (end.result for end in together(*[partial(normalised, ours, shape)] * 2))
    assert first[0] + second[0] == pytest.approx(outputs, rel=1e-4, abs=1e-4)
    assert first[1] + second[1] == pytest.approx(gradients, rel=1e-4, abs=1e-5)
    assert first[2:] == second[2:]
    for found, expected in zip(first[2:], statistics, strict=True):
        assert found == pytest.approx(expected, rel=1e-5)


def test_without_gains_of_its_own_it_is_the_same_for_two_processes() -> None:
    outputs, *_ = normalised(partial(nn.BatchNorm2d, affine=False), (6, 5, 3, 4))
    first, second = (
        end.result for end in together(*[partial(normalised, partial(BatchNorm2d, affine=False), (6, 5, 3, 4))] * 2)
    )
    assert first[0] + second[0] == pytest.approx(outputs, rel=1e-4, abs=1e-4)


def test_a_process_alone_would_normalise_otherwise() -> None:
    """So the test above can fail."""
    batch, _ = case((6, 5))
    shares = torch.cat([nn.BatchNorm1d(5)(share) for share in batch.chunk(2)])
    assert (shares - nn.BatchNorm1d(5)(batch)).abs().max() > 0.5


def test_what_comes_in_as_bfloat16_leaves_as_such() -> None:
    ends = together(*[partial(normalised, BatchNorm2d, (6, 5, 3, 4), torch.bfloat16)] * 2)
    assert [end.error for end in ends] == ["", ""]


@pytest.mark.parametrize(("ours", "torchs", "shape"), CASES)
@pytest.mark.parametrize("is_training", [True, False])
def test_alone_it_is_torchs_bit_for_bit(ours: type, torchs: type, shape: tuple[int, ...], is_training: bool) -> None:
    batch, _ = case(shape)
    first, second = ours(5).train(is_training), torchs(5).train(is_training)
    assert torch.equal(first(batch), second(batch))
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
