"""One sampling run of an edit: all the state there is, gone when the run is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Protocol

import torch

from .architecture import Architecture
from .attention import Attend, Call, Injection, Neighbour, Pair, Source, edited_attention, mask_of_rows
from .blend import misfit
from .edit import Edit
from .layers import Layer
from .maps import AttentionMaps, MapRecorder
from .predictions import Blend, Follow, Pin, Rule, blend_mask, ending_at, outside_is_the_source
from .rows import Evaluation, Rows
from .step import StepEdit

# The part of a picture's contrast by which an edit has to move to be seen. A cat made a dog by the demo model, three
# seeds, 12 steps of euler at denoise 0.9: it moves by 0.25 to 0.28, with the same words by less than 1e-6.
_HARDLY = 0.02


class Recorded(Protocol):
    """A source that was sampled before, and is not in the batch."""

    def source(self, call: Call, evaluation: Evaluation) -> Source:
        """What its attention was in the same layer and evaluation; tensors have `batch` rows.

        Asked at most once for each.
        """


class Keeper(Protocol):
    """What keeps the source's attention."""

    def wants(self, layer: Layer) -> bool:
        """Whether it may keep the layer's at any step."""

    def keep(self, call: Call, evaluation: Evaluation) -> None:
        """`call` has the source's rows alone."""


_Taken = Callable[[Evaluation], Source]


class Run:
    """Decides each step's edit and applies it in every attention layer and to the prediction.

    Args:
        edit: what to do.
        architecture: of the model that is sampled.
        batch: images of the source.
        size: the latent's height and width.
        trajectory: see Rows.
        keep_maps: whether the maps of all words are kept, or only of those that a blend needs.
        recorded: the source, where it has no rows in the batch.
        keeper: is given the source's attention.
        picture: of an edit of a real picture its latents [batch, ...], such as the model predicts.

    Attributes:
        recorded: as given.
        called: whether the model has asked for its attention.
        edited: whether any call of it was edited.

    Raises:
        EditError: the schedule names blocks or layers that the model does not have.
    """

    def __init__(
        self,
        edit: Edit,
        architecture: Architecture,
        batch: int,
        size: tuple[int, int],
        trajectory: str = "dual",
        keep_maps: bool = False,
        recorded: Recorded | None = None,
        keeper: Keeper | None = None,
        picture: torch.Tensor | None = None,
    ):
        self.edit = edit.on(architecture).within(architecture)
        self.architecture = architecture
        self.rows = Rows(len(edit.variants), batch, trajectory, recorded is not None)
        self.size = size
        self.called = False
        self.edited = False
        self.recorded = recorded
        self._keeper = keeper
        self._picture = picture if self.edit.picture is not None else None
        self._moved: list[float] = []
        beside = Rows(len(edit.variants), batch, "dual") if recorded else self.rows
        self._recorder = MapRecorder(self.edit, beside, architecture, size, keep_maps)
        self._masks: tuple[torch.Tensor | None, ...] = (None,) * len(edit.variants)
        self.step, self.steps = 0, 1
        self._step_edits: tuple[StepEdit, ...] = ()

    def go_on_from(self, earlier: Run) -> None:
        """Begin with what an earlier part of the same sampling has seen: its maps, and whether it edited."""
        self._recorder.go_on_from(earlier._recorder)
        self.edited = earlier.edited

    def begin_step(self, step: int, steps: int) -> None:
        """Every attention call until the next belongs to step `step` of `steps`."""
        if (step, steps) != (self.step, self.steps) or not self._step_edits:
            self.step, self.steps = step, steps
            self._step_edits = tuple(StepEdit(variant, step, steps) for variant in self.edit.variants)

    def concerns(self, layer: Layer) -> bool:
        """Whether this run may edit or record the layer at any step."""
        weighs = "text" in layer.attends_to and any(variant.reweights for variant in self.edit.variants)
        injects = any(
            variant.schedule.injects(layer, part) for variant in self.edit.variants for part in layer.attends_to
        )
        kept = self._keeper is not None and self._keeper.wants(layer)
        return weighs or injects or kept or self._recorder.wants(layer)

    def takes(self, layer: Layer) -> bool:
        """Whether an edit or a map takes the source's attention in a layer at this step."""
        return self._recorder.wants(layer) or self.injects(layer)

    def injects(self, layer: Layer) -> bool:
        """Whether an edit takes the source's attention in a layer at this step."""
        return any(edit.takes(layer) for edit in self._step_edits)

    def takes_values(self, layer: Layer) -> str | None:
        """The self_mode of an edit that takes the source's values in a layer at this step; None where none does."""
        modes = (edit.variant.schedule.self_mode for edit in self._step_edits if edit.takes_values(layer))
        return next(modes, None)

    def attention(self, call: Call, attend: Attend, previous: Attend | None = None) -> torch.Tensor:
        """A layer's attention [rows, n, c] with this step's edit.

        Args:
            attend: the host's attention; previous: what another patch makes of it. The edit is
                added to that as the difference it makes to plain attention.
        """
        pairs = self.pairs(call, attend)
        if previous is None:
            return edited_attention(call, pairs, attend)
        out = call.attend(previous)
        if pairs:
            difference = edited_attention(call, pairs, attend) - call.attend(attend)
            out = out.clone()
            for pair in pairs:
                out[pair.edit] += difference[pair.edit]
        return out

    def pairs(self, call: Call, attend: Attend) -> list[Pair]:
        """What this step's edit does in a layer's attention, for `edited_attention`; the maps that it asks for are
        kept on the way. Of runs that share a call, each has evaluations of its own in it."""
        self.called = True
        taken = cache(lambda evaluation: self.recorded.source(call, evaluation))
        pairs = [pair for evaluation in call.evaluations for pair in self._pairs(call, evaluation, taken)]
        for evaluation in call.evaluations:
            self._record(call, evaluation, attend, taken)
            if self._keeper is not None:
                self._keeper.keep(call.of_rows(self.rows.of(self.rows.source, evaluation.base)), evaluation)
        self.edited |= bool(pairs)
        return pairs

    @property
    def has_rules(self) -> bool:
        """Whether predictions have to go through `predictions`."""
        blends = any(variant.blend is not None for variant in self.edit.variants)
        return blends or self.rows.trajectory == "shared" or self._picture is not None

    @property
    def fidelity(self) -> float:
        """By which share of the source's error the edits are corrected at this step; 0 without a picture."""
        return 0.0 if self._picture is None else self.edit.picture.fidelity_at(self.step, self.steps)

    def predictions(
        self, *predictions: torch.Tensor | None, sources: Sequence[torch.Tensor | None] = ()
    ) -> list[torch.Tensor | None]:
        """Predictions of the denoised latent [rows, channels, ...] as the rules have them, each by itself.

        `sources`: for each the source's own [batch, channels, ...], where it has no row.
        """
        sources = sources or (None,) * len(predictions)
        self._masks = tuple(
            blend_mask(variant.blend, i, self._recorder, self._recorder.rows, self.size, (self.step, self.steps))
            for i, variant in enumerate(self.edit.variants)
        )
        return [None if one is None else self.ruled(one, source) for one, source in zip(predictions, sources)]

    def ruled(self, predictions: torch.Tensor, source: torch.Tensor | None = None) -> torch.Tensor:
        """[rows, channels, ...] as the rules have them, with the masks of the last `predictions`; see there."""
        for rule in self._rules(source):
            predictions = rule(predictions)
        return predictions

    def final(
        self, latents: torch.Tensor, picture: torch.Tensor | None = None, source: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The final latents [rows, ...], outside of the masks the source's to the bit.

        Args:
            picture: of an edit of a real picture its latents [batch, ...], such as the final ones are; None where
                these still have noise in them.
            source: the source's own [batch, ...], where it has no row.
        """
        if self._picture is None or picture is None:
            return outside_is_the_source(latents, self.rows, self._masks, source)
        latents = ending_at(picture, latents, self.rows, source)
        latents = outside_is_the_source(latents, self.rows, self._masks, picture)
        self._moved = [_distance(latents[self.rows.of(self.rows.place_of(i))], picture) for i in range(self.rows.edits)]
        return latents

    def masks(self) -> torch.Tensor:
        """Where each edit may change the picture, float32 [edits * batch, height, width]; 1 without a blend."""
        everywhere = torch.ones(self.rows.batch, *self.size)
        return torch.cat([everywhere if m is None else m[:, 0].float().cpu() for m in self._masks])

    def maps(self) -> AttentionMaps | None:
        """What `keep_maps` kept."""
        return self._recorder.maps()

    def note(self) -> str | None:
        """What to tell the user of a finished run: that nothing was edited, or hardly anything, and why; and of masks
        that weren't made for its pictures."""
        picture = tuple(self.architecture.pixels * side for side in self.size)
        blends = (variant.blend for variant in self.edit.variants)
        masks = {id(blend.mask): blend.mask for blend in blends if blend is not None and blend.mask is not None}
        notes = [note for mask in masks.values() if (note := misfit(mask, self.rows.batch, picture))]
        if self.edit.variants and not self.edited:
            without = "without prompt-to-prompt" if self._picture is None else "held to the picture by fidelity alone"
            notes.append(
                f"Nothing was edited: {self.edit.why_nothing(self.architecture.layers, self.steps)} The edited picture "
                f"is what its prompt gives {without}."
            )
        for number, moved in enumerate(self._moved, 1):
            if moved < _HARDLY:
                which = f"Edit {number}" if len(self._moved) > 1 else "The edit"
                notes.append(
                    f"{which} hardly moved from the picture, by {moved:.1%} of its contrast. To move it further raise "
                    "denoise, set source_cfg below cfg, or let cross_end and self_end end sooner."
                )
        return " ".join(notes) or None

    def _rules(self, source: torch.Tensor | None) -> list[Rule]:
        rules: list[Rule] = []
        if self._picture is not None:
            rules.append(Pin(self.rows, self._picture, self.fidelity, source))
            source = self._picture
        if any(mask is not None for mask in self._masks):
            rules.append(Blend(self.rows, self._masks, source))
        if self.rows.trajectory == "shared":
            rules.append(Follow(self.rows))
        return rules

    def _pairs(self, call: Call, evaluation: Evaluation, taken: _Taken) -> list[Pair]:
        pairs = []
        for i, step_edit in enumerate(self._step_edits):
            injection = step_edit.injection(call, evaluation.shares_prompt)
            if injection is not None:
                own = self.rows.of(self.rows.place_of(i), evaluation.base)
                pairs.append(Pair(self._source(evaluation, i, injection, taken), own, injection))
        return pairs

    def _source(self, evaluation: Evaluation, edit: int, injection: Injection, taken: _Taken) -> Source | None:
        if self.recorded is None:
            return Neighbour(self.rows.of(self.rows.partner_of(edit), evaluation.base))
        return taken(evaluation) if injection.inject is not None else None

    def _record(self, call: Call, evaluation: Evaluation, attend: Attend, taken: _Taken) -> None:
        if evaluation.shares_prompt or call.size != self.size or not self._recorder.wants(call.layer):
            return
        call = call.of_image.of_rows(slice(evaluation.base, evaluation.base + len(self.rows)))
        if self.recorded is not None:  # a map needs no values: what was recorded may stand beside the edits
            call = _beside(taken(evaluation), call)
        rows, pairs = self._recorder.rows, []
        for i, step_edit in enumerate(self._step_edits):
            injection = step_edit.injection(call, weighted=False)
            if injection is not None:
                pairs.append(Pair(Neighbour(rows.of(rows.partner_of(i))), rows.of(rows.place_of(i)), injection))
        self._recorder.record(call, pairs, attend)


def _distance(latents: torch.Tensor, picture: torch.Tensor) -> float:
    """How far latents are from those of a picture, as a part of its contrast."""
    moved = (latents - picture.to(latents)).detach().float().pow(2).mean().sqrt()
    return float(moved / picture.float().std().clamp(min=1e-6))


def _beside(source: Source, call: Call) -> Call:
    """A call with the source's rows before its own. Of the values nothing is known."""
    q, k = torch.cat([source.q(call), call.q]), torch.cat([source.k(call), call.k])
    mask, theirs = call.mask, source.mask(call)
    if theirs is not mask:
        own = mask_of_rows(mask, len(call.q), theirs)
        mask = torch.cat([mask_of_rows(theirs, len(q) - len(own), own), own])
    return replace(call, q=q, k=k, v=k, mask=mask)
