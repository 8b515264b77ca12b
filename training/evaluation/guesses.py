"""How often the discriminator takes a picture for another class; of models whose discriminator is a classifier."""

from collections.abc import Callable

import torch
from torch import Tensor

from training.evaluation.findings import Findings, share
from training.evaluation.subject import MeasuredPictures, Subject

_ROWS = 250


def measure_guesses(subject: Subject, found: Findings) -> None:
    """Measures the discriminator's error on the test split, beside that of a classifier that was told every label."""
    class_logits, device = subject.class_logits, subject.sampler.device
    assert class_logits

    def error(pictures: MeasuredPictures) -> float:
        return share(~pictures.are(guessed(class_logits, pictures.images, device)))

    found.add("classification_error", error(subject.test), share(~subject.test.right))
    found.protocol["classification_error"] = (
        "share of the test split that the moving average of the discriminator takes for another class, the largest of "
        f"its outputs; on the validation split, of which training saw nothing, {error(subject.validation):.2%}; "
        "reference: the classifier that was trained on every label of the training split"
    )


@torch.inference_mode()
def guessed(class_logits: Callable[[Tensor], Tensor], images: Tensor, device: torch.device) -> Tensor:
    """The class that each picture, uint8 [N, C, H, W], is taken for, int64 [N]; on the CPU."""
    parts = [class_logits(part.to(device).float() / 127.5 - 1).argmax(1).cpu() for part in images.split(_ROWS)]
    return torch.cat(parts)
