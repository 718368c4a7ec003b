"""Pictures of a data set: a contact sheet of its pairs, and histograms of their scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from ..show.captions import plain
from ..show.colours import ACCENT, GREY, INK, LINE, PAPER
from ..show.lettering import shorten, wrap, write
from .rows import PICTURES, Row, pixels
from .shards import read_rows
from .tally import BINS, DROPPED, KEPT, Tally

COLUMNS, ROWS = 4, 6
SIDE = 168  # of a picture on the sheet
TYPE = 17
GAP = 22


def chosen(files: Sequence[Path], count: int = COLUMNS * ROWS) -> list[Row]:
    """Rows for the sheet: from shards all over the data set, as many kinds as there are, each line once."""
    by_kind: dict[str, dict[int, Row]] = defaultdict(dict)
    step = max(len(files) // 8, 1)
    for file in files[::step][:8]:
        for row in read_rows(file):
            by_kind[row["kind"]].setdefault(row["line"], row)
    each = -(-count // max(len(by_kind), 1))
    kinds = {kind: _spread(list(rows.values()), each) for kind, rows in sorted(by_kind.items())}
    turns = [[kind, rows[turn]] for turn in range(each) for kind, rows in kinds.items() if turn < len(rows)]
    return [row for _, row in sorted(turns[:count], key=lambda one: one[0])]


def contact_sheet(rows: Sequence[Row], title: str) -> Image.Image:
    """Pairs with their instructions, source on the left and edit on the right of each."""
    cell, line = 2 * SIDE + 4, TYPE * 5 // 4
    height = SIDE + 2 * line + TYPE * 2
    down = -(-len(rows) // COLUMNS)
    width = 2 * GAP + COLUMNS * cell + (COLUMNS - 1) * GAP
    sheet = Image.new("RGB", (width, 3 * GAP + TYPE + down * (height + GAP // 2)), PAPER)
    pen = ImageDraw.Draw(sheet)
    write(pen, (GAP, GAP + TYPE), shorten(title, TYPE + 5, width - 2 * GAP), TYPE + 5, INK)
    for place, row in enumerate(rows):
        x = GAP + place % COLUMNS * (cell + GAP)
        y = 2 * GAP + TYPE + place // COLUMNS * (height + GAP // 2)
        for side, name in enumerate(PICTURES):
            picture = Image.fromarray(pixels(row[name]))
            sheet.paste(ImageOps.pad(picture, (SIDE, SIDE), color=PAPER), (x + side * (SIDE + 4), y))
        told = row["kind"] if row["p"] is None else f"{row['kind']}, p {row['p']:.2f}"
        write(pen, (x, y + SIDE + line), shorten(told, TYPE - 3, cell), TYPE - 3, GREY)
        for number, words in enumerate(wrap([(word, False) for word in row["edit_prompt"].split()], TYPE, cell, 2)):
            for start, word, _ in words:
                write(pen, (x + start, y + SIDE + (2 + number) * line), word, TYPE, INK)
    return sheet


def histograms(tally: Tally) -> Image.Image | None:
    """For each score how many samples had it, kept ones apart from dropped; None where nothing was scored."""
    scores = list(dict.fromkeys(score for score, _ in tally.histograms))
    if not scores:
        return None
    panel, width, side = 150, 640, 200
    picture = Image.new("RGB", (side + width + 2 * GAP, GAP + len(scores) * (panel + 3 * GAP) + 2 * GAP), PAPER)
    pen = ImageDraw.Draw(picture)
    for place, score in enumerate(scores):
        counts = {fate: tally.histograms.get((score, fate), [0] * BINS) for fate in (KEPT, DROPPED)}
        top = GAP + place * (panel + 3 * GAP)
        _panel(pen, (side, top, width, panel), counts)
        for number, words in enumerate(wrap(plain(score), TYPE, side - 2 * GAP, 2)):
            write(pen, (GAP, top + panel // 2 + number * TYPE), words[0][1], TYPE, INK)
    x, y = side, picture.height - GAP
    for colour, text in ((ACCENT, KEPT), (LINE, DROPPED)):
        pen.rectangle((x, y - 15, x + 22, y), fill=colour)
        x += 60 + write(pen, (x + 32, y), text, TYPE, INK)
    return picture


def _panel(pen: ImageDraw.ImageDraw, place: tuple[int, int, int, int], counts: dict[str, list[int]]) -> None:
    x, top, width, height = place
    both = [a + b for a, b in zip(counts[KEPT], counts[DROPPED])]
    used = [i for i, count in enumerate(both) if count]
    first, last = min(used), max(used) + 1
    if last - first < 8:  # a few bars would fill the panel and say nothing
        first, last = max(first - 4, 0), min(last + 4, BINS)
    bar = width / (last - first)
    for i in range(first, last):
        left, base = x + (i - first) * bar, top + height
        for fate, colour in ((KEPT, ACCENT), (DROPPED, LINE)):
            tall = counts[fate][i] / max(both) * (height - TYPE)
            if tall:
                pen.rectangle((left + 1, base - tall, left + bar - 2, base), fill=colour)
            base -= tall
    pen.line((x, top + height, x + width, top + height), fill=INK)
    for i in sorted({first, (first + last) // 2, last}):
        write(pen, (x + (i - first) * bar, top + height + TYPE + 4), f"{2 * i / BINS - 1:.2f}", TYPE - 2, GREY, "m")
    most = f"{max(both)}"
    write(pen, (x - 8, top + TYPE + 4), most, TYPE - 2, GREY, "r")


def _spread(rows: list[Row], count: int) -> list[Row]:
    """As many as `count` from all over the rows."""
    step = max(len(rows) // count, 1)
    return rows[::step][:count]
