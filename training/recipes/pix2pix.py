"""pix2pix, as in its paper, and for small pictures on two CPU cores."""

from training.config.paired import PairedConfig
from training.recipes.recipe import Recipe

PIX2PIX = Recipe(
    paper="Isola et al., 2017, arXiv:1611.07004",
    line="Pictures of one domain as pictures of another, one way, learnt from pairs, at 256 pixels; for a GPU",
    # The authors' 200 epochs of 400 facades, whose labels are turned into photographs.
    defaults=PairedConfig(recipe="pix2pix", data="facades", total_images=80_000, tick=4_000),
    on={
        "facades": {"domain_a": "photo", "domain_b": "labels", "direction": "b_to_a"},
        # Both styles draw the same things in other shapes: a net that begins with the picture itself keeps the shapes,
        # and a discriminator that learns slowly leaves fewer coloured fringes on what cannot be foreseen.
        "emoji": {
            "domain_a": "google",
            "domain_b": "twitter",
            "direction": "b_to_a",
            "batch": 8,
            "total_images": 40_000,
            "tick": 2_000,
            "precision": "float32",
            "l1_weight": 50,
            "generator.width": 24,
            "generator.depth": 5,
            "generator.norm": "batch",
            "generator.dropout": 0.3,
            "generator.upsampling": "resize",
            "generator.residual": True,
            "discriminator.width": 24,
            "discriminator.halvings": 2,
            "crop.size": 64,
            "crop.min_side": 64,
            "crop.max_side": 70,
            "crop.mirror": False,
            "optimizer.generator_lr": 4e-4,
            "optimizer.discriminator_lr": 1e-4,
            "ema.half_life": 2_000,
        },
    },
)
