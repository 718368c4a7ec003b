"""A kept pair as a row: the columns that diffusers' train_instruct_pix2pix takes, and all it takes to draw it again."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from .drawing import Settings
from .filtering import Drawn
from .plan import Sample
from .request import restored

PICTURES = ("input_image", "edited_image")
TEXTS = ("edit_prompt", "source", "edit", "kind", "written_by")
WHOLE = ("line", "sample", "seed", "rows")
AGAIN = ("request", "settings")
"""JSON, for `sample_of`."""

Row = dict[str, Any]


def row(pair: Drawn, line: int, settings: Settings) -> Row:
    """A pair's columns; pictures as PNG."""
    sample, request = pair.sample, pair.sample.request
    return {
        "input_image": _png(pair.source),
        "edited_image": _png(pair.edited),
        "edit_prompt": request.instruction,
        "source": request.source,
        "edit": request.edit,
        "kind": request.kind,
        "written_by": request.written_by,
        "line": line,
        "sample": sample.number,
        "seed": sample.seed,
        "rows": pair.rows,
        "p": sample.p,
        **pair.scores,
        "request": request.text,
        "settings": json.dumps(asdict(settings), sort_keys=True),
    }


def numbers(scores: Sequence[str]) -> tuple[str, ...]:
    """Columns with fractions, which may be empty."""
    return ("p", *scores)


def sample_of(given: Mapping[str, Any]) -> tuple[Sample, Settings, int]:
    """From a row's columns: the sample, the settings, and how many pictures its batch had."""
    sample = Sample(restored(given["request"]), given["sample"], given["seed"], given["p"])
    return sample, Settings(**json.loads(given["settings"])), given["rows"]


def pixels(png: bytes) -> np.ndarray:
    """[height, width, 3] bytes."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=3)
    return file.getvalue()
