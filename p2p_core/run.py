"""One sampling run of an edit: all the state there is, gone when the run is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .attention import Attend, Pair, edited_attention
from .blend import LocalBlend, fit_mask, limit, word_mask
from .edit import Edit
from .errors import EditError
from .layers import Layer, blend_level
from .maps import AttentionMaps, MapRecorder, word_maps
from .rows import Rows
from .schedule import Window
from .step import StepEdit


@dataclass(frozen=True)
class Chunk:
    """The rows of a call that are one evaluation of the whole run: they begin at `base`.

    `aligned` is False where source and edits share one encoding.
    """

    base: int = 0
    aligned: bool = True


class Run:
    """Decides each step's edit and applies it in every attention layer and to the prediction.

    Args:
        edit: what to do.
        layers: the model's attention layers.
        batch: images of the source.
        size: the latent's height and width.
        trajectory: see Rows.
        keep_maps: whether the maps of all words are kept, or only of those that a blend needs.
    """

    def __init__(
        self,
        edit: Edit,
        layers: Sequence[Layer],
        batch: int,
        size: tuple[int, int],
        trajectory: str = "dual",
        keep_maps: bool = False,
    ):
        self.edit = edit
        self.rows = Rows(len(edit.variants), batch, trajectory)
        self.size = size
        self.reached = False
        self.edited = False
        self._keep_maps = keep_maps
        level = blend_level(layers, *size)
        self._blend_layers = [layer for layer in layers if layer.kind == "cross" and layer.level == level]
        self._map_layers = set(self._blend_layers)
        if keep_maps:
            self._map_layers = {layer for layer in layers if layer.kind == "cross"}
        self._recorder = MapRecorder(self._wanted(), batch)
        self._masks: tuple[torch.Tensor | None, ...] = (None,) * len(edit.variants)
        self.begin_step(0, 1)

    def note(self) -> str | None:
        """What to tell the user of a finished run in which nothing was edited."""
        if self.edited:
            return None
        steps = self._progress[1]
        return (
            f"Nothing was edited: none of the {steps} steps lies in a window of AttentionInjectSchedule, and no word "
            "is reweighted. The edited picture is what its prompt gives without prompt-to-prompt."
        )

    def begin_step(self, step: int, steps: int) -> None:
        """Every attention call until the next belongs to step `step` of `steps`."""
        self._progress = (step, steps)
        self._step = tuple(StepEdit(variant, step, steps) for variant in self.edit.variants)

    def reaches(self, layer: Layer) -> bool:
        """Whether a layer may ever have to do with the edit."""
        if layer.kind == "cross" and any(variant.reweights for variant in self.edit.variants):
            return True
        return self._records(layer) or any(variant.schedule.reaches(layer) for variant in self.edit.variants)

    def attention(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        layer: Layer,
        heads: int,
        chunks: Sequence[Chunk],
        size: tuple[int, int],
        attend: Attend,
        previous: Attend | None = None,
    ) -> torch.Tensor:
        """A layer's attention with this step's edit.

        Args:
            q, k, v: the layer's projections, [rows, n, c] and [rows, m, c].
            chunks: the evaluations of the run in this call; rows outside of them are left alone.
            size: the latent's height and width in this call.
            attend: the host's attention; previous: what another patch makes of it. The edit is
                added to that as the difference it makes to plain attention.

        Returns:
            [rows, n, c].
        """
        self.reached = True
        pairs = self._pairs(layer, chunks, v)
        if self._records(layer) and size == self.size:
            for chunk in chunks:
                if chunk.aligned:
                    self._record(q, k, layer, heads, chunk, attend)
        self.edited |= bool(pairs)
        if previous is None:
            return edited_attention(q, k, v, pairs, attend) if pairs else attend(q, k, v)
        out = previous(q, k, v)
        if pairs:
            difference = edited_attention(q, k, v, pairs, attend) - attend(q, k, v)
            out = out.clone()
            for pair in pairs:
                out[pair.edit] += difference[pair.edit]
        return out

    @property
    def settles(self) -> bool:
        """Whether predictions have to go through `blend`."""
        return any(self.rows.sources) or any(variant.blend is not None for variant in self.edit.variants)

    def blend(self, *predictions: torch.Tensor | None) -> list[torch.Tensor | None]:
        """Predictions of the denoised latent [rows, channels, height, width], with the edits kept to
        their masks and each companion following its edit."""
        self._masks = tuple(self._mask(i, predictions[0].device) for i in range(len(self.edit.variants)))
        return [None if prediction is None else self.settle(prediction) for prediction in predictions]

    def settle(self, latent: torch.Tensor) -> torch.Tensor:
        """A latent [rows, ...] held to the masks of the last step."""
        latent = latent.clone()
        for source, edited, mask in zip(self.rows.sources, self.rows.edited, self._masks):
            if mask is not None:
                inside, outside = latent[self.rows.of(edited)], latent[self.rows.of(0)]
                latent[self.rows.of(edited)] = limit(inside, outside, mask.to(latent.device))
            if source:
                latent[self.rows.of(source)] = latent[self.rows.of(edited)]
        return latent

    def finish(self, latents: torch.Tensor) -> torch.Tensor:
        """The final latents [rows, ...] with the source outside of the masks.

        Samplers that look back at earlier steps, before a blend began or while its mask was another,
        only come near to it. At a soft edge the steps have blended already.
        """
        latents = latents.clone()
        for edited, mask in zip(self.rows.edited, self._masks):
            if mask is not None:
                inside, outside = latents[self.rows.of(edited)], latents[self.rows.of(0)]
                latents[self.rows.of(edited)] = torch.where(mask.to(latents.device) == 0, outside, inside)
        return latents

    def masks(self) -> torch.Tensor:
        """Where each edit may change the picture, float32 [edits * batch, height, width]; 1 without a blend."""
        everywhere = torch.ones(self.rows.batch, *self.size)
        return torch.cat([everywhere if m is None else m[:, 0].float().cpu() for m in self._masks])

    def maps(self) -> AttentionMaps | None:
        """What `keep_maps` kept."""
        if not self._keep_maps:
            return None
        source = self._recorder.of(self.edit.source, 0, _words(self.edit.source))
        edits = (
            self._recorder.of(variant.prompt, row, _words(variant.prompt))
            for variant, row in zip(self.edit.variants, self.rows.edited)
        )
        return AttentionMaps(source, tuple(edits), self.size)

    def _pairs(self, layer: Layer, chunks: Sequence[Chunk], like: torch.Tensor, weighted: bool = True) -> list[Pair]:
        pairs = []
        for chunk in chunks:
            for step_edit, source, edited in zip(self._step, self.rows.sources, self.rows.edited):
                injection = step_edit.injection(layer, like, chunk.aligned, weighted)
                if injection is not None:
                    rows = self.rows.of
                    pairs.append(Pair(rows(source, chunk.base), rows(edited, chunk.base), injection))
        return pairs

    def _wanted(self) -> list[tuple[int, ...]]:
        wanted = [set() for _ in range(self.rows.prompts)]
        if self._keep_maps:
            wanted[0].update(_words(self.edit.source))
        for variant, source, edited in zip(self.edit.variants, self.rows.sources, self.rows.edited):
            if self._keep_maps:
                wanted[edited].update(_words(variant.prompt))
            if variant.blend is not None and variant.blend.has_words:
                wanted[source].update(variant.blend.source_positions, variant.blend.source_subtract)
                wanted[edited].update(variant.blend.edit_positions, variant.blend.edit_subtract)
        return [tuple(sorted(positions)) for positions in wanted]

    def _records(self, layer: Layer) -> bool:
        return layer in self._map_layers and any(self._recorder.wanted)

    def _record(self, q, k, layer: Layer, heads: int, chunk: Chunk, attend: Attend) -> None:
        rows = slice(chunk.base, chunk.base + len(self.rows))
        prompts = [self.edit.source] * self.rows.prompts
        for variant, edited in zip(self.edit.variants, self.rows.edited):
            prompts[edited] = variant.prompt
        tokens = [
            (self.rows.of(row), len(prompt), positions)
            for row, (prompt, positions) in enumerate(zip(prompts, self._recorder.wanted))
        ]
        pairs = self._pairs(layer, [Chunk()], q, weighted=False)
        self._recorder.add(layer, word_maps(q[rows], k[rows], tokens, pairs, heads, attend), self.size)

    def _mask(self, i: int, device: torch.device) -> torch.Tensor | None:
        blend = self.edit.variants[i].blend
        if blend is None or not Window(blend.start, 1.0).holds(*self._progress):
            return None
        mask = torch.ones(self.rows.batch, 1, *self.size, device=device)
        if blend.has_words:
            mask = self._word_mask(blend, i).to(device)
        if blend.mask is not None:
            mask = mask * fit_mask(blend.mask, self.rows.batch, self.size).to(device)
        return mask

    def _word_mask(self, blend: LocalBlend, i: int) -> torch.Tensor:
        names = list(dict.fromkeys(layer.name for layer in self._blend_layers))
        source, edited = self.rows.sources[i], self.rows.edited[i]

        def union(of_source: Sequence[int], of_edit: Sequence[int], pool: bool) -> torch.Tensor:
            union = torch.zeros(self.rows.batch, 1, *self.size)
            for row, positions in ((source, of_source), (edited, of_edit)):
                if positions:
                    words = self._recorder.total(row, positions, names)
                    if words is None:
                        raise EditError(
                            "AttentionLocalBlend: no attention map of the whole picture was seen. Prompts limited to "
                            "areas have none: connect a mask instead of words."
                        )
                    union = torch.maximum(union.to(words.device), word_mask(words, self.size, blend.threshold, pool))
            return union

        inside = union(blend.source_positions, blend.edit_positions, pool=True)
        return inside * (1 - union(blend.source_subtract, blend.edit_subtract, pool=False).to(inside.device))


def _words(prompt) -> tuple[int, ...]:
    return tuple(i for i, token in enumerate(prompt.tokens) if token.kind != "pad")
