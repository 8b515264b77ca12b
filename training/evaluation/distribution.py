"""How near the distribution of samples is to that of the data; of every model that makes pictures from noise."""

from PIL import Image

from training import distributed
from training.evaluation.features import FIXED
from training.evaluation.findings import Findings, share
from training.evaluation.metrics import frechet_distance, kernel_distance, overlap
from training.evaluation.page import beside, headed
from training.evaluation.subject import SHOWN, MeasuredPictures, Subject
from training.grids import enlarged_grid

K = 5  # which neighbour the balls of precision, recall, density and coverage reach to
_MOST_ROWS = 20


def measure_distribution(subject: Subject, found: Findings) -> None:
    """Measures samples against the test split, beside as many validation pictures against it."""
    fake, real, baseline = subject.samples, subject.test, subject.validation
    distributed.say(f"comparing samples with {len(real.images):,} test images…")
    names = subject.train.class_names[:_MOST_ROWS] if fake.labels is not None else ()
    sheets = {"Samples" + (", one row a class" if names else ""): fake, "Real images of the test split": real}
    found.panels.append(beside(*(headed(heading, _sheet(pictures, names)) for heading, pictures in sheets.items())))
    for name, distance in (("frechet_distance", frechet_distance), ("kernel_distance", kernel_distance)):
        found.add(name, distance(real.features, fake.features), distance(real.features, baseline.features))
    references = overlap(real.features, baseline.features, K)
    for name, value in overlap(real.features, fake.features, K).items():
        found.add(name, value, references[name])
    found.protocol.update(_protocol(subject))


def _sheet(pictures: MeasuredPictures, names: tuple[str, ...]) -> Image.Image:
    """The first pictures: of each class in a row, where classes have names."""
    if not names:
        return enlarged_grid(pictures.images[: SHOWN * SHOWN], SHOWN)
    sheet = pictures.images.new_full((len(names), SHOWN, *pictures.images.shape[1:]), 255)
    for label, row in enumerate(sheet):
        some = pictures.images[pictures.labels == label][:SHOWN]
        row[: len(some)] = some
    return enlarged_grid(sheet.flatten(0, 1), SHOWN, rows=names)


def _protocol(subject: Subject) -> dict[str, str]:
    fake, test, held_out, info = subject.samples, subject.test, subject.validation, subject.train.info
    features = FIXED
    if subject.classifier:
        features = (
            f"penultimate layer of a classifier trained on {len(subject.train):,} training images, "
            f"{subject.settings.features} values after ReLU, float32; limits {subject.settings.model_dump_json()}; "
            f"validation accuracy {share(held_out.right):.2%}, test accuracy {share(test.right):.2%}"
        )
    return {
        "data": f"{subject.train.name}: samples against the test split, {len(test.images):,} images; choices were made "
        f"on the validation split, {len(held_out.images):,} images held out of the training split",
        "samples": f"{len(fake.images):,}, rounded to 8 bits",
        "seeds": f"0 to {len(fake.images) - 1:,}: latent i, then its condition, under torch.Generator().manual_seed(i)"
        + ("; sample i is of class i mod the number of classes" if fake.labels is not None else "")
        + ("; attributes are those of a validation image, of that class" if fake.attributes is not None else ""),
        "resolution": f"{info.size}x{info.size}, {info.channels} channel{'s' if info.channels > 1 else ''}",
        "features": features,
        "frechet_distance": "Heusel et al. 2017 on these features, float64; not comparable with Inception's",
        "kernel_distance": "Binkowski et al. 2018 on these features: unbiased squared MMD, kernel (x.y / D + 1)^3",
        "overlap": f"precision, recall (Kynkaanniemi et al. 2019), density, coverage (Naeem et al. 2020), k = {K}",
        "real_baseline": f"reference of distances and overlap: the {len(held_out.images):,} validation images, which "
        "neither the model nor the classifier was trained on, against the test split; fewer images raise the Frechet "
        "distance",
    }
