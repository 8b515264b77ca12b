"""A trunk of layers one behind the other, convolutional or fully connected, which may look at the condition."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from training.nets.discriminator import ConcatenatingConfig, ConditionEmbedding, Trunk, held, norm_of


class LayeredTrunk(Trunk):
    """Layers, the norm behind all but the first, and leaky ReLUs of slope 0.2."""

    def __init__(
        self,
        layers: Sequence[nn.Conv2d | nn.Linear],
        config: ConcatenatingConfig,
        *,
        condition_size: int,
        features: int,
    ) -> None:
        """Makes the net; see `DiscriminatorConfig.build`.

        Args:
            layers: All of them, in order.
            config: Says what holds them, and whether they look at the condition.
            condition_size: Numbers in a condition, if they do.
            features: Values that the last layer gives for an image.
        """
        super().__init__()
        self.features = features
        widths = [layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features for layer in layers]
        are_maps = isinstance(layers[0], nn.Conv2d)
        self.layers = nn.ModuleList([held(layer, config.norm) for layer in layers])
        self.norms = nn.ModuleList(
            [norm_of(config.norm if index else "none", width, of_maps=are_maps) for index, width in enumerate(widths)]
        )
        # Planes that hold the condition, put beside a convolution's input, add one number to each of its output
        # channels (the image's border apart). These embeddings are those numbers, without the planes' cost.
        self.concatenated = nn.ModuleList(
            [ConditionEmbedding(condition_size, width) for width in widths] if config.concat else []
        )

    def forward(self, images: Tensor, condition: Tensor | None) -> Tensor:  # noqa: D102
        maps = images
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            maps = norm(layer(maps))
            if self.concatenated:
                shift = self.concatenated[index](condition).to(maps.dtype)
                maps = maps + shift.view(*shift.shape, *[1] * (maps.ndim - 2))
            maps = functional.leaky_relu(maps, 0.2, inplace=True)
        return maps.flatten(1)
