"""Words as people write them: what of a text counts when words are compared, and lists of phrases."""

from __future__ import annotations

import re

# Emoji and symbols such as "+" are words to a text encoder; only what separates or quotes is not.
_MARKS = frozenset(",.;:!?\"'`´‘’“”„«»()[]{}<>|/\\-–—_…。、，；：！？（）【】《》「」·*~^")


def letters(text: str) -> str:
    """The comparable part of a word: its letters, digits and symbols beyond punctuation, case folded."""
    return "".join(c for c in text.casefold() if not (c.isspace() or c in _MARKS))


def split_phrases(text: str) -> list[str]:
    """The phrases of an input's text, separated by commas or line ends."""
    return [phrase.strip() for phrase in re.split(r"[,，\n]", text) if phrase.strip()]
