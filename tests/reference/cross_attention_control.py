"""CrossAttentionControl's procedure on materialised maps, for a ComfyUI model.

One latent; each step is three evaluations of the model, one after the other: unconditional, the source
prompt with all its maps saved, the edit prompt with these maps in place of its own. Windows are on t / 1000,
which falls from 1 to 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import comfy.samplers
import torch


def token_mask(source: Sequence[int], edit: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """From padded token ids: mask [n], 1 where the edit's token takes a map of the source's, and indices [n], which."""
    mask = torch.zeros(len(edit), dtype=torch.float64)
    indices = torch.zeros(len(edit), dtype=torch.long)
    for name, a0, a1, b0, b1 in SequenceMatcher(None, source, edit).get_opcodes():
        if name == "equal" or (name == "replace" and a1 - a0 == b1 - b0):
            mask[b0:b1] = 1
            indices[b0:b1] = torch.arange(a0, a1)
    return mask, indices


@dataclass
class Control:
    """Attributes:
    source, edit: padded token ids.
    tokens, spatial: (start, end) of the windows of cross and of self-attention, on t / 1000.
    weights: (token of the edit, weight) pairs.
    """

    source: Sequence[int]
    edit: Sequence[int]
    tokens: tuple[float, float] = (0.0, 1.0)
    spatial: tuple[float, float] = (0.0, 1.0)
    weights: Sequence[tuple[int, float]] = ()
    phase: str = "plain"
    time: float = 1.0
    saved: dict = field(default_factory=dict)

    def patched(self, model):
        model = model.clone()
        for name in ("attn1", "attn2"):
            for block in ("input", "middle", "output"):
                for number in range(12):
                    model.set_model_patch_replace(self._patch(name), name, block, number)
        return model

    def _patch(self, name: str):
        def patch(q, k, v, options):
            heads, layer = options["n_heads"], (name, *options["block"], options["block_index"])
            q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
            maps = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
            if self.phase == "save":
                self.saved[layer] = maps
            if self.phase == "use":
                maps = self._used(maps, self.saved[layer], is_cross=name == "attn2")
            return (maps @ v).transpose(1, 2).flatten(-2)

        return patch

    def _used(self, maps: torch.Tensor, saved: torch.Tensor, is_cross: bool) -> torch.Tensor:
        start, end = self.tokens if is_cross else self.spatial
        if start <= self.time <= end:
            if is_cross:
                mask, indices = token_mask(self.source, self.edit)
                mask = mask.to(maps)
                maps = maps * (1 - mask) + saved[..., indices] * mask
            else:
                maps = saved
        if is_cross:
            weights = torch.ones(maps.shape[-1], dtype=maps.dtype)
            for token, weight in self.weights:
                weights[token] = weight
            maps = maps * weights
        return maps


class Guider(comfy.samplers.CFGGuider):
    """Classifier-free guidance of the edit prompt, in three evaluations."""

    def __init__(self, model, control: Control, source, edit, negative, cfg: float):
        super().__init__(control.patched(model))
        self.control = control
        self.inner_set_conds({"source": source, "edit": edit, "negative": negative})
        self.set_cfg(cfg)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        def evaluated(name: str, phase: str) -> torch.Tensor:
            self.control.phase = phase
            return comfy.samplers.calc_cond_batch(self.inner_model, [self.conds[name]], x, timestep, model_options)[0]

        self.control.time = float(self.inner_model.model_sampling.timestep(timestep)[0]) / 1000
        uncond = evaluated("negative", "plain")
        evaluated("source", "save")
        edited = evaluated("edit", "use")
        return uncond + self.cfg * (edited - uncond)
