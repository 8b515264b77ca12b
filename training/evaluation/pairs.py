"""How near translations are to their targets, beside how near the untranslated pictures are."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.evaluation.findings import Findings

PAIRS_PROTOCOL = {
    "l1": "mean absolute difference to the target, of intensities in 0 to 1, mean over pictures; untranslated: of the "
    "input itself to the target",
    "ssim": "structural similarity to the target, 1 where they are equal (Wang et al. 2004; torchmetrics, Gaussian "
    "window of 11 pixels and deviation 1.5), mean over pictures and channels; untranslated: of the input itself",
}
"""How these figures are taken."""


def measure_pairs(
    way: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], targets: Sequence[Tensor], found: Findings
) -> None:
    """Adds L1 and SSIM of translations, uint8 [3, H, W] each, and of the pictures that were translated."""
    for name, pictures in ((way, outputs), ("untranslated", inputs)):
        pairs = [(one.float() / 255, other.float() / 255) for one, other in zip(pictures, targets, strict=True)]
        found.add(f"l1/{name}", float(torch.stack([(one - other).abs().mean() for one, other in pairs]).mean()))
        found.add(f"ssim/{name}", float(torch.stack([_similarity(*pair) for pair in pairs]).mean()))


def _similarity(picture: Tensor, target: Tensor) -> Tensor:
    import training.torchvision_cpu  # noqa: F401, I001  # torchmetrics imports torchvision
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(picture[None], target[None], data_range=1.0)
    assert isinstance(similarity, Tensor)
    return similarity
