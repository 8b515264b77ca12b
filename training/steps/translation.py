"""The step of two translators between two domains (CycleGAN; Zhu et al., 2017, arXiv:1703.10593).

Both generators learn, then both discriminators, which are shown translations of the generators' phase, by way of a
pool of older ones, so that nothing is translated twice.
"""

from __future__ import annotations

from collections.abc import Generator as Stream
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from training.data import ImagePool, UnpairedCrops, UnpairedDataset
from training.grids import grid
from training.nets.translator import Translator, TranslatorPair
from training.steps.phase import Loss, Model, Phase
from training.steps.setup import optimizer_of, to_device

if TYPE_CHECKING:
    from training.config.translation import TranslationConfig

_SHOWN = 4  # pictures of each domain


@dataclass(frozen=True)
class TranslationBatch:
    """What the generators' phase is given; all float32 [B, 3, S, S] in [-1, 1].

    Attributes:
        a: Real pictures of domain A.
        b: Real pictures of domain B.
    """

    a: Tensor
    b: Tensor


@dataclass(frozen=True)
class DiscriminatorBatch(TranslationBatch):
    """What the discriminators' phase is given besides.

    Attributes:
        fake_a: Translations into A, new or from the pool, without gradient.
        fake_b: Translations into B.
    """

    fake_a: Tensor
    fake_b: Tensor


def build(config: TranslationConfig, dataset: UnpairedDataset, device: torch.device) -> Model:
    """Makes the nets, their optimizers, the pools and the two phases.

    Args:
        config: The run's configuration.
        dataset: What the nets are to fit.
        device: Where they live.

    Returns:
        The model, with weights drawn from torch's global random source.
    """
    pair = to_device(config.build_generator(dataset.info), device)
    discriminator_a, discriminator_b = (to_device(config.discriminator.build(), device) for _ in range(2))
    discriminators = nn.ModuleList([discriminator_a, discriminator_b])
    objective = config.adversarial
    crops = UnpairedCrops(dataset, config.batch, config.crop, config.seed, device)
    pool_a, pool_b = (ImagePool(config.pool, config.seed, name) for name in ("A", "B"))

    def batches(step: int) -> Stream[TranslationBatch, Any, None]:
        a, b = crops.batch(step)
        fake_a, fake_b = yield TranslationBatch(a, b)
        yield DiscriminatorBatch(a, b, pool_a.exchange(fake_a, step), pool_b.exchange(fake_b, step))

    def generator_loss(batch: TranslationBatch) -> Loss:
        fake_b, same_b = _translated(pair.a_to_b, batch.a, batch.b, also=config.identity_weight > 0)
        fake_a, same_a = _translated(pair.b_to_a, batch.b, batch.a, also=config.identity_weight > 0)
        cycle = functional.l1_loss(pair.b_to_a(fake_b), batch.a) + functional.l1_loss(pair.a_to_b(fake_a), batch.b)
        statistics = {
            "a_to_b": objective.generator(None, discriminator_b(fake_b)),
            "b_to_a": objective.generator(None, discriminator_a(fake_a)),
            "cycle": cycle,
        }
        loss = statistics["a_to_b"] + statistics["b_to_a"] + config.cycle_weight * cycle
        if same_a is not None and same_b is not None:
            statistics["identity"] = functional.l1_loss(same_a, batch.a) + functional.l1_loss(same_b, batch.b)
            loss = loss + config.identity_weight * statistics["identity"]
        return Loss(loss, statistics, outputs=(fake_a.detach(), fake_b.detach()))

    def discriminator_loss(batch: DiscriminatorBatch) -> Loss:
        losses = {}
        for name, discriminator, real, fake in (
            ("a", discriminator_a, batch.a, batch.fake_a),
            ("b", discriminator_b, batch.b, batch.fake_b),
        ):
            scores = discriminator(torch.cat([real, fake]))  # one pass over both halves
            losses[name] = objective.discriminator(*scores.chunk(2))
        return Loss(losses["a"] + losses["b"], losses)

    return Model(
        generator=pair,
        phases=[
            Phase(
                "generators", pair, optimizer_of(pair, config.optimizer.generator_lr, config.optimizer), generator_loss
            ),
            Phase(
                "discriminators",
                discriminators,
                optimizer_of(discriminators, config.optimizer.discriminator_lr, config.optimizer),
                discriminator_loss,
            ),
        ],
        batches=batches,
        sample_grid=_SampleGrid(config, dataset),
        extra_state={"pool_a": pool_a, "pool_b": pool_b},
    )


def _translated(translator: Translator, foreign: Tensor, own: Tensor, *, also: bool) -> tuple[Tensor, Tensor | None]:
    """Translates the foreign pictures, and if asked also those that are of its own domain already.

    One pass does both: instance normalisation keeps pictures apart.
    """
    if not also:
        return translator(foreign), None
    translation, identity = translator(torch.cat([foreign, own])).chunk(2)
    return translation, identity


class _SampleGrid:
    """The same training pictures at every tick; a row has the input, translated, cycled, and its identity."""

    def __init__(self, config: TranslationConfig, dataset: UnpairedDataset) -> None:
        # On the CPU, since a device may have no room for the data set twice.
        self._a, self._b = UnpairedCrops(dataset, _SHOWN, config.crop, config.seed, torch.device("cpu")).batch(0)

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
