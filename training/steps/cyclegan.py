"""The step of a CycleGAN (Zhu et al., 2017, arXiv:1703.10593): both generators, then both discriminators.

The discriminators are shown translations of the generators' phase, by way of a pool of older ones, so that nothing is
translated twice.
"""

from collections.abc import Generator as Stream
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from training.config import CycleGanConfig
from training.data import ImagePool, Split, UnpairedCrops, UnpairedDataset, UnpairedInfo, load_unpaired
from training.grids import grid
from training.nets.translator import PatchDiscriminator, Translator, TranslatorPair
from training.objectives import OBJECTIVES
from training.steps.phase import Loss, Model, Phase
from training.steps.placing import adam, placed

_VIEWED = 4  # pictures of each domain


@dataclass(frozen=True)
class Batch:
    """What the generators' phase is given; all float32 [B, 3, S, S] in [-1, 1].

    Attributes:
        a: Real pictures of domain A.
        b: Real pictures of domain B.
    """

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class JudgedBatch(Batch):
    """What the discriminators' phase is given besides.

    Attributes:
        fake_a: Translations into A, new or from the pool, without gradient.
        fake_b: Translations into B.
    """

    fake_a: Tensor
    fake_b: Tensor


def load_data(config: CycleGanConfig, split: Split, data_dir: Path | None) -> UnpairedDataset:
    """The data set that the configuration names; see `training.data.load_unpaired`."""
    return load_unpaired(config.data, split, data_dir, max_side=config.crop.max_side)


def build(config: CycleGanConfig, dataset: UnpairedDataset, device: torch.device) -> Model:
    """Makes the nets, their optimizers, the pools and the two phases.

    Args:
        config: The run's configuration.
        dataset: What the nets are to fit.
        device: Where they live.

    Returns:
        The model, with weights drawn from torch's global random source.
    """
    pair = placed(build_generator(config, dataset.info), device)
    judge_a, judge_b = (placed(PatchDiscriminator(config.discriminator.width), device) for _ in range(2))
    judges = nn.ModuleList([judge_a, judge_b])
    objective = OBJECTIVES[config.objective]
    crops = UnpairedCrops(dataset, config.batch, config.crop, config.seed, device)
    pool_a, pool_b = (ImagePool(config.pool, config.seed, name) for name in ("A", "B"))

    def feed(step: int) -> Stream[Batch, Any, None]:
        a, b = crops.batch(step)
        fake_a, fake_b = yield Batch(a, b)
        yield JudgedBatch(a, b, pool_a.exchange(fake_a, step), pool_b.exchange(fake_b, step))

    def generator_loss(batch: Batch) -> Loss:
        fake_b, same_b = _translated(pair.a_to_b, batch.a, batch.b, also=config.identity_weight > 0)
        fake_a, same_a = _translated(pair.b_to_a, batch.b, batch.a, also=config.identity_weight > 0)
        cycle = functional.l1_loss(pair.b_to_a(fake_b), batch.a) + functional.l1_loss(pair.a_to_b(fake_a), batch.b)
        statistics = {
            "a_to_b": objective.generator(judge_b(fake_b)),
            "b_to_a": objective.generator(judge_a(fake_a)),
            "cycle": cycle,
        }
        loss = statistics["a_to_b"] + statistics["b_to_a"] + config.cycle_weight * cycle
        if same_a is not None and same_b is not None:
            statistics["identity"] = functional.l1_loss(same_a, batch.a) + functional.l1_loss(same_b, batch.b)
            loss = loss + config.identity_weight * statistics["identity"]
        return Loss(loss, statistics, made=(fake_a.detach(), fake_b.detach()))

    def discriminator_loss(batch: JudgedBatch) -> Loss:
        losses = {}
        for name, judge, real, fake in (("a", judge_a, batch.a, batch.fake_a), ("b", judge_b, batch.b, batch.fake_b)):
            scores = judge(torch.cat([real, fake]))  # one pass over both halves
            losses[name] = objective.discriminator(*scores.chunk(2))
        return Loss(losses["a"] + losses["b"], losses)

    return Model(
        generator=pair,
        phases=[
            Phase("generators", pair, adam(pair, config.optimizer.generator_lr, config.optimizer), generator_loss),
            Phase(
                "discriminators",
                judges,
                adam(judges, config.optimizer.discriminator_lr, config.optimizer),
                discriminator_loss,
            ),
        ],
        feed=feed,
        view=_View(config, dataset),
        memory={"pool_a": pool_a, "pool_b": pool_b},
    )


def build_generator(config: CycleGanConfig, data: UnpairedInfo) -> TranslatorPair:  # noqa: ARG001  # as every family's
    """Both generators, as translating needs them.

    Args:
        config: The run's configuration.
        data: Not needed: the nets fit pictures of any size.

    Returns:
        The nets on the CPU, with weights drawn from torch's global random source.
    """
    shape = config.generator
    a_to_b, b_to_a = (
        Translator(width=shape.width, blocks=shape.blocks, upsampling=shape.upsampling, residual=shape.residual)
        for _ in range(2)
    )
    return TranslatorPair(a_to_b, b_to_a)


def _translated(translator: Translator, foreign: Tensor, own: Tensor, *, also: bool) -> tuple[Tensor, Tensor | None]:
    """Translates the foreign pictures, and if asked also those that are of its own domain already.

    One pass does both: instance normalisation keeps pictures apart.
    """
    if not also:
        return translator(foreign), None
    translation, identity = translator(torch.cat([foreign, own])).chunk(2)
    return translation, identity


class _View:
    """The same training pictures at every tick; a row has the input, translated, cycled, and its identity."""

    def __init__(self, config: CycleGanConfig, dataset: UnpairedDataset) -> None:
        # On the CPU, since a device may have no room for the data set twice.
        self._a, self._b = UnpairedCrops(dataset, _VIEWED, config.crop, config.seed, torch.device("cpu")).batch(0)

    @torch.no_grad()
    def __call__(self, pair: TranslatorPair) -> Image.Image:
        rows = [
            *self._rows(self._a, pair.a_to_b, pair.b_to_a),
            *self._rows(self._b, pair.b_to_a, pair.a_to_b),
        ]
        return grid(torch.cat(rows), columns=4)

    def _rows(self, pictures: Tensor, there: Translator, back: Translator) -> list[Tensor]:
        pictures = pictures.to(next(there.parameters()).device)
        translated = there(pictures)
        columns = (pictures, translated, back(translated), back(pictures))
        return [torch.stack(row) for row in zip(*columns, strict=True)]
