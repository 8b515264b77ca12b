"""The CycleGAN, as in its paper and for two CPU cores."""

from training.config import CropConfig, EmaConfig, OptimizerConfig
from training.config.translation import TranslationConfig
from training.nets.translator import PatchConfig, TranslatorConfig
from training.recipes.recipe import Recipe

_HORSES = {"domain_a": "horse", "domain_b": "zebra"}

CYCLEGAN = Recipe(
    paper="Zhu et al., 2017, arXiv:1703.10593",
    line="Pictures of one domain as pictures of another, both ways, at 256 pixels; for a GPU",
    # The authors' 200 epochs of the longer domain's 1,334 pictures.
    defaults=TranslationConfig(recipe="cyclegan", data="horse2zebra", total_images=266_800, tick=5_000),
    on={"horse2zebra": _HORSES},
)

CYCLEGAN_LITE = Recipe(
    paper="Zhu et al., 2017, arXiv:1703.10593",
    line="The same at 128 pixels with narrow nets; for two CPU cores, or minutes on a GPU",
    # Crops of several scales let the nets translate pictures of 128 to 256 pixels. There is no identity loss, which
    # costs a third of a step's time; nets that begin with the picture itself keep its colours without (the first try
    # had neither, and after 2,000 steps light and dark were swapped).
    defaults=TranslationConfig(
        recipe="cyclegan-lite",
        data="horse2zebra",
        total_images=25_000,
        tick=1_000,
        cycle_weight=3,
        identity_weight=0,
        generator=TranslatorConfig(width=32, blocks=6, residual=True),
        discriminator=PatchConfig(width=32),
        crop=CropConfig(size=128, min_side=128, max_side=256),
        optimizer=OptimizerConfig(generator_lr=3e-4, discriminator_lr=3e-4, decay_start=0.5),
        ema=EmaConfig(half_life=500),
    ),
    on={"horse2zebra": _HORSES},
)
