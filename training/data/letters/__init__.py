"""Pictures of single letters from fonts, with the character as their class and the font's style in numbers."""

from training.data.letters.source import letters

__all__ = ["letters"]
