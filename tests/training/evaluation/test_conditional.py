"""The whole protocol on generators whose faults are known."""

import pytest
import torch

from training.data import load
from training.evaluation.conditional import TooFewSamplesError, draw_samples, evaluate_generator
from training.evaluation.judging import JudgeConfig
from training.evaluation.report import draw_classes

CONFIG = JudgeConfig(filters=8, features=16, images=12_000, batch=64)
SAMPLES = 300


class Memoriser:
    """Gives images of one split of the digits for a label; `offset` makes it give those of another class."""

    def __init__(self, split, offset=0):
        data = load("digits", split)
        self.by_class = [data.images[data.labels == label].float() / 127.5 - 1 for label in range(10)]
        self.offset = offset

    def __call__(self, z, labels):
        chosen = [self.by_class[(label + self.offset) % 10] for label in labels.tolist()]
        picks = (z[:, 0].abs() * 1e4).long().tolist()
        return torch.stack([images[pick % len(images)] for images, pick in zip(chosen, picks, strict=True)])


@pytest.fixture(scope="module")
def evaluate(tmp_path_factory):
    cache = tmp_path_factory.mktemp("judges")

    def run(generator, **options):
        return evaluate_generator(
            generator, 4, "digits", cache_dir=cache, config=CONFIG, **{"samples": SAMPLES, **options}
        )

    return run


def test_a_memoriser_looks_perfect_but_is_caught(evaluate):
    figures, _ = evaluate(Memoriser("train"))

    assert figures["class_consistency"].value > 0.95
    assert figures["coverage"].value > 0.7
    assert figures["coverage"].value == pytest.approx(figures["coverage"].reference, abs=0.15)
    assert figures["exact_copies"].value == SAMPLES
    assert figures["nearest_training_pixels_ratio"].value == 0
    assert figures["nearest_training_features_median"].value == pytest.approx(0, abs=1e-3)
    assert figures["nearest_training_pixels_share_below"].value == 1
    # The reference side is real, unseen images.
    assert figures["exact_copies"].reference < 5
    assert figures["nearest_training_pixels_median"].reference > 1


def test_unseen_real_images_are_as_good_as_their_reference(evaluate):
    figures, _ = evaluate(Memoriser("test"))

    assert figures["class_consistency"].value == pytest.approx(figures["class_consistency"].reference, abs=0.03)
    assert figures["frechet_distance"].value < 2 * figures["frechet_distance"].reference
    assert figures["nearest_training_pixels_ratio"].value == pytest.approx(1, abs=0.05)
    assert figures["nearest_training_pixels_share_below"].value < 0.05


def test_wrong_classes_show_in_consistency_alone(evaluate):
    figures, _ = evaluate(Memoriser("train", offset=1))
    assert figures["class_consistency"].value < 0.05
    assert figures["class_consistency/3"].value < 0.1
    assert figures["precision"].value > 0.8


def test_one_wrong_class_shows_in_its_own_figure(evaluate):
    memoriser = Memoriser("train")
    figures, _ = evaluate(lambda z, labels: memoriser(z, torch.where(labels == 3, 8, labels)))

    assert figures["class_consistency/3"].value < 0.1
    assert figures["class_consistency/8"].value > 0.9
    assert figures["class_consistency"].value == pytest.approx(0.9, abs=0.05)


def test_noise_is_neither_plausible_nor_a_copy(evaluate):
    noise = torch.Generator().manual_seed(0)
    figures, _ = evaluate(lambda z, labels: torch.rand(len(z), 1, 16, 16, generator=noise) * 2 - 1)

    assert figures["class_consistency"].value < 0.3
    assert figures["coverage"].value < 0.1
    assert figures["frechet_distance"].value > 10 * figures["frechet_distance"].reference
    assert figures["nearest_training_pixels_ratio"].value > 1.5


def test_the_protocol_says_what_was_done(evaluate):
    figures, _ = evaluate(Memoriser("train"), samples=110)

    protocol = figures.protocol
    assert "test split of" in protocol["data"]
    assert protocol["samples"].startswith("110,")
    assert protocol["seeds"].startswith("0 to 109:")
    assert protocol["resolution"] == "16x16, 1 channel"
    assert JudgeConfig.model_validate_json(protocol["judge_config"]) == CONFIG
    assert f"test accuracy {figures['class_consistency'].reference:.2%}" in protocol["judge"]


def test_the_report_shows_every_class_and_neighbours(evaluate):
    figures, exhibits = evaluate(Memoriser("train"), title="A memoriser")

    assert len(exhibits.samples) == len(exhibits.reals) == 10 * exhibits.columns
    # A memoriser's samples are their own neighbours.
    assert torch.equal(exhibits.nearest_by_pixels, exhibits.queries)
    page = draw_classes(exhibits, figures)
    assert page.mode == "RGB"
    assert page.width > 1000
    assert page.height > 1000


def test_a_sample_is_a_function_of_its_seed():
    def echo(z, labels):
        return torch.tanh(z.view(len(z), 1, 2, 2))

    many, labels = draw_samples(echo, latent_size=4, classes=3, count=700)
    few, _ = draw_samples(echo, latent_size=4, classes=3, count=5)

    assert torch.equal(many[:5], few)
    assert labels[:7].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert len(many.unique(dim=0)) == 700


def test_too_few_samples_are_refused(evaluate):
    with pytest.raises(TooFewSamplesError, match="--samples 99: at least 100 are needed, 10 of each of 10 classes"):
        evaluate(Memoriser("train"), samples=99)


def test_images_of_another_shape_are_refused(evaluate):
    with pytest.raises(ValueError, match=r"images of \[3, 16, 16\], digits has \[1, 16, 16\]"):
        evaluate(lambda z, labels: torch.zeros(len(z), 3, 16, 16), samples=100)
