"""An edit of many variants, a few at a time: what fits into memory together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..edit import Edit


def batches(edit: Edit, rows: int, batch: int = 1) -> Iterator[Edit]:
    """The edit with some of its variants at a time.

    Args:
        rows: the most edited pictures that are sampled together; at least one variant is, however large the batch.
        batch: pictures of the source.
    """
    size = max(1, rows // batch)
    for first in range(0, len(edit.variants), size):
        yield replace(edit, variants=edit.variants[first : first + size])
