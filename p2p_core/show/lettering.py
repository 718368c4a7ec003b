"""Text in pictures, with pillow's own font and, for letters it lacks, whatever the system has."""

from __future__ import annotations

import logging
import unicodedata
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from .captions import MarkedText

Line = list[tuple[float, str, bool]]
"""Words of a line: where each begins, its text, and whether it stands out."""

# By file name: pillow looks in the system's font folders. The pack brings no font of its own.
_SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "msyh.ttc",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "STHeiti Medium.ttc",
    "simsun.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "malgun.ttf",
    "YuGothM.ttc",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "DejaVuSans.ttf",
)


def write(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, fill: str, align: str = "l"
) -> float:
    """Write one line with its baseline at `at`; `align` l, m or r says what of it is there. Returns its width."""
    x, y = at
    width = measure(text, size)
    x -= {"l": 0, "m": width / 2, "r": width}[align]
    for font, letters in _runs(text, size):
        draw.text((x, y), letters, fill, font, anchor="ls")
        x += font.getlength(letters)
    return width


def measure(text: str, size: int) -> float:
    return sum(font.getlength(letters) for font, letters in _runs(text, size))


def shorten(text: str, size: int, width: float) -> str:
    """`text`, or as much of its beginning as fits, with an ellipsis."""
    if measure(text, size) <= width:
        return text
    while text and measure(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(words: MarkedText, size: int, width: float, lines: int) -> list[Line]:
    """The words in lines no wider than `width`; what does not fit into `lines` of them ends in an ellipsis."""
    wrapped: list[Line] = [[]]
    end, space = 0.0, 0.3 * size
    for text, marked in words:
        text = shorten(text, size, width)
        length = measure(text, size)
        # A mark such as a comma belongs to the word before it.
        start = end + space if wrapped[-1] and any(c.isalnum() for c in text) else end
        if wrapped[-1] and start + length > width:
            if len(wrapped) == lines:
                wrapped[-1] = _ended(wrapped[-1], size, width)
                break
            wrapped.append([])
            start = 0.0
        wrapped[-1].append((start, text, marked))
        end = start + length
    return wrapped


def _ended(line: Line, size: int, width: float) -> Line:
    """The line with an ellipsis at its end, in place of words if need be."""
    while True:
        start, text, _ = line[-1]
        end = start + measure(text, size)
        if len(line) == 1 or end + measure("…", size) <= width:
            return [*line, (end, "…", False)]
        line = line[:-1]


def _runs(text: str, size: int) -> list[tuple[ImageFont.FreeTypeFont, str]]:
    runs: list[tuple[ImageFont.FreeTypeFont, str]] = []
    for number, letter in _drawable(text):
        font = _fonts(size)[number]
        if runs and runs[-1][0] is font:
            runs[-1] = (font, runs[-1][1] + letter)
        else:
            runs.append((font, letter))
    return runs


@lru_cache(maxsize=1024)
def _drawable(text: str) -> tuple[tuple[int, str], ...]:
    """Each letter with the number of the first font that has it; where none has, its plain form or '?'."""
    found = []
    for letter in text:
        plain = "".join(c for c in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(c))
        for form in (letter, plain):
            number = next((i for i, font in enumerate(_fonts(32)) if form and all(_has(font, c) for c in form)), None)
            if number is not None:
                found.append((number, form))
                break
        else:
            _warn_once()
            found.append((0, "?"))
    return tuple(found)


@lru_cache(maxsize=64)
def _fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    fonts = [ImageFont.load_default(size)]
    for name in _SYSTEM_FONTS:
        try:
            fonts.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(fonts)


@lru_cache(maxsize=4096)
def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether a font draws a letter as something else than its box for letters it lacks."""
    return letter.isspace() or bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))


@lru_cache(maxsize=1)
def _warn_once() -> None:
    logging.warning(
        "prompt-to-prompt: no font on this system has all letters of a caption, so '?' stands for the missing ones. "
        "Installing a font such as Noto Sans CJK helps."
    )
