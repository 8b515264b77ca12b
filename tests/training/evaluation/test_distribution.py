"""Distribution, novelty and classes on generators whose faults are known."""

from dataclasses import replace

import pytest
import torch

from tests.training.evaluation.conftest import Labelled, NoCondition
from training.evaluation.evaluate import measure
from training.evaluation.findings import EvaluationError
from training.evaluation.page import page

SAMPLES = 300


class Memoriser:
    """Gives images of one split of the digits for a label; `offset` makes it give those of another class."""

    def __init__(self, data, offset=0):
        self.by_class = [data.images[data.labels == label].float() / 127.5 - 1 for label in range(10)]
        self.offset = offset

    def __call__(self, z, labels):
        chosen = [self.by_class[(label + self.offset) % 10] for label in labels.tolist()]
        picks = (z[:, 0].abs() * 1e4).long().tolist()
        return torch.stack([images[pick % len(images)] for images, pick in zip(chosen, picks, strict=True)])


@pytest.fixture(scope="module")
def figures_of(subject_of):
    return lambda generator, condition=None, **options: measure(subject_of(generator, condition, **options)).evaluation


def test_a_memoriser_looks_perfect_but_is_caught(figures_of, digits):
    figures = figures_of(Memoriser(digits("train")))

    assert figures["class_consistency"].value > 0.95
    assert figures["coverage"].value > 0.7
    assert abs(figures["kernel_distance"].value) < 0.2
    assert figures["exact_copies"].value == SAMPLES
    assert figures["nearest_training_pixels_ratio"].value == 0
    assert figures["nearest_training_features_median"].value == pytest.approx(0, abs=1e-3)
    assert figures["nearest_training_pixels_share_below"].value == 1
    # The reference side is real, unseen images.
    assert figures["exact_copies"].reference < 5
    assert figures["nearest_training_pixels_median"].reference > 1


def test_unseen_real_images_are_as_good_as_their_reference(figures_of, digits):
    figures = figures_of(Memoriser(digits("test")))

    assert figures["class_consistency"].value == pytest.approx(figures["class_consistency"].reference, abs=0.03)
    assert figures["frechet_distance"].value < 2 * figures["frechet_distance"].reference
    assert figures["nearest_training_pixels_ratio"].value == pytest.approx(1, abs=0.05)
    assert figures["nearest_training_pixels_share_below"].value < 0.05


def test_the_baseline_is_of_validation_pictures_that_the_classifier_never_saw(subject_of, digits):
    subject = subject_of(Memoriser(digits("train")))
    assert len(subject.validation.images) == len(digits("train")) // 9
    seen = {image.numpy().tobytes() for image in subject.train.images}
    assert not any(image.numpy().tobytes() in seen for image in subject.validation.images)


def test_a_wrong_class_shows_in_its_own_figure_alone(figures_of, digits):
    memoriser = Memoriser(digits("train"))
    figures = figures_of(lambda z, labels: memoriser(z, torch.where(labels == 3, 8, labels)))

    assert figures["class_consistency/3"].value < 0.1
    assert figures["class_consistency/8"].value > 0.9
    assert figures["class_consistency"].value == pytest.approx(0.9, abs=0.05)
    assert figures["precision"].value > 0.8


def test_noise_is_neither_plausible_nor_a_copy(figures_of):
    noise = torch.Generator().manual_seed(0)
    figures = figures_of(lambda z, labels: torch.rand(len(z), 1, 16, 16, generator=noise) * 2 - 1)

    assert figures["class_consistency"].value < 0.3
    assert figures["coverage"].value < 0.1
    for name in ("frechet_distance", "kernel_distance"):
        assert figures[name].value > 10 * abs(figures[name].reference)
    assert figures["nearest_training_pixels_ratio"].value > 1.5


def test_the_protocol_says_what_was_done(figures_of, digits):
    figures = figures_of(Memoriser(digits("train")), count=110)

    protocol = figures.protocol
    assert "test split" in protocol["data"]
    assert "144 images held out of the training split" in protocol["data"]
    assert protocol["samples"].startswith("110,")
    assert protocol["seeds"].startswith("0 to 109:")
    assert protocol["resolution"] == "16x16, 1 channel"
    assert "classifier trained on 1,298 training images" in protocol["features"]
    assert "validation accuracy 9" in protocol["features"]
    assert f"test accuracy {figures['class_consistency'].reference:.2%}" in protocol["features"]


def test_a_model_without_condition_has_the_same_figures_but_for_classes(figures_of, digits):
    memoriser = Memoriser(digits("test"))

    figures = figures_of(lambda z, condition: memoriser(z, (z[:, 1].abs() * 1e4).long() % 10), NoCondition())

    names = {metric.name for metric in figures.metrics}
    assert {"coverage", "kernel_distance", "exact_copies"} <= names
    assert not any(name.startswith(("class_consistency", "served")) for name in names)


def test_colour_pictures_without_classes_are_measured_in_the_fixed_network(figures_of, digits):
    pytest.importorskip("efficientnet_lite_pytorch")

    def photographs(split):
        images = digits(split).images[:12].repeat(1, 3, 2, 2)
        return replace(digits(split), images=images, labels=torch.zeros(12, dtype=torch.int64), class_names=("all",))

    real = photographs("test").images.float() / 127.5 - 1
    figures = figures_of(
        lambda z, _: real[(z[:, 0].abs() * 1e4).long() % 12], NoCondition(), load=photographs, count=100
    )

    assert figures.protocol["features"].startswith("EfficientNet-Lite0")
    assert figures.protocol["resolution"] == "32x32, 3 channels"
    assert figures["coverage"].value == 1
    assert figures["precision"].value == 1
    assert figures["exact_copies"].value == 0


def test_the_report_shows_every_class_and_neighbours(subject_of, digits):
    found = measure(subject_of(Memoriser(digits("train"))))
    sheet = page("A memoriser", found.evaluation, found.panels)
    assert sheet.mode == "RGB"
    assert sheet.width > 1000
    assert sheet.height > 1000


def test_a_classifier_near_chance_judges_no_classes(figures_of, digits):
    def shuffled(split):
        labels = torch.randint(10, (len(digits(split)),), generator=torch.Generator().manual_seed(0))
        return replace(digits(split), labels=labels)

    figures = figures_of(Memoriser(digits("train")), load=shuffled)

    assert not any(metric.name.startswith("class_consistency") for metric in figures.metrics)
    assert figures["coverage"].value > 0
    assert "left out: the classifier is near chance, " in figures.protocol["class_figures"]


def test_too_few_samples_are_refused(figures_of, digits):
    with pytest.raises(EvaluationError, match="--samples 99: at least 100 are needed, 10 of each of 10 classes"):
        figures_of(Memoriser(digits("train")), count=99)


def test_too_few_pictures_are_refused(figures_of, digits):
    def few(split):
        return replace(digits(split), images=digits(split).images[:9], labels=digits(split).labels[:9])

    with pytest.raises(EvaluationError, match="digits: the test split has 9 pictures; an evaluation needs at least 10"):
        figures_of(Memoriser(digits("train")), Labelled(), load=lambda s: few(s) if s == "test" else digits(s))
