"""A pair drawn again from its row's columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import EditError
from .drawing import Painter
from .plan import Sample
from .rows import PICTURES, pixels, sample_of
from .shards import read_rows


def again(painter: Painter, sample: Sample, rows: int) -> np.ndarray:
    """The source and the edit of one sample, [2, height, width, 3], to the bit as they came out of a batch of `rows`.

    What else was in the batch does not matter, but how many rows it had: a processor adds up larger batches in another
    order. So the sample itself fills the rows.
    """
    return painter.draw([[sample] * (rows - 1)])[0][:2]


def redraw(shard: Path, number: str, folder: Path) -> int:
    """Draw a row again and save both pictures; 1 unless they are the row's to the bit."""
    rows = list(read_rows(shard))
    if not number.isdigit() or int(number) >= len(rows):
        raise EditError("again", f"there is no row {number} in {shard.name}.", f"It has rows 0 to {len(rows) - 1}.")
    row = rows[int(number)]
    sample, settings, filled = sample_of(row)
    pictures = again(Painter(settings), sample, filled)
    folder.mkdir(parents=True, exist_ok=True)
    worst = 0
    for name, picture in zip(PICTURES, pictures):
        Image.fromarray(picture).save(folder / f"again_{name}.png")
        worst = max(worst, int(np.abs(pixels(row[name]).astype(int) - picture).max()))
    print("The same to the bit." if not worst else f"Other pictures: by up to {worst} of 255.")
    return int(worst > 0)
