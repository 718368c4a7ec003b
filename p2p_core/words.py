"""Words as people write them: what of a text counts when words are compared, and lists of phrases."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Emoji and symbols such as "+" are words to a text encoder; only what separates or quotes is not.
_MARKS = frozenset(",.;:!?\"'`´‘’“”„«»()[]{}<>|/\\-–—_…。、，；：！？（）【】《》「」·*~^")


def letters(text: str) -> str:
    """The comparable part of a word: its letters, digits and symbols beyond punctuation, case folded."""
    return "".join(c for c in text.casefold() if not (c.isspace() or c in _MARKS))


def split_phrases(text: str) -> list[str]:
    """The phrases of an input's text, separated by commas or line ends."""
    return [phrase.strip() for phrase in re.split(r"[,，\n]", text) if phrase.strip()]


# What a word is, on a text of which each character is replaced by its kind; web/prompts.js has the same.
_WORD = re.compile(
    "HM*"  # a Han character
    "|A[AM]*|K[KM]*"  # a run of Hiragana, of Katakana
    "|TM*"  # a letter of a script that has no blanks
    "|c?[LN][LNM]*(?:j[LN][LNM]*|(?<=N)d(?=N)[LN][LNM]*)*(?:(?<=N)p)?"  # lovely-dog, don't, 1990, 3.5, 50%, #1
    "|RR|[SR]M*(?:Z[SR]M*)*"  # a flag, an emoji
    "|(?:(?!c[LN])[jdpcxMZ])+"  # what stands between words
)
_LETTERS = (
    (0x0E00, 0x0EFF, "T"),  # Thai, Lao
    (0x1000, 0x109F, "T"),  # Myanmar
    (0x1780, 0x17FF, "T"),  # Khmer
    (0x2E80, 0x2FDF, "H"),
    (0x3005, 0x3007, "H"),
    (0x3041, 0x309F, "A"),
    (0x30A0, 0x30FF, "K"),
    (0x31F0, 0x31FF, "K"),
    (0x3400, 0x4DBF, "H"),
    (0x4E00, 0x9FFF, "H"),
    (0xF900, 0xFAFF, "H"),
    (0xFF66, 0xFF9F, "K"),
    (0x20000, 0x3FFFF, "H"),
)
_SINGLE = {
    **dict.fromkeys("'’-‐‑_", "j"),
    **dict.fromkeys(".,:", "d"),
    **dict.fromkeys("%‰°", "p"),
    **dict.fromkeys("#@$€£¥", "c"),
    "\u200d": "Z",
    "ー": "M",
}


@cache
def _kind(c: str) -> str:
    """A letter for the kind of a character, see _WORD."""
    if c in _SINGLE:
        return _SINGLE[c]
    if c.isspace():
        return " "
    code, category = ord(c), unicodedata.category(c)
    if category[0] == "M" or 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F:
        return "M"
    if category[0] == "L" or code == 0x3007:
        return next((kind for low, high, kind in _LETTERS if low <= code <= high), "L")
    if category[0] == "N":
        return "N"
    if 0x1F1E6 <= code <= 0x1F1FF:
        return "R"
    return "S" if category == "So" else "x"


def split_words(text: str) -> list[str]:
    """What a person calls the words of a text, and the marks between them, in order; all of it but the blanks.

    lovely-dog, don't, 1990 and 3.5 are one each; so is each Han character, each run of Hiragana or Katakana and each
    emoji. Other scripts without blanks are split letter by letter.
    """
    kinds = "".join(map(_kind, text))
    return [text[found.start() : found.end()] for found in _WORD.finditer(kinds)]


def is_syllable(c: str) -> bool:
    """Whether a character by itself may be the end of a word's stem: Hangul and Kana, whose endings follow unspaced."""
    return _kind(c) in "AK" or 0xAC00 <= ord(c) <= 0xD7A3
