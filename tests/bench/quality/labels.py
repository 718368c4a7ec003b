"""Labels beside points of a plot, none over another."""

from __future__ import annotations

from typing import NamedTuple

import numpy
from matplotlib.text import Text

AROUND = numpy.radians([45, -45, 135, -135, 0, 180, 90, -90])
NEAR, FAR, STEP = 6, 36, 6  # points, from a mark to its label


class Mark(NamedTuple):
    """A point in a panel's own units, what stands beside it, and its colour."""

    x: float
    y: float
    text: str
    colour: str


def label(panel, marks: list[Mark]) -> None:
    """Write each mark's text as near to it as there is room; a line leads to those that are further away.

    The figure is drawn by Agg, and has its final layout.
    """
    at = panel.transData.transform([(mark.x, mark.y) for mark in marks])
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    for mark in filter(lambda mark: mark.text, marks):
        for distance in range(NEAR, FAR, STEP):
            written = next(filter(None, (_written(panel, mark, distance, angle, taken) for angle in AROUND)), None)
            if written:
                taken.append(written)
                break


def _written(panel, mark: Mark, distance: float, angle: float, taken: list[tuple]) -> tuple | None:
    """The label's box in pixels, where it lies over nothing and in the panel; otherwise it is taken away again."""
    x, y = distance * numpy.cos(angle), distance * numpy.sin(angle)
    text = panel.annotate(
        mark.text,
        (mark.x, mark.y),
        (x, y),
        textcoords="offset points",
        ha="left" if x > 1 else "right" if x < -1 else "center",
        va="bottom" if y > 1 else "top" if y < -1 else "center",
        fontsize=6.5,
        color=mark.colour,
        arrowprops={"arrowstyle": "-", "lw": 0.5, "color": mark.colour} if distance > NEAR else None,
    )
    renderer = panel.figure.canvas.get_renderer()
    text.update_positions(renderer)
    box = Text.get_window_extent(text, renderer)  # without the line, which an annotation adds
    left, low, right, high = box.extents
    over = any(left < right_ and right > left_ and low < high_ and high > low_ for left_, low_, right_, high_ in taken)
    if not over and panel.bbox.x0 < left and right < panel.bbox.x1:
        return left, low, right, high
    text.remove()
    return None
