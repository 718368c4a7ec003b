"""Where the words of a prompt look: their maps, out of all that a run has kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import EditError
from ..maps import AttentionMaps, PromptMaps
from ..tokens import Prompt, find_words
from ..words import split_phrases


@dataclass(frozen=True)
class WordHeat:
    """The map of one phrase in one prompt of a run.

    Attributes:
        prompt: 0 for the source, then the edits.
        blocks: whose maps these are; empty for all.
        values: float32 [batch, h, w] in [0, 1].
    """

    label: str
    prompt: int
    blocks: str
    values: torch.Tensor


def word_heat(maps: AttentionMaps, words: str, edited: bool, blocks: str = "") -> list[WordHeat]:
    """The maps of phrases separated by commas, or of every word if there are none, prompt after prompt.

    Args:
        edited: whether the edit prompts are meant, or the source.
        blocks: as in InjectSchedule.blocks, or "each" for a map of every block.

    Raises:
        EditError: words or blocks that aren't there.
    """
    prompts = list(enumerate(maps.variants, start=1)) if edited else [(0, maps.source)]
    phrases = split_phrases(words)
    if phrases:
        found = find_words([kept.prompt for _, kept in prompts], phrases, "words")
    else:
        found = [_every_word(kept.prompt) for _, kept in prompts]
    if not any(found):
        raise EditError("words", "it is empty, and so is the prompt: there is no word to show.")
    for (_, kept), places in zip(prompts, found):
        for phrase, positions in places.items():
            if not set(positions) <= set(kept.positions):
                raise EditError("words", f"{phrase} is padding after the prompt's end, and no map of it was kept.")
    return _heat(prompts, found, blocks)


def every_word_heat(maps: AttentionMaps) -> list[WordHeat]:
    """The maps of all words of all prompts, the source's first; none of an empty prompt."""
    prompts = list(enumerate((maps.source, *maps.variants)))
    return _heat(prompts, [_every_word(kept.prompt) for _, kept in prompts], "")


def _heat(
    prompts: Sequence[tuple[int, PromptMaps]], found: Sequence[dict[str, tuple[int, ...]]], blocks: str
) -> list[WordHeat]:
    return [
        WordHeat(phrase, number, names, kept.of(positions, names))
        for (number, kept), places in zip(prompts, found)
        for phrase, positions in places.items()
        for names in _chosen(kept, blocks)
    ]


def _chosen(kept: PromptMaps, blocks: str) -> Sequence[str]:
    return list(kept.blocks) if blocks.strip().lower() == "each" else [blocks]


def _every_word(prompt: Prompt) -> dict[str, tuple[int, ...]]:
    """Every word with its tokens; a second "cat" is called cat#2, as find_words does."""
    seen: dict[str, tuple[int, ...]] = {}
    counts: dict[str, int] = {}
    for word in prompt.words:
        if not word.is_mark:
            counts[word.text] = counts.get(word.text, 0) + 1
            number = counts[word.text]
            seen[word.text if number == 1 else f"{word.text}#{number}"] = word.positions
    return seen
