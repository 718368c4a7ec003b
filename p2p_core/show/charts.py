"""Charts: what layers a model has, and what they do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw

from ..layers import Layer, blocks, grid_name, halved
from ..trials.study import Finding, Measure
from .colours import ACCENT, GREY, INK, PAPER
from .lettering import measure, shorten, write
from .report import KINDS

SECOND = "#3f6f9f"  # beside ACCENT: told apart by lightness too
BLOCK_COLOURS = ("#3f6f9f", "#c2410c", "#6b8e4e")  # by turns, for each name of blocks
TYPE = 20
ROW = 40
MARGIN = 36


def model_picture(layers: Sequence[Layer], name: str, height: int, width: int) -> Image.Image:
    """The blocks with attention from first to last, each as wide as its grid: the U of the UNet."""
    found = blocks(layers)
    described = {block: _describe(of_block) for block, of_block in found.items()}
    names, side = max(measure(block, TYPE) for block in found), 420
    texts = max(measure(text, TYPE) for text in described.values())
    size = (int(MARGIN + names + 30 + side + 30 + texts + MARGIN), MARGIN + 70 + ROW * len(found) + 20 + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    write(pen, (MARGIN, MARGIN + TYPE), shorten(name, TYPE + 4, size[0] - 2 * MARGIN), TYPE + 4, INK)
    widest = max(max(halved(height, width, layer.level)) for layer in layers)
    middle = MARGIN + names + 30 + side / 2
    kinds = list(dict.fromkeys(layer.block for layer in layers))
    for number, (block, of_block) in enumerate(found.items()):
        colour = BLOCK_COLOURS[kinds.index(of_block[0].block) % len(BLOCK_COLOURS)]
        y = MARGIN + 70 + ROW * number
        write(pen, (MARGIN, y + 26), block, TYPE, INK)
        grid = grid_name(of_block[0], height, width)
        half = max(side / 2 * max(halved(height, width, of_block[0].level)) / widest, 4)
        pen.rectangle((middle - half, y + 4, middle + half, y + ROW - 6), fill=colour)
        if 2 * half > measure(grid, TYPE) + 20:
            write(pen, (middle, y + 26), grid, TYPE, PAPER, "m")
        else:
            write(pen, (middle + half + 10, y + 26), grid, TYPE, INK)
        write(pen, (middle + side / 2 + 30, y + 26), described[block], TYPE, GREY)
    return picture


def _describe(of_block: Sequence[Layer]) -> str:
    kinds = [layer.kind for layer in of_block]
    first = of_block[0]
    counts = " + ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds)
    return f"{counts}, {first.heads} heads of {first.head_dim}"


def study_chart(found: Sequence[Finding], title: str) -> Image.Image:
    """What each group of layers adds alone, and what is missing without it, in distance and in likeness.

    Effects and not measures: pictures of one seed are much alike to begin with, and the bars would be too.
    """
    names = min(max(measure(finding.label, TYPE) for finding in found), 300)
    panel, gap = 440, 50
    row = 2 * ROW - 14
    top = MARGIN + 124
    size = (int(MARGIN + names + 24 + 2 * panel + gap + MARGIN), top + row * len(found) + 20 + MARGIN)
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    write(pen, (MARGIN, MARGIN + TYPE), shorten(title, TYPE + 4, size[0] - 2 * MARGIN), TYPE + 4, INK)
    _draw_key(pen, MARGIN, MARGIN + 62)
    for number, finding in enumerate(found):
        y = top + row * number
        if number % 2:
            pen.rectangle((MARGIN - 12, y, size[0] - MARGIN + 12, y + row - 1), fill="#f4f5f7")
        write(pen, (MARGIN, y + row // 2 + 7), shorten(finding.label, TYPE, names), TYPE, INK)
    left = int(MARGIN + names + 24)
    nearer = _effects(found, lambda measured: -measured.moved)
    _draw_panel(pen, (left, top, panel, row), nearer, "nearer to the source, % of full range", "{:+.1f}")
    liker = _effects(found, lambda measured: measured.kept)
    _draw_panel(pen, (left + panel + gap, top, panel, row), liker, "more like it, structural similarity", "{:+.3f}")
    return picture


def _effects(found: Sequence[Finding], value: Callable[[Measure], float]) -> list[tuple[float, float]]:
    """For each finding what it adds to no injection, and what all layers lose without it."""
    everywhere, nowhere = value(found[0].only), value(found[0].without)
    return [(value(finding.only) - nowhere, everywhere - value(finding.without)) for finding in found]


def _draw_key(pen: ImageDraw.ImageDraw, x: float, y: float) -> None:
    for colour, text in ((ACCENT, "what it adds alone"), (SECOND, "what is missing without it")):
        pen.rectangle((x, y - 15, x + 22, y), fill=colour)
        x += 32 + write(pen, (x + 32, y), text, TYPE, INK) + 30
    write(pen, (x, y), "dashed: all layers", TYPE, GREY)


def _draw_panel(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int, int, int],
    effects: Sequence[tuple[float, float]],
    title: str,
    form: str,
) -> None:
    x, top, width, row = place
    bottom, numbers = top + row * len(effects), 72
    lowest = min(0.0, *(min(pair) for pair in effects))
    highest = max(1e-6, *(max(pair) for pair in effects))
    left = numbers if lowest < 0 else 0
    scale = (width - numbers - left) / (highest - lowest)
    zero = x + left - lowest * scale
    write(pen, (x, top - 14), title, TYPE, INK)
    for y in range(top, bottom, 10):
        at = zero + effects[0][0] * scale
        pen.line((at, y, at, min(y + 5, bottom)), fill=GREY, width=1)
    for number, pair in enumerate(effects):
        y = top + row * number + 7
        for effect, colour in zip(pair, (ACCENT, SECOND)):
            end = zero + effect * scale
            pen.rectangle((min(zero, end), y, max(zero, end), y + 22), fill=colour)
            beside = (end + 8, "l") if effect >= 0 else (end - 8, "r")
            write(pen, (beside[0], y + 19), _signed(form, effect), TYPE - 2, GREY, beside[1])
            y += 28
    pen.line((zero, top, zero, bottom), fill=INK, width=1)


def _signed(form: str, effect: float) -> str:
    """The number with its sign, and none where it is written as zero."""
    text = form.format(effect)
    return text if any(c in "123456789" for c in text) else text[1:]
