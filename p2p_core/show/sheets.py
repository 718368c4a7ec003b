"""Pictures of an edit: heat maps, labelled sheets, legends. Pillow draws; tensors come in and go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw

from .lettering import Line, MarkedText, measure, shorten, wrap, write

PAPER, INK, GREY, LINE, ACCENT = "#ffffff", "#16181d", "#5b6270", "#d1d5db", "#c2410c"
LARGEST = 4096  # no sheet is longer or wider: what viewers and PNG previews still take at ease
CAPTION_LINES = 3

# From nothing to all, rising in lightness, so that it reads in grey and for the colour-blind as well.
_RAMP = ("#000004", "#320a5e", "#781c6d", "#bb3754", "#ec6824", "#fbb41a", "#fcffa4")


def to_pillow(image: torch.Tensor) -> Image.Image:
    """[height, width, 1 or 3 or 4 channels] in [0, 1]."""
    pixels = image.detach().float().cpu().clamp(0, 1).mul(255).round().byte().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")


def to_tensor(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures of one size as [n, height, width, 3] in [0, 1]."""
    return torch.stack([torch.from_numpy(np.array(p.convert("RGB"), dtype=np.float32) / 255) for p in pictures])


def enlarged(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps [n, h, w] at [n, *size], smooth, within the values there are."""
    return F.interpolate(values[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]


def heat_colours(values: torch.Tensor) -> torch.Tensor:
    """[...] in [0, 1] -> colours [..., 3] in [0, 1], from black over red to pale yellow."""
    ramp = torch.tensor([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in _RAMP])
    at = values.float().cpu().clamp(0, 1) * (len(ramp) - 1)
    low = at.floor().long().clamp(max=len(ramp) - 2)
    return torch.lerp(ramp[low], ramp[low + 1], (at - low)[..., None])


def overlay(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Heat [height, width] in [0, 1] over a picture [height, width, 3]: greyed, and hidden where it is hot."""
    grey = (image[..., :3].float().cpu() @ torch.tensor([0.299, 0.587, 0.114]))[..., None]
    cover = (0.2 + 0.65 * values.float().cpu().clamp(0, 1))[..., None]
    return grey * (1 - cover) + heat_colours(values) * cover


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
        for start, word, marked in line:
            write(pen, (x + start, y + number * unit * 5 // 4), word, unit, ACCENT if marked else INK)
