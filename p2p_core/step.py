"""What an edit is at one step: the one place where windows, ramps, weights and layers meet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch

from .attention import Injection
from .edit import Variant
from .layers import Layer


def step_of(sigma: float, sigmas: Sequence[float]) -> int:
    """The step that a noise level belongs to: the last `i` with sigmas[i] >= sigma, from 0.

    `sigmas` falls and has one more entry than there are steps. Found, never counted, since some
    samplers evaluate the model several times a step, between two levels or a little above the first.
    """
    reached = sum(level >= sigma * (1 - 1e-4) for level in sigmas[:-1])
    return max(reached - 1, 0)


class StepEdit:
    """One variant at step `step` of `steps`: what each layer injects. Immutable but for its cache."""

    def __init__(self, variant: Variant, step: int, steps: int):
        schedule = variant.schedule
        self.variant = variant
        self._self_strength = schedule.self_strength_at(step, steps)
        self._cross_strength = schedule.cross_strength_at(step, steps)
        self._strengths = torch.tensor(schedule.cross_strengths(len(variant.prompt), step, steps), dtype=torch.float64)
        self._weights = torch.tensor(variant.weights(step, steps), dtype=torch.float64)
        self._aligned = lru_cache(maxsize=None)(self._aligned)

    def injection(self, layer: Layer, like: torch.Tensor, aligned: bool = True, weighted: bool = True):
        """What a layer does at this step: an Injection, or None where the edit's attention is its own.

        Args:
            like: tensor whose device and dtype the matrices get.
            aligned: False where source and edit share one encoding, so that every token is its own
                partner and the words of the prompts mean nothing.
            weighted: False leaves the words' weights out: for maps, where a weight would only move
                the scale, and a negative one turn a word's place inside out.
        """
        schedule = self.variant.schedule
        reached = schedule.reaches(layer)
        if layer.kind == "cross" and aligned:
            return self._aligned(reached, weighted, like.device, like.dtype)
        strength = self._self_strength if layer.kind == "self" else self._cross_strength
        if not reached or strength == 0:
            return None
        mode = schedule.self_mode if layer.kind == "self" else "map"
        return Injection(
            inject=strength,
            keep=1 - strength if strength < 1 else None,
            source_query=mode != "key_value",
            source_value=mode != "map",
        )

    def _aligned(self, reached: bool, weighted: bool, device: torch.device, dtype: torch.dtype) -> Injection | None:
        alignment = self.variant.alignment
        a = self._strengths * alignment.taken() * reached
        w = self._weights if weighted else torch.ones_like(a)
        if not a.any() and (w == 1).all():
            return None
        keep = (1 - a) * w
        return Injection(
            inject=(alignment.matrix() * (a * w)).to(dtype).to(device) if a.any() else None,
            keep=keep.to(dtype).to(device) if keep.any() or not a.any() else None,
        )
