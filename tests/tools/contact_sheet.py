"""Lay pictures out in a labelled grid."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher

from PIL import Image, ImageDraw, ImageFont

SCALE = 3  # the demo model's pictures are 128 px wide
MARGIN, GAP = 36, 24
LABEL, CAPTION, SMALL = 24, 19, 15  # sizes of type
INK, GREY, ACCENT, PAPER, LINE = "#16181d", "#6b7280", "#c2410c", "#ffffff", "#d1d5db"


@dataclass(frozen=True)
class Panel:
    """One picture, what it is, and the prompt under it; the prompt's words that `compared_to` lacks stand out."""

    image: Image.Image
    label: str
    caption: str
    compared_to: str = ""


def contact_sheet(rows: list[list[Panel]], names: list[str]) -> Image.Image:
    """A row of panels a name; the labels and prompts stand once, on top of the first row."""
    width, height = (SCALE * side for side in rows[0][0].image.size)
    head, foot = 74, 34
    columns = len(rows[0])
    size = (
        2 * MARGIN + columns * width + (columns - 1) * GAP,
        MARGIN + head + len(rows) * (height + foot) + MARGIN // 2,
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, panel in enumerate(rows[0]):
        x = MARGIN + column * (width + GAP)
        draw.text((x, MARGIN + 20), panel.label, INK, ImageFont.load_default(LABEL), anchor="ls")
        draw_caption(draw, (x, MARGIN + 52), panel, width)
    for row, (panels, name) in enumerate(zip(rows, names, strict=True)):
        y = MARGIN + head + row * (height + foot)
        for column, panel in enumerate(panels):
            picture = panel.image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
            x = MARGIN + column * (width + GAP)
            draw.rectangle((x - 1, y - 1, x + width, y + height), outline=LINE)
            sheet.paste(picture, (x, y))
        draw.text((MARGIN, y + height + 22), name, GREY, ImageFont.load_default(SMALL), anchor="ls")
    return sheet


def draw_caption(draw: ImageDraw.ImageDraw, at: tuple[float, float], panel: Panel, width: int) -> None:
    """On one line, in a smaller type if it must be."""
    x, y = at
    size = CAPTION
    while size > 9 and draw.textlength(panel.caption, ImageFont.load_default(size)) > width:
        size -= 1
    font = ImageFont.load_default(size)
    for word, new in marked(panel.compared_to.split(), panel.caption.split()):
        draw.text((x, y), word, ACCENT if new else GREY, font, anchor="ls")
        x += draw.textlength(word + " ", font)


def marked(before: list[str], after: list[str]) -> list[tuple[str, bool]]:
    """The words of `after`, each with whether it is new or replaced one of `before`."""
    changes = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return [(word, change != "equal") for change, _, _, start, end in changes for word in after[start:end]]
