"""pix2pix, as in its paper, and for small pictures on two CPU cores."""

from training.config.paired import PairedConfig
from training.recipes.recipe import SMALL, Recipe

PIX2PIX = Recipe(
    paper="Isola et al., 2017, arXiv:1611.07004",
    line="Pictures of one domain as pictures of another, one way, learnt from pairs, at 256 pixels; for a GPU",
    # The authors' 200 epochs of 400 facades, whose labels are turned into photographs.
    defaults=PairedConfig(recipe="pix2pix", data="facades", total_images=80_000, tick=4_000),
    on={
        "facades": {"domain_a": "photo", "domain_b": "labels", "direction": "b_to_a"},
        "emoji": {
            **SMALL,
            "domain_a": "google",
            "domain_b": "twitter",
            "batch": 4,
            "total_images": 100_000,
            "tick": 4_000,
            "generator.width": 24,
            "generator.depth": 5,
            "crop.size": 64,
            "crop.min_side": 64,
            "crop.max_side": 70,
            "crop.mirror": False,
        },
    },
)
