"""What sets an edit apart from its source: words and pixels."""

from __future__ import annotations

import math
from difflib import SequenceMatcher

import torch

from ..edit import Edit, Variant
from ..tokens import Prompt
from .captions import MarkedText
from .colours import heat_colours


def both_prompts(edit: Edit) -> str:
    """The source prompt and the first edited one, or the prompt that is both, as a title."""
    return "  →  ".join(dict.fromkeys((edit.source.text, edit.variants[0].prompt.text)))


def changed_words(source: Prompt, prompt: Prompt) -> list[tuple[str, bool]]:
    """The words of `prompt`, each with whether it is new or in the place of another."""
    before, after = source.words, prompt.words
    matcher = SequenceMatcher(None, [w.ids for w in before], [w.ids for w in after], autojunk=False)
    return [
        (word.text, change != "equal")
        for change, _, _, start, end in matcher.get_opcodes()
        for word in after[start:end]
    ]


def with_weights(words: MarkedText, variant: Variant) -> list[tuple[str, bool]]:
    """The words of an edit's prompt as `changed_words` has them, the reweighted ones with their weights."""
    captions = []
    for word, (text, changed) in zip(variant.prompt.words, words):
        scales = [reweight.scale for reweight in variant.reweights if set(reweight.positions) & set(word.positions)]
        captions.append((f"{text} ×{math.prod(scales):g}", True) if scales else (text, changed))
    return captions


def difference(source: torch.Tensor, edited: torch.Tensor) -> torch.Tensor:
    """How far pictures [n, height, width, channels] are apart, [n, height, width] in [0, 1]: the mean over colours."""
    return (edited[..., :3].float() - source[..., :3].float()).abs().mean(-1).cpu()


def difference_heat(source: torch.Tensor, edited: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Where each edited picture differs from its source, in heat colours.

    Args:
        source: [batch, height, width, 3]; edited: [edits * batch, height, width, 3], edit after edit.

    Returns:
        [edits * batch, height, width, 3], and the difference that the brightest colour stands for.
    """
    differences = difference(source.repeat(len(edited) // len(source), 1, 1, 1), edited)
    # A floor under the scale: rounding is not to shine as the greatest difference there is.
    top = max(float(differences.max()), 0.05)
    return heat_colours(differences / top), top
