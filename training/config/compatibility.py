"""What goes together: nets, conditions and terms provide, objectives and terms need, and some pairs contradict.

One validator for every configuration of a GAN; a refusal names the flag to change.
"""

from collections.abc import Mapping

REMEDIES = {
    "label": "--set condition.kind=label and data with classes",
    "attributes": "--set condition.kind=attributes and data with attributes",
    "label or attributes": "--set condition.kind=label and data with classes, or condition.kind=attributes and data "
    "with attributes",
    "label input": "--set discriminator.concat=true, discriminator.projection=true or terms.classifier.weight=0.2",
    "attribute input": "--set discriminator.concat=true, discriminator.projection=true or terms.attributes.weight=1",
    "categorical codes": "--set condition.kind=codes and condition.categorical=10",
    "continuous codes": "--set condition.kind=codes and condition.continuous=1,1",
    "information": "--set terms.categorical_information.weight=1 or terms.continuous_information.weight=0.5",
    "cross entropy": "--set objective=non_saturating or objective=minimax",
    "energy": "--set discriminator.kind=autoencoder",
    "class logits": "--set objective=classes",
    "labelled images": "--set terms.labelled.weight=1",
    "lipschitz": "--set terms.gradient_penalty.weight=10, discriminator.norm=spectral or discriminator.clip=0.01",
}
"""What brings each thing that may be needed."""

DATA_REMEDIES = {
    "labels": "no classes, which {recipe} needs: put the pictures of each class in a folder of its own, or train a "
    "recipe without labels, e.g. dcgan",
    "attributes": "no attributes, which {recipe} needs: train on data of which numbers are known, or --set "
    "condition.kind=label or condition.kind=none",
}
"""What is said of data that lack what must be known of them, by the names of `ImageDataset.known`."""

CONTRADICTIONS = {
    ("spectral norm", "gradient penalty"): "two constraints hold one slope: --set discriminator.norm=layer, or "
    "terms.gradient_penalty.weight=0",
    ("clipped weights", "gradient penalty"): "two constraints hold one slope: --set discriminator.clip=0, or "
    "terms.gradient_penalty.weight=0",
    ("clipped weights", "spectral norm"): "two constraints hold one slope: --set discriminator.clip=0, or "
    "discriminator.norm=batch",
    ("batch norm", "slope of an image"): "under batch normalisation a score depends on the whole batch, so an image "
    "has no slope of its own: --set discriminator.norm=layer, or terms.gradient_penalty.weight=0 and terms.r1.weight=0 "
    "and terms.r2.weight=0",
    ("concatenated condition", "classifier"): "the classifier would only read the label it is to guess: "
    "--set discriminator.concat=false, or terms.classifier.weight=0",
    ("concatenated condition", "regressor"): "the regressor would only read the attributes that it is to guess: "
    "--set discriminator.concat=false, or terms.attributes.weight=0",
    ("minibatch discrimination", "slope of an image"): "where images are compared, a score depends on the whole batch, "
    "so an image has no slope of its own: --set discriminator.minibatch=0, or terms.gradient_penalty.weight=0 and "
    "terms.r1.weight=0 and terms.r2.weight=0",
    ("several outcomes", "projection"): "a projection adds one number to a score, and here a score has several: "
    "--set objective=non_saturating, or discriminator.projection=false and discriminator.concat=true",
    ("several outcomes", "slope of an image"): "a score of several numbers has no one slope: "
    "--set objective=non_saturating, or terms.gradient_penalty.weight=0 and terms.r1.weight=0 and terms.r2.weight=0",
    ("spectral norm", "normal weights"): "spectral normalisation divides a weight's scale out: "
    "--set discriminator.init=torch, or discriminator.norm=batch",
}
"""Pairs of what is provided that make no sense together, and why."""


def find_fault(needs: Mapping[str, str], provided: frozenset[str]) -> str | None:
    """Says what does not go together.

    Args:
        needs: What is needed, and by which setting.
        provided: All that is there.

    Returns:
        The first fault, with the flags that mend it; None where there is none.
    """
    for need, setting in needs.items():
        if need not in provided:
            return f"{setting} needs {need}, which nothing provides: {REMEDIES[need]}"
    return next((why for pair, why in CONTRADICTIONS.items() if provided.issuperset(pair)), None)
