"""Whether a sample is of the class that was asked for; of models whose condition is a label."""

from training.evaluation.page import bars, headed
from training.evaluation.result import CONSISTENCY, Metric
from training.evaluation.subject import Section, Subject, share


def measure_classes(subject: Subject) -> Section:
    """Measures how often the classifier takes a sample for its class, beside its accuracy on the test split."""
    fake, real = subject.samples, subject.test
    metrics, rows = [Metric(name=CONSISTENCY, value=share(fake.right), reference=share(real.right))], []
    for label, name in enumerate(subject.train.class_names):
        ours, theirs = (pictures.right[pictures.labels == label] for pictures in (fake, real))
        rows.append((name, share(ours), share(theirs) if len(theirs) else None))
        metrics.append(Metric(name=f"{CONSISTENCY}/{name}", value=rows[-1][1], reference=rows[-1][2]))
    protocol = {CONSISTENCY: "share that the classifier takes for the class asked for; reference: real test images"}
    return Section(metrics, protocol, [headed("Class consistency (line: real images)", bars(rows))])
