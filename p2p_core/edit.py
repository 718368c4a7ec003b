"""The edit that travels between nodes: prompts, alignments, weights, schedules. No per-step state."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from .alignment import Alignment, align
from .blend import LocalBlend
from .errors import EditError
from .schedule import InjectSchedule, Window
from .tokens import Prompt, find_words, split_phrases


@dataclass(frozen=True)
class Reweight:
    """Multiply the maps of some of the edit's tokens by `scale` at the steps of `window`.

    The paper's attention re-weighting (section 3.1): no renormalisation, so 2 doubles a token's part.
    """

    words: str
    positions: tuple[int, ...]
    scale: float
    window: Window = Window(0.0, 1.0)


@dataclass(frozen=True)
class Variant:
    """One edited prompt and how it is made from the source."""

    prompt: Prompt
    alignment: Alignment
    schedule: InjectSchedule = InjectSchedule()
    reweights: tuple[Reweight, ...] = ()
    blend: LocalBlend | None = None

    def weights(self, step: int, steps: int) -> list[float]:
        """The product of all scales at a step for each of the edit's tokens; 1 where there is none."""
        weights = [1.0] * len(self.prompt)
        for reweight in self.reweights:
            if reweight.window.holds(step, steps):
                for i in reweight.positions:
                    weights[i] *= reweight.scale
        return weights


@dataclass(frozen=True)
class Edit:
    """A source prompt and one or more edits of it. Every method returns a new Edit.

    What is set, is set for the variants there are; one that is added later starts from the defaults.
    """

    source: Prompt
    variants: tuple[Variant, ...] = ()

    def add(self, prompt: Prompt, mode: str = "auto") -> Edit:
        """One more edited prompt. Raises EditError where `mode` can't align it."""
        return replace(self, variants=(*self.variants, Variant(prompt, align(self.source, prompt, mode))))

    def reweight(self, words: str, scale: float, start: float = 0.0, end: float = 1.0) -> Edit:
        """Scale the maps of `words` (see Prompt.find) of the edit prompts that have them.

        Raises:
            EditError: no words, a word in none of the edit prompts, a scale that is no number.
        """
        if not math.isfinite(scale):
            raise EditError(f"scale is {scale}: it has to be a number.")
        phrases = split_phrases(words)
        if not phrases:
            raise EditError("words is empty: name the words of the edit prompt to reweight.")
        window = Window(start, end)
        variants = []
        for variant, found in zip(self.variants, find_words(self._edited(), phrases, "words")):
            # The same token named twice is one token, not a weight squared.
            positions = _flat(found)
            reweights = (*variant.reweights, Reweight(words, positions, scale, window)) if positions else ()
            variants.append(replace(variant, reweights=reweights or variant.reweights))
        return replace(self, variants=tuple(variants))

    def schedule(self, schedule: InjectSchedule) -> Edit:
        """Set windows and strengths. Raises EditError for a word window of a word that isn't there."""
        variants = list(self.variants)
        windows: list[list] = [[] for _ in variants]
        for line in schedule.word_windows:
            found = find_words(self._edited(), split_phrases(line.words), "word_windows")
            for own, places in zip(windows, found):
                positions = _flat(places)
                if positions:
                    own.append(replace(line, positions=positions))
        return replace(
            self,
            variants=tuple(
                replace(variant, schedule=replace(schedule, word_windows=tuple(own)))
                for variant, own in zip(variants, windows)
            ),
        )

    def local_blend(
        self,
        source_words: str,
        edit_words: str,
        threshold: float = 0.3,
        start: float = 0.2,
        subtract_words: str = "",
        mask: Any = None,
    ) -> Edit:
        """Limit the edits to where the words are; edits with none of `edit_words` stay as they were.

        `mask` [height, width] or [batch, height, width], values in [0, 1], limits the change whatever
        the words say, and may stand alone.

        Raises:
            EditError: neither words nor mask, words that aren't there, numbers out of range.
        """
        if not 0 <= threshold <= 1:
            raise EditError(f"threshold is {threshold}: it goes from 0 to 1.")
        Window(start, 1.0)
        in_source, in_edit, subtract = map(split_phrases, (source_words, edit_words, subtract_words))
        if not in_source and not in_edit and mask is None:
            raise EditError("source_words and edit_words are empty and no mask is connected: nothing says where.")
        of_source = find_words([self.source], in_source, "source_words")[0]
        of_edits = find_words(self._edited(), in_edit, "edit_words")
        out = find_words([self.source, *self._edited()], subtract, "subtract_words")
        variants = tuple(
            replace(
                variant,
                blend=LocalBlend(
                    source_positions=_flat(of_source),
                    edit_positions=_flat(found),
                    source_subtract=_flat(out[0]),
                    edit_subtract=_flat(out[1 + i]),
                    threshold=threshold,
                    start=start,
                    mask=mask,
                ),
            )
            if found or not in_edit
            else variant
            for i, (variant, found) in enumerate(zip(self.variants, of_edits))
        )
        return replace(self, variants=variants)

    def _edited(self) -> list[Prompt]:
        return [variant.prompt for variant in self.variants]


def _flat(places: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted({i for run in places.values() for i in run}))
