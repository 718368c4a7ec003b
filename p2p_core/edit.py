"""The edit that travels between nodes: prompts, alignments, weights, schedules. No per-step state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from .alignment import Alignment, align
from .architecture import Architecture
from .blend import LocalBlend
from .errors import EditError
from .layers import Layer
from .picture import RealPicture
from .schedule import InjectSchedule, Window
from .tokens import Around, Prompt, find_words
from .words import split_phrases


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
    """One edited prompt and how it is made from the source.

    `schedule`: None is the architecture's own.
    """

    prompt: Prompt
    alignment: Alignment
    schedule: InjectSchedule | None = None
    reweights: tuple[Reweight, ...] = ()
    blend: LocalBlend | None = None

    def within(self, source: Around, own: Around) -> Variant:
        """With something around its prompt and around the source's. The schedule is set."""
        s, e = len(source.before), len(own.before)
        windows, blend = self.schedule.word_windows, self.blend
        if blend is not None:
            blend = replace(
                blend,
                source_positions=_moved(blend.source_positions, s),
                source_subtract=_moved(blend.source_subtract, s),
                edit_positions=_moved(blend.edit_positions, e),
                edit_subtract=_moved(blend.edit_subtract, e),
            )
        return replace(
            self,
            prompt=self.prompt.within(own),
            alignment=self.alignment.within(source, own),
            schedule=replace(
                self.schedule, word_windows=tuple(replace(w, positions=_moved(w.positions, e)) for w in windows)
            ),
            reweights=tuple(replace(r, positions=_moved(r.positions, e)) for r in self.reweights),
            blend=blend,
        )

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

    Settings apply to the variants added so far; one that is added later starts from the defaults.

    Attributes:
        picture: how all variants are held to a real picture; None where the source is drawn from its prompt.
    """

    source: Prompt
    variants: tuple[Variant, ...] = ()
    picture: RealPicture | None = None

    def add(self, prompt: Prompt, mode: str = "auto") -> Edit:
        """One more edited prompt.

        Raises:
            EditError: `mode` can't align it.
        """
        return replace(self, variants=(*self.variants, Variant(prompt, align(self.source, prompt, mode))))

    def reweight(self, words: str, scale: float, start: float = 0.0, end: float = 1.0) -> Edit:
        """Scale the maps of `words` (see Prompt.find) of the edit prompts that have them.

        Raises:
            EditError: no words, a word in none of the edit prompts, a scale that is not a number.
        """
        if not math.isfinite(scale):
            raise EditError("scale", f"{scale} is not a number.")
        phrases = split_phrases(words)
        if not phrases:
            raise EditError("words", "it is empty.", "Name words of the edit prompt to reweight.")
        window = Window(start, end)
        variants = []
        for variant, found in zip(self.variants, find_words(self._prompts, phrases, "words")):
            # The same token named twice is one token, not a weight squared.
            positions = _flat(found)
            reweights = (*variant.reweights, Reweight(words, positions, scale, window)) if positions else ()
            variants.append(replace(variant, reweights=reweights or variant.reweights))
        return replace(self, variants=tuple(variants))

    def schedule(self, schedule: InjectSchedule) -> Edit:
        """Set windows and strengths.

        Raises:
            EditError: a word window of a word that isn't there.
        """
        variants = list(self.variants)
        windows: list[list] = [[] for _ in variants]
        for line in schedule.word_windows:
            found = find_words(self._prompts, split_phrases(line.words), "word_windows")
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
        mask: torch.Tensor | None = None,
    ) -> Edit:
        """Limit the edits to where the words are; edits with none of `edit_words` stay as they were.

        `mask` [height, width] or [batch, height, width], values in [0, 1], limits the change whatever
        the words say, and may stand alone.

        Raises:
            EditError: neither words nor mask, a mask of zeros, words that aren't there, numbers out of range.
        """
        if not 0 <= threshold <= 1:
            raise EditError("threshold", f"{threshold} is out of range.", "Choose a number from 0 to 1.")
        Window(start, 1.0)
        in_source, in_edit, subtract = map(split_phrases, (source_words, edit_words, subtract_words))
        if not in_source and not in_edit and mask is None:
            raise EditError(
                "source_words and edit_words",
                "they are empty, and there is no mask, so nothing says where to edit.",
                "Name words, or connect a mask.",
            )
        if mask is not None and not (mask > 0).any():
            raise EditError(
                "mask",
                "it is 0 everywhere, so nothing could change.",
                "Connect one that is 1 where the edit may be. If a node that fills every free input connected this "
                "one, disconnect it.",
            )
        (of_source,) = find_words([self.source], in_source, "source_words")
        of_edits = find_words(self._prompts, in_edit, "edit_words")
        out_of_source, *out_of_edits = find_words([self.source, *self._prompts], subtract, "subtract_words")
        variants = []
        for variant, inside, outside in zip(self.variants, of_edits, out_of_edits):
            if inside or not in_edit:
                blend = LocalBlend(
                    source_positions=_flat(of_source),
                    edit_positions=_flat(inside),
                    source_subtract=_flat(out_of_source),
                    edit_subtract=_flat(outside),
                    threshold=threshold,
                    start=start,
                    mask=mask,
                )
                variant = replace(variant, blend=blend)
            variants.append(variant)
        return replace(self, variants=tuple(variants))

    def real_picture(
        self, fidelity: float = 1.0, source_cfg: float = 0.0, noise: str = "fresh", release: float = 0.0
    ) -> Edit:
        """Edits of a real picture, which the run is given; see RealPicture.

        Raises:
            EditError: a value out of range or unknown.
        """
        return replace(self, picture=RealPicture(fidelity, source_cfg, noise, release))

    def on(self, architecture: Architecture) -> Edit:
        """The edit as it is meant for such a model: each variant with a schedule (see InjectSchedule.on)."""
        layers, own = architecture.layers, architecture.schedule
        variants = [replace(variant, schedule=(variant.schedule or own).on(layers)) for variant in self.variants]
        if self.picture is not None and not self.source.text.strip():
            # Of a picture nobody described, no word's attention means anything: not even where the text ends.
            variants = [replace(one, alignment=replace(one.alignment, links=())) for one in variants]
        return replace(self, variants=tuple(variants))

    def within(self, architecture: Architecture) -> Edit:
        """An edit that is `on` a model, once: all prompts with what the architecture puts around them."""
        return self.surrounded(architecture.around([self.source, *self._prompts]))

    def surrounded(self, around: Sequence[Around]) -> Edit:
        """With something around each prompt, the source's first. Every variant's schedule is set."""
        of_source, *of_edits = around
        variants = [variant.within(of_source, own) for variant, own in zip(self.variants, of_edits)]
        return replace(self, source=self.source.within(of_source), variants=tuple(variants))

    def why_nothing(self, layers: Sequence[Layer], steps: int) -> str:
        """Why a run of so many steps edited nothing, a clause. The edit is one that is `on` its model."""
        schedules = [variant.schedule for variant in self.variants]
        if not any(schedule.cross_strength or schedule.self_strength for schedule in schedules):
            return "cross_strength and self_strength are 0, and no word is reweighted."
        open_at = [
            (schedule, part)
            for variant, schedule in zip(self.variants, schedules)
            for step in range(steps)
            for part, strengths in (
                ("text", schedule.cross_strengths(len(variant.prompt), step, steps)),
                ("image", [schedule.self_strength_at(step, steps)]),
            )
            if any(strengths)
        ]
        if not open_at:
            missed = f"none of the {steps} steps lies" if steps > 1 else "the only step does not lie"
            return f"{missed} in a window, and no word is reweighted."
        if not any(schedule.injects(layer, part) for schedule, part in open_at for layer in layers):
            return "blocks and self_layers leave out every layer whose window is open, and no word is reweighted."
        return "no word of the edit prompt takes its attention from the source, and none is reweighted."

    @property
    def _prompts(self) -> list[Prompt]:
        return [variant.prompt for variant in self.variants]


def _moved(positions: tuple[int, ...], by: int) -> tuple[int, ...]:
    return tuple(by + i for i in positions)


def _flat(places: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(sorted({i for run in places.values() for i in run}))
