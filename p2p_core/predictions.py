"""Rules on the denoised prediction, in the order in which they hold.

`D` is what a model predicts of the denoised latent, after guidance: [rows, channels, (frames,) height, width].
A rule takes the predictions of all rows and gives them back changed. Every rule is linear in D, or is once a
constant is taken off, so it may be applied to the parts of guidance one by one, whose weights sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .blend import LocalBlend, fit_mask, limit, over, word_mask
from .errors import EditError
from .maps import MapRecorder
from .noise import moved_to
from .rows import Rows
from .schedule import Window

Rule = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Pin:
    """`D_s := x^` and `D_e := D_e + f (x^ - D_s)`: the source is a picture, and edits share its error (RealPicture).

    `picture`: x^ [batch, ...]. `fidelity`: f in [0, 1]. Companions are corrected as edits are.
    `source`: the source's own prediction [batch, ...] where it has no row.
    """

    rows: Rows
    picture: torch.Tensor
    fidelity: float
    source: torch.Tensor | None = None

    def __call__(self, predictions: torch.Tensor) -> torch.Tensor:
        picture, place = self.picture.to(predictions), self.rows.source
        source = predictions[self.rows.of(place)] if self.source is None else self.source.to(predictions)
        out = predictions + self.rows.tile(self.fidelity * (picture - source))
        if place is not None:
            out[self.rows.of(place)] = picture
        return out


@dataclass(frozen=True)
class Blend:
    """`D_e <- D_s + m (D_e - D_s)`: each edit changes only where its mask is (Hertz et al. 2022, section 4.1).

    `masks`: for each edit [batch, 1, height, width], or None where it may change everything.
    `source`: the source's prediction [batch, ...] where it has no row.
    """

    rows: Rows
    masks: Sequence[torch.Tensor | None]
    source: torch.Tensor | None = None

    def __call__(self, predictions: torch.Tensor) -> torch.Tensor:
        out = predictions.clone()
        source = predictions[self.rows.of(self.rows.source)] if self.source is None else self.source
        for i, mask in enumerate(self.masks):
            if mask is not None:
                own = self.rows.of(self.rows.place_of(i))
                out[own] = limit(predictions[own], source.to(predictions), mask.to(predictions.device))
        return out


@dataclass(frozen=True)
class Follow:
    """`D_companion <- D_e`: the companion of an edit stays on its latent."""

    rows: Rows

    def __call__(self, predictions: torch.Tensor) -> torch.Tensor:
        out = predictions.clone()
        for i in range(self.rows.edits):
            out[self.rows.of(self.rows.partner_of(i))] = predictions[self.rows.of(self.rows.place_of(i))]
        return out


def with_guided_source(
    predictions: torch.Tensor, conditional: torch.Tensor, unconditional: torch.Tensor, rows: Rows, more: float
) -> torch.Tensor:
    """`D_s + more (C_s - U_s)`: a source whose guidance scale is by `more` above the edits', all [rows, ...].

    What other packs add to guidance is in D and stays.
    """
    out, own = predictions.clone(), rows.of(rows.source)
    out[own] += more * (conditional[own] - unconditional[own])
    return out


def ending_at(
    picture: torch.Tensor, latents: torch.Tensor, rows: Rows, source: torch.Tensor | None = None
) -> torch.Tensor:
    """The final latents [rows, ...] of pinned pictures [batch, ...], the source its picture to the bit.

    Some samplers stop above noise level 0, or round a little: what they leave is in all rows of a picture.

    Args:
        source: where the source ended, if it has no row.
    """
    latents = moved_to(picture.to(latents), latents, rows, source)
    if rows.source is not None:
        latents[rows.of(rows.source)] = picture.to(latents)
    return latents


def outside_is_the_source(
    latents: torch.Tensor, rows: Rows, masks: Sequence[torch.Tensor | None], source: torch.Tensor | None = None
) -> torch.Tensor:
    """The final latents [rows, ...] with the source outside of the masks.

    Samplers that look back at earlier steps, before a blend began or while its mask was another, only come
    near to it. At a soft edge the steps have blended already.
    """
    latents = latents.clone()
    source = latents[rows.of(rows.source)] if source is None else source.to(latents)
    for i, mask in enumerate(masks):
        if mask is not None:
            own = rows.of(rows.place_of(i))
            outside = over(mask.to(latents.device), latents) == 0
            latents[own] = torch.where(outside, source, latents[own])
    return latents


def blend_mask(
    blend: LocalBlend | None, edit: int, recorder: MapRecorder, rows: Rows, size: tuple[int, int], step: tuple[int, int]
) -> torch.Tensor | None:
    """Where an edit may change the picture at step (i, n), [batch, 1, height, width] in [0, 1]; None is everywhere.

    Raises:
        EditError: words say where, but no map of them was seen.
    """
    if blend is None or not Window(blend.start, 1.0).holds(*step):
        return None
    mask = torch.ones(rows.batch, 1, *size)
    if blend.has_words:
        mask = _of_words(blend, edit, recorder, rows, size)
    if blend.mask is not None:
        mask = mask * fit_mask(blend.mask, rows.batch, size).to(mask.device)
    return mask


def _of_words(blend: LocalBlend, edit: int, recorder: MapRecorder, rows: Rows, size: tuple[int, int]) -> torch.Tensor:
    def union(of_source: Sequence[int], of_edit: Sequence[int], pool: bool) -> torch.Tensor:
        union = torch.zeros(rows.batch, 1, *size)
        for place, positions in ((rows.partner_of(edit), of_source), (rows.place_of(edit), of_edit)):
            if positions:
                words = recorder.blend_map(place, positions)
                if words is None:
                    raise EditError(
                        "source_words and edit_words",
                        "the model made no attention map of the whole picture, as happens when prompts are limited to "
                        "areas.",
                        "Connect a mask instead of words.",
                    )
                union = torch.maximum(union.to(words.device), word_mask(words, size, blend.threshold, pool))
        return union

    inside = union(blend.source_positions, blend.edit_positions, pool=True)
    return inside * (1 - union(blend.source_subtract, blend.edit_subtract, pool=False).to(inside.device))
