"""What an edit is at one step: the one place where windows, ramps, weights and layers meet."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .attention import Call, Injection
from .edit import Variant
from .layers import Layer
from .values import Mix, Parts, Scale, Values, Weigh


def step_of(sigma: float, sigmas: Sequence[float]) -> int:
    """The step that a noise level belongs to: the last `i` with sigmas[i] >= sigma, from 0.

    `sigmas` falls and has one more entry than there are steps. Found, never counted, since some
    samplers evaluate the model several times a step, between two levels or a little above the first.
    """
    passed = sum(level >= sigma * (1 - 1e-4) for level in sigmas[:-1])
    return max(passed - 1, 0)


class StepEdit:
    """One variant at step `step` of `steps`: what each attention call injects."""

    def __init__(self, variant: Variant, step: int, steps: int):
        schedule = variant.schedule
        self.variant = variant
        self._self_strength = schedule.self_strength_at(step, steps)
        self._cross_strength = schedule.cross_strength_at(step, steps)
        self._strengths = torch.tensor(schedule.cross_strengths(len(variant.prompt), step, steps), dtype=torch.float64)
        self._weights = torch.tensor(variant.weights(step, steps), dtype=torch.float64)
        self._on_device: dict[tuple, tuple[Values | None, Values | None]] = {}

    def injection(self, call: Call, shares_prompt: bool = False, weighted: bool = True) -> Injection | None:
        """What an edit injects in a call at this step, or None where its attention is its own.

        Args:
            shares_prompt: source and edit share one encoding, so that every token is its own partner and
                the words of the prompts mean nothing.
            weighted: False leaves the words' weights out: for maps, where a weight would only move
                the scale, and a negative one turn a word's place inside out.
        """
        layer, text = call.layer, call.text_keys
        s, mode, words = self._injected(layer)
        if shares_prompt:
            a = self._cross_strength * words
            of_text = _scaled(a)
        else:
            of_text = self._of_text(words, weighted, call)
        if "image" not in layer.attends_to:
            inject, keep = of_text
        elif "text" not in layer.attends_to:
            inject, keep = _scaled(s)
        elif mode == "map":
            inject, keep = (_joined(of, image, text) for of, image in zip(of_text, _scaled(s)))
        else:
            weighed = of_text[1]  # nothing of the words is injected: all of them are kept
            inject, keep = (_joined(_times(weighed, share), _scale(share), text) for share in (s, 1 - s))
            inject = Scale(s) if mode == "output" else inject
        if inject is None and _changes_nothing(keep):
            return None
        if layer.attends_to == ("text",):
            return Injection(inject, keep)
        return Injection(
            inject,
            keep,
            query="edit" if mode == "key_value" else "source",
            value="edit" if mode in ("map", "layout") else "source",
            own=text if mode in ("layout", "key_value") else slice(0, 0),
        )

    def takes(self, layer: Layer) -> bool:
        """Whether anything of a layer's attention is the source's at this step."""
        s, _, words = self._injected(layer)
        return s > 0 or (words and bool(self._strengths.any()))

    def takes_values(self, layer: Layer) -> bool:
        """Whether these are the source's in a layer, and not its maps alone."""
        s, mode, _ = self._injected(layer)
        return s > 0 and mode in ("key_value", "output")

    def _injected(self, layer: Layer) -> tuple[float, str, bool]:
        """How strongly the image is injected in a layer, in which mode, and whether the words are."""
        schedule = self.variant.schedule
        s = self._self_strength * schedule.injects(layer, "image")
        mode = schedule.self_mode if s > 0 else "map"
        # With the source's keys beside its own words, an edit's softmax is over both: its words are its own.
        words = schedule.injects(layer, "text") and (layer.attends_to == ("text",) or mode == "map")
        return s, mode, words

    def _of_text(self, injected: bool, weighted: bool, call: Call) -> tuple[Values | None, Values | None]:
        """What is done to the values of the prompt's tokens under the source's map, and under the edit's own."""
        device, dtype = call.v.device, call.v.dtype
        key = (injected, weighted, device, dtype)
        if key not in self._on_device:
            alignment = self.variant.alignment
            a = self._strengths * alignment.taken * injected
            w = self._weights if weighted else torch.ones_like(a)
            keep = (1 - a) * w
            self._on_device[key] = (
                Mix((alignment.matrix * (a * w)).to(dtype).to(device)) if a.any() else None,
                _weigh(keep, dtype, device) if keep.any() or not a.any() else None,
            )
        return self._on_device[key]


def _weigh(weights: torch.Tensor, dtype: torch.dtype, device: torch.device) -> Values:
    return Scale(1.0) if (weights == 1).all() else Weigh(weights.to(dtype).to(device))


def _scale(factor: float) -> Values | None:
    return Scale(factor) if factor else None


def _scaled(strength: float) -> tuple[Values | None, Values | None]:
    return _scale(strength), _scale(1 - strength)


def _times(weigh: Weigh | Scale | None, factor: float) -> Values | None:
    if weigh is None or not factor:
        return None
    return Weigh(weigh.weights * factor) if isinstance(weigh, Weigh) else Scale(weigh.factor * factor)


def _joined(of_text: Values | None, of_image: Values | None, text: slice) -> Values | None:
    """One map for the keys of the text and another for all others, which are the image's."""
    parts = [(text, of_text), (slice(0, text.start), of_image), (slice(text.stop, None), of_image)]
    chosen = [(keys, change) for keys, change in parts if change is not None and keys != slice(0, 0)]
    return Parts(tuple(chosen)) if chosen else None


def _changes_nothing(keep: Values | None) -> bool:
    return all(change == Scale(1.0) for _, change in keep.parts) if isinstance(keep, Parts) else keep == Scale(1.0)
