"""Whether a sample is of the class that was asked for; of models whose condition is a label."""

from training.evaluation.findings import Findings, share
from training.evaluation.subject import Subject


def measure_classes(subject: Subject, found: Findings) -> None:
    """Measures how often the classifier takes a sample for its class, beside its accuracy on the test split."""
    fake, real = subject.samples, subject.test
    found.add("class_consistency", share(fake.right), share(real.right))
    for label, name in enumerate(subject.train.class_names):
        ours, theirs = (pictures.right[pictures.labels == label] for pictures in (fake, real))
        found.add(f"class_consistency/{name}", share(ours), share(theirs) if len(theirs) else None)
    found.protocol["class_consistency"] = (
        "share that the classifier takes for the class asked for; reference: real test images"
    )
