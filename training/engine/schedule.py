"""How the learning rates move over a run."""

from training.config import RunConfig


def learning_rate_factor(config: RunConfig, images: int) -> float:
    """What both learning rates are multiplied by: 1, then falling linearly to 0 at the end of the run.

    Args:
        config: The run's length, and the share of it that keeps the rates.
        images: Images seen so far, at most the run's length.

    Returns:
        A number in [0, 1].
    """
    constant = config.total_images * config.optimizer.decay_start
    if images <= constant:
        return 1.0
    return (config.total_images - images) / (config.total_images - constant)
