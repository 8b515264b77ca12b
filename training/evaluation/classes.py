"""Whether a sample is of the class that was asked for; of models whose condition is a label."""

from training.evaluation.page import bars, headed
from training.evaluation.result import CONSISTENCY, Metric
from training.evaluation.subject import Section, Subject, share


def measure_classes(subject: Subject) -> Section:
    """Measures how often the classifier takes a sample for its class, beside its accuracy on the test split."""
    fake, real, names = subject.samples, subject.test, subject.train.class_names
    assert fake.labels is not None
    assert real.labels is not None
    fake_right, real_right = fake.right, real.right
    metrics = [
        Metric(
            name=f"{CONSISTENCY}/{name}",
            value=share(fake_right[fake.labels == label]),
            reference=share(real_right[real.labels == label]) if (real.labels == label).any() else None,
        )
        for label, name in enumerate(names)
    ]
    rows = [(name, metric.value, metric.reference) for name, metric in zip(names, metrics, strict=True)]
    overall = Metric(name=CONSISTENCY, value=share(fake_right), reference=share(real_right))
    protocol = {CONSISTENCY: "share that the classifier takes for the class asked for; reference: real test images"}
    return Section([overall, *metrics], protocol, [headed("Class consistency (line: real images)", bars(rows))])
