"""The ways that a traversal can go: a sweep of inputs, an interpolation between seeds, arithmetic with latents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What each code is set to: a float for a continuous code; the index (int) or name (str) of a categorical code's value.
Codes = Mapping[str, int | float | str]
# What each attribute is set to, in the range that the card says.
Attributes = Mapping[str, float]
Label = int | str


@dataclass(frozen=True)
class Axis:
    """What moves in a sweep: through given values, or in equal steps.

    With neither, the classes or a categorical code take all values, and a continuous code or an attribute nine steps
    through its range.

    Attributes:
        code: Id or name of a code, name of an attribute, or "class" for models with classes.
        values: The stops: numbers of a continuous code or an attribute, indices of a categorical code or of classes.
        start: The first of equal steps.
        end: The last of them; may be below `start`.
        steps: Their number, both ends included; at least 2.
    """

    code: str
    values: Sequence[float] | None = None
    start: float | None = None
    end: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        """Refuse half a range, and values beside one.

        Raises:
            ValueError: The fields do not go together.
        """
        given = [value is not None for value in (self.start, self.end, self.steps)]
        if any(given) and (not all(given) or self.values is not None):
            raise ValueError(f"axis {self.code!r}: give values, or all of start, end and steps, or none of them")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Moves one input, or two as the columns and rows of a grid, and holds everything else.

    Attributes:
        x: What moves from frame to frame.
        y: What moves from row to row.
        seed: Of the latent. Default: the gateway picks one.
        label: The class that is held, by id or name. Default: drawn from the seed.
        codes: The codes that are held. Default: drawn from the seed.
        attributes: The attributes that are held. Default: drawn from the seed.
    """

    x: Axis
    y: Axis | None = None
    seed: int | None = None
    label: Label | None = None
    codes: Codes | None = None
    attributes: Attributes | None = None


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Goes from one latent to another on the sphere, and mixes classes, codes and attributes linearly on the way.

    What the last frame shows is as given for it. Where nothing is, neither label nor codes nor attributes, it is as in
    the first frame, or drawn from `to_seed` where nothing is given for that either.

    Attributes:
        from_seed: Seed of the first frame.
        to_seed: Seed of the last frame.
        from_label: Class of the first frame. Default: drawn from `from_seed`.
        to_label: Class of the last frame. Default: drawn from `to_seed`.
        from_codes: Codes of the first frame. Default: drawn from `from_seed`.
        to_codes: Codes of the last frame. Default: drawn from `to_seed`.
        from_attributes: Attributes of the first frame. Default: drawn from `from_seed`.
        to_attributes: Attributes of the last frame. Default: drawn from `to_seed`.
        steps: Number of frames, both ends included; at least 2. Default: 9.
    """

    from_seed: int
    to_seed: int
    from_label: Label | None = None
    to_label: Label | None = None
    from_codes: Codes | None = None
    to_codes: Codes | None = None
    from_attributes: Attributes | None = None
    to_attributes: Attributes | None = None
    steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Is a − b + c of latents. Each term is the mean of the latents of its seeds; three each do well.

    Attributes:
        a: Seeds of the term a, at least one.
        b: Seeds of the term b, at least one.
        c: Seeds of the term c, at least one.
        label: What all frames show. Default: drawn from the first seed of a.
        codes: Codes of all frames. Default: drawn from the first seed of a.
        attributes: Attributes of all frames. Default: drawn from the first seed of a.
    """

    a: Sequence[int]
    b: Sequence[int]
    c: Sequence[int]
    label: Label | None = None
    codes: Codes | None = None
    attributes: Attributes | None = None


Path = Sweep | Interpolation | Arithmetic
