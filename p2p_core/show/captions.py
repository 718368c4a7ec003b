"""Words in captions, and which of them stand out."""

from __future__ import annotations

from collections.abc import Sequence

MarkedText = Sequence[tuple[str, bool]]
"""Words and whether each stands out."""


def plain(text: str) -> MarkedText:
    return [(text, False)]


def marked(text: str) -> MarkedText:
    return [(text, True)]
