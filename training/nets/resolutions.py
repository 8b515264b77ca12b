"""The resolutions that maps pass through between a few pixels and an image, and how many channels they have there."""

from training.config import ConfigError

_SMALLEST = (4, 7)  # of the lowest resolution, the least and the most


def resolutions(size: int) -> list[int]:
    """Each twice the one before, from 4, 5, 6 or 7 pixels to the image.

    Args:
        size: Height and width of the image.

    Returns:
        Two resolutions at least.

    Raises:
        ConfigError: If there are none for this size; the message names the flag.
    """
    found = [size]
    while found[0] % 2 == 0 and found[0] >= 2 * _SMALLEST[0]:
        found.insert(0, found[0] // 2)
    if len(found) == 1 or found[0] > _SMALLEST[1]:
        raise ConfigError(
            f"--size {size}: nets of this kind make 4, 5, 6 or 7 times a power of two, e.g. 32 or 64; or --set "
            "generator.kind=patches and discriminator.kind=patches"
        )
    return found


def channels_at(levels: int, width: int, max_width: int) -> list[int]:
    """Channels at each resolution, the lowest first: twice as many at each lower one, up to a limit.

    Args:
        levels: How many resolutions there are.
        width: Channels at the highest.
        max_width: The most at any.
    """
    return [min(width << level, max_width) for level in reversed(range(levels))]
