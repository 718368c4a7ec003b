"""Sampling in parts: latents [source, edits...] that come back in, and the steps of the whole."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from ...edit import Edit
from ...errors import EditError
from ...rows import Rows
from ...run import Run
from .real_picture import Picture

HOLDS = ("auto", "source", "source and edits")
"""What latents that come in may hold; auto: known again where a run handed them out, else the source."""


@dataclass(frozen=True)
class Part:
    """A run that handed out latents: what the next part has to know of it.

    Attributes:
        ended: the noise level that it left in them.
        picture: the real one that its source is pinned to, if it is.
    """

    run: Run
    ended: float
    picture: Picture | None = None

    @property
    def rows(self) -> Rows:
        return self.run.rows


class HandedOut:
    """The last parts, found again by the latents that they handed out."""

    def __init__(self, most: int = 8):
        self._parts: OrderedDict[str, Part] = OrderedDict()
        self._most = most

    def add(self, latents: torch.Tensor, part: Part) -> None:
        self._parts[_digest(latents)] = part
        while len(self._parts) > self._most:
            self._parts.popitem(last=False)

    def find(self, latents: torch.Tensor) -> Part | None:
        return self._parts.get(_digest(latents)) if self._parts else None


def _digest(latents: torch.Tensor) -> str:
    values = latents.detach().float().cpu().contiguous().numpy()
    return hashlib.sha1(repr(values.shape).encode() + values.tobytes(), usedforsecurity=False).hexdigest()


def belongs(part: Part, edit: Edit) -> bool:
    """Whether a part was of these prompts; their settings may be others."""
    return _texts(part.run.edit) == _texts(edit)


def _texts(edit: Edit) -> list[str]:
    return [edit.source.text, *(variant.prompt.text for variant in edit.variants)]


def images_of(latents: torch.Tensor, holds: str, edits: int, part: Part | None) -> int:
    """The pictures of each prompt in latents [n, ...], of which all are the source's, or 1 / (1 + edits).

    Args:
        part: the earlier one of the same prompts that handed them out.

    Raises:
        EditError: they can't be source and edits, or are of a video.
    """
    if math.prod(latents.shape[2:-2]) != 1:
        raise EditError(
            "latent_image",
            "it is a video latent.",
            "Use a latent of pictures: those are what prompt-to-prompt edits.",
        )
    if holds == "source" or (holds == "auto" and part is None):
        return len(latents)
    if part is not None:
        return part.rows.batch
    if len(latents) % (1 + edits):
        raise EditError(
            "latent_image",
            f"it has {len(latents)} pictures, which can't be the source and {edits} edit{'s' if edits > 1 else ''} "
            "of each.",
            "Connect all that the part before gave.",
        )
    return len(latents) // (1 + edits)


def check_falling(sigmas: Sequence[float]) -> None:
    """Raise EditError where noise levels rise."""
    if any(later > earlier for earlier, later in pairwise(sigmas)):
        raise EditError(
            "sigmas",
            f"they rise, from {min(sigmas):.3g} to {max(sigmas):.3g}, as flipped ones do to turn a picture into noise. "
            "An edit is made on the way from noise to a picture.",
            "Connect them as they come from the scheduler, without FlipSigmas.",
        )


def check_whole(sigmas: Sequence[float], whole: Sequence[float]) -> None:
    """Raise EditError where steps are no part of those of the whole schedule."""
    check_falling(whole)
    if not all(any(abs(level - of_whole) <= 1e-4 * of_whole for of_whole in whole) for level in sigmas):
        raise EditError(
            "sigmas",
            f"the steps that are sampled, from noise level {sigmas[0]:.3g} to {sigmas[-1]:.3g}, are none of these.",
            "Connect here what goes into SplitSigmas. A second pass with steps of its own needs a guider of its own.",
        )


def note_of_part(sigmas: Sequence[float], part: Part | None) -> str | None:
    """What to say where windows were counted over a part alone, since the whole isn't known."""
    if sigmas[-1] <= 0 and (part is None or part.ended <= 0):
        return None
    return (
        f"These {len(sigmas) - 1} steps, from noise level {sigmas[0]:.3g} to {sigmas[-1]:.3g}, are a part of a whole. "
        "Windows were counted over this part alone: to count over the whole, connect to sigmas what goes into "
        "SplitSigmas."
    )


def note_of_pictures(latents: torch.Tensor, holds: str, edits: int, part: Part | None) -> str | None:
    """What to say where pictures were taken for sources that may be the source and its edits."""
    if holds != "auto" or part is not None or len(latents) % (1 + edits) or not latents.any():
        return None
    return (
        f"latent_image has {len(latents)} pictures: each was taken for a source. If they are the source and its edits, "
        "from an earlier pass, choose 'source and edits' in latent_holds."
    )
