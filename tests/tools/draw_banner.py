"""web/banner.png, which the registry shows above the pack: two prompts, how they pair, and their two pictures.

python tests/tools/draw_banner.py

Runs in ComfyUI's Python. The pictures are those of the word swap.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
SIZE = 1260, 540  # 21:9
PAPER, INK, GREY = "#1d2026", "#f4f5f7", "#a7adb8"
TAKEN, OLD, NEW = "#42a271", "#d08424", "#4a86e8"  # as in the alignment view
RIBBONS = {"taken": "#2b5c45", "swapped": "#6e4a1c"}
SOURCE, EDIT = ["a", "cat", "sitting", "on", "a", "car"], ["a", "dog", "sitting", "on", "a", "car"]
SCALE = 2  # drawn larger: smooth edges


def main() -> int:
    picture = Image.new("RGB", [SCALE * side for side in SIZE], PAPER)
    pen = ImageDraw.Draw(picture)
    text(pen, (70, 64), "Prompt-to-Prompt", 62, INK)
    text(pen, (72, 146), "edit a picture by editing its prompt", 27, GREY)
    ribbons(pen, 72, 244)
    text(pen, (72, 444), "for ComfyUI: the layout stays, attention stays fused", 22, GREY)
    for i, cut in enumerate(pictures_in(Image.open(ROOT / "example_workflows" / "word_swap.jpg"))[:2]):
        cut = cut.resize((SCALE * 286, SCALE * 286), Image.Resampling.LANCZOS)
        rounded = Image.new("L", cut.size, 0)
        ImageDraw.Draw(rounded).rounded_rectangle((0, 0, *cut.size), SCALE * 14, 255)
        picture.paste(cut, (SCALE * (610 + i * 306), SCALE * 127), rounded)
    for i, (name, colour) in enumerate((("cat", OLD), ("dog", NEW))):
        text(pen, (753 + i * 306, 437), name, 24, colour, anchor="mm")
    picture.resize(SIZE, Image.Resampling.LANCZOS).quantize(128).save(ROOT / "web" / "banner.png", optimize=True)
    return 0


def pictures_in(sheet: Image.Image) -> list[Image.Image]:
    """The pictures on a white sheet with captions, from the left: what is mostly not white, in both directions."""
    dark = np.asarray(sheet.convert("L")) < 250
    (top, bottom), *_ = runs(dark.mean(1) > 0.5)
    return [sheet.crop((left, top, right, bottom)) for left, right in runs(dark[top:bottom].mean(0) > 0.5)]


def runs(of: np.ndarray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], of.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2], strict=True))


def ribbons(pen: ImageDraw.ImageDraw, x: float, y: float) -> None:
    """The words of both prompts as chips, one row above the other."""
    for old, new in zip(SOURCE, EDIT, strict=True):
        font = ImageFont.load_default(SCALE * 23)
        width = max(pen.textlength(word, font) for word in (old, new)) / SCALE + 24
        swapped = old != new
        bar = [SCALE * at for at in (x + 5, y + 20, x + width - 5, y + 120)]
        pen.rectangle(bar, RIBBONS["swapped" if swapped else "taken"])
        for word, top, colour in ((old, y, OLD if swapped else TAKEN), (new, y + 104, NEW if swapped else TAKEN)):
            pen.rounded_rectangle([SCALE * at for at in (x, top, x + width, top + 38)], SCALE * 9, colour)
            pen.text((SCALE * (x + width / 2), SCALE * (top + 19)), word, "#ffffff", font, anchor="mm")
        x += width + 9


def text(pen: ImageDraw.ImageDraw, at: tuple[float, float], words: str, size: int, colour: str, **more) -> None:
    pen.text([SCALE * place for place in at], words, colour, ImageFont.load_default(SCALE * size), **more)


if __name__ == "__main__":
    sys.exit(main())
