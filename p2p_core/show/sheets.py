"""Pictures in a grid, with captions and a legend; and what goes where on the sheets that compare many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image, ImageDraw

from ..trials.study import EVERYTHING
from .captions import MarkedText, marked, plain
from .colours import ACCENT, GREY, INK, LINE, PAPER, heat_colours
from .lettering import Line, measure, shorten, wrap, write
from .pictures import to_pillow

LARGEST = 4096  # no sheet is longer or wider: what viewers and PNG previews still take at ease
CAPTION_LINES = 3


@dataclass(frozen=True)
class Scale:
    """What the colours of a sheet mean: one scale for all of its heat maps."""

    label: str
    top: str


@dataclass(frozen=True)
class Sheet:
    """Pictures of one size in a grid with captions over its columns and beside its rows.

    Attributes:
        cells: row by row; None leaves a place empty.
        columns, rows: captions, or empty; `scale`, if any, is drawn at the foot with `foot`.
    """

    cells: Sequence[Sequence[Image.Image | None]]
    columns: Sequence[MarkedText] = ()
    rows: Sequence[MarkedText] = ()
    title: str = ""
    foot: str = ""
    scale: Scale | None = None

    def draw(self) -> Image.Image:
        columns = max(map(len, self.cells))
        first = next(cell for row in self.cells for cell in row if cell is not None)
        width, height = _cell_size(first.size, columns, len(self.cells))
        # The size of type: to be read beside a picture, and still when a wide sheet is shown at a window's width.
        unit = max(max(width, height) // 24 + 4, columns * width // 90)
        gap, margin = unit, 3 * unit // 2
        side = self._side(unit, width)
        heads = [wrap(caption, unit, width, CAPTION_LINES) for caption in self.columns]
        head = (max(map(len, heads)) * unit * 5 // 4 + unit // 2) if heads else 0
        top = margin + (unit * 5 // 2 if self.title else 0)
        foot = unit * 5 // 2 if self.foot or self.scale else 0
        sheet = Image.new(
            "RGB",
            (
                2 * margin + side + columns * width + (columns - 1) * gap,
                top + head + len(self.cells) * (height + gap) - gap + foot + margin,
            ),
            PAPER,
        )
        pen = ImageDraw.Draw(sheet)
        room = sheet.width - 2 * margin
        if self.title:
            write(pen, (margin, margin + unit), shorten(self.title, unit * 5 // 4, room), unit * 5 // 4, INK)
        for number, lines in enumerate(heads):
            x, y = margin + side + number * (width + gap), top + head - unit * 3 // 4
            _write_lines(pen, (x, y - (len(lines) - 1) * unit * 5 // 4), lines, unit)
        for number, row in enumerate(self.cells):
            y = top + head + number * (height + gap)
            if self.rows:
                lines = wrap(self.rows[number], unit, side - unit, CAPTION_LINES)
                _write_lines(pen, (margin, y + height // 2 - (len(lines) - 1) * unit // 2), lines, unit)
            for column, cell in enumerate(row):
                if cell is not None:
                    x = margin + side + column * (width + gap)
                    sheet.paste(cell.convert("RGB").resize((width, height), Image.Resampling.LANCZOS), (x, y))
                    pen.rectangle((x - 1, y - 1, x + width, y + height), outline=LINE)
        if foot:
            self._draw_foot(sheet, pen, margin, sheet.height - margin, unit)
        return sheet

    def _side(self, unit: int, width: int) -> int:
        if not self.rows:
            return 0
        widest = max(sum(measure(word, unit) + 0.3 * unit for word, _ in row) for row in self.rows)
        return int(min(widest, width * 3 // 4)) + 2 * unit

    def _draw_foot(self, sheet: Image.Image, pen: ImageDraw.ImageDraw, x: int, bottom: int, unit: int) -> None:
        right = sheet.width - x
        if self.scale is not None:
            room = (right - x) * (2 if self.foot else 3) // 3
            right -= draw_scale(sheet, pen, (right, bottom), self.scale, unit, room) + unit
        if self.foot:
            write(pen, (x, bottom - unit // 4), shorten(self.foot, unit, right - x), unit, GREY)


def draw_scale(
    sheet: Image.Image, pen: ImageDraw.ImageDraw, corner: tuple[int, int], scale: Scale, unit: int, room: int
) -> int:
    """The ramp with its ends and label in the line that ends at `corner`, right and bottom. Returns its width."""
    right, bottom = corner
    line = bottom - unit // 4
    top = write(pen, (right, line), scale.top, unit, GREY, "r")
    length = min(8 * unit, room // 3)
    x = int(right - top - unit // 2 - length)
    colours = heat_colours(torch.linspace(0, 1, length)).expand(unit, length, 3)
    sheet.paste(to_pillow(colours), (x, bottom - unit))
    pen.rectangle((x - 1, bottom - unit - 1, x + length, bottom), outline=LINE)
    zero = write(pen, (x - unit // 2, line), "0", unit, GREY, "r")
    label = shorten(scale.label, unit, x - zero - 3 * unit // 2 - (right - room))
    used = write(pen, (x - zero - 3 * unit // 2, line), label, unit, GREY, "r")
    return int(right - x + zero + used + 3 * unit // 2)


def captioned(picture: Image.Image, caption: MarkedText, scale: Scale) -> Image.Image:
    """One picture with its caption and the meaning of its colours, for batches of pictures shown one by one."""
    return Sheet([[picture]], columns=[caption], scale=scale).draw()


def _cell_size(picture: tuple[int, int], columns: int, rows: int) -> tuple[int, int]:
    """A whole multiple of small pictures, and less than their size for many large ones."""
    width, height = picture
    factor: float = max(1, round(384 / max(width, height)))
    factor = min(factor, 0.8 * LARGEST / (columns * width), 0.8 * LARGEST / (rows * height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _write_lines(pen: ImageDraw.ImageDraw, at: tuple[float, float], lines: Sequence[Line], unit: int) -> None:
    x, y = at
    for number, line in enumerate(lines):
        for start, word, stands_out in line:
            write(pen, (x + start, y + number * unit * 5 // 4), word, unit, ACCENT if stands_out else INK)


def comparison_sheet(
    source: torch.Tensor, edited: torch.Tensor, heats: torch.Tensor, captions: Sequence[MarkedText], top: float
) -> Image.Image:
    """A row for each source picture: source, edit and difference, or with several edits the differences below.

    Args:
        source: [batch, height, width, 3].
        edited, heats: [edits * batch, height, width, 3]: edit after edit, and where each differs from its source.
        captions: of the source, then of each edit; empty where the prompts are not known.
        top: the difference that the brightest colour stands for.
    """
    batch, edits = len(source), len(edited) // len(source)
    pictures, shades = [to_pillow(image) for image in edited], [to_pillow(image) for image in heats]
    columns = captions or [plain("source"), *(plain(f"edit {i + 1}") for i in range(edits))]
    cells = []
    for b, image in enumerate(source):
        if edits == 1:
            cells.append([to_pillow(image), pictures[b], shades[b]])
        else:
            cells += [[to_pillow(image), *pictures[b::batch]], [None, *shades[b::batch]]]
    if edits == 1:
        columns = [*columns, plain("difference")]
    return Sheet(cells, columns, scale=Scale("difference of the pictures", f"{top:.2f}")).draw()


def sweep_sheet(
    source: torch.Tensor, edited: torch.Tensor, columns: Sequence[str], rows: Sequence[str], title: str
) -> Image.Image:
    """A grid of pictures [n, height, width, 3], row by row, and left of its first row the source."""
    pictures = [to_pillow(image) for image in edited]
    grid = [pictures[first : first + len(columns)] for first in range(0, len(pictures), len(columns))]
    return Sheet(
        [[to_pillow(source) if number == 0 else None, *row] for number, row in enumerate(grid)],
        columns=[marked("source"), *map(plain, columns)],
        rows=[plain(caption) for caption in rows] if len(rows) > 1 else [],
        title=title,
    ).draw()


def study_sheet(source: torch.Tensor, edited: torch.Tensor, groups: Sequence[str], title: str) -> Image.Image:
    """A row for all layers together, with the source, then one for each group.

    Args:
        edited: [2 + 2 * groups, height, width, 3], in the order of `study`.
    """
    everywhere, nowhere, *rest = [to_pillow(image) for image in edited]
    pairs = zip(rest[: len(groups)], rest[len(groups) :])
    return Sheet(
        [[to_pillow(source), everywhere, nowhere], *([None, *pair] for pair in pairs)],
        columns=[marked("source"), plain("injected only here"), plain("everywhere but here")],
        rows=[plain(label) for label in (EVERYTHING, *groups)],
        title=title,
    ).draw()
