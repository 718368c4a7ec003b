"""Where words look: their attention maps, and pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ..errors import EditError
from ..maps import AttentionMaps, PromptMaps
from ..tokens import Prompt, find_words, split_phrases
from .colours import heat_colours
from .pictures import to_pillow, to_tensor
from .sheets import Scale, Sheet


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
    prompts = list(enumerate(maps.edits, start=1)) if edited else [(0, maps.source)]
    phrases = split_phrases(words)
    if phrases:
        found = find_words([kept.prompt for _, kept in prompts], phrases, "words")
    else:
        found = [_every_word(kept.prompt) for _, kept in prompts]
    if not any(found):
        raise EditError("words is empty, and so is the prompt: there is no word to show.")
    for (_, kept), places in zip(prompts, found):
        for phrase, positions in places.items():
            if not set(positions) <= set(kept.positions):
                raise EditError(f"words: {phrase} is padding after the end of the prompt, of which no map is kept.")
    return _heat(prompts, found, blocks)


def every_word_heat(maps: AttentionMaps) -> list[WordHeat]:
    """The maps of all words of all prompts, the source's first; none of an empty prompt."""
    prompts = list(enumerate((maps.source, *maps.edits)))
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
    for word in prompt.words():
        if not word.is_mark:
            counts[word.text] = counts.get(word.text, 0) + 1
            number = counts[word.text]
            seen[word.text if number == 1 else f"{word.text}#{number}"] = word.positions
    return seen


def enlarged(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps [n, h, w] at [n, *size], smooth, within the values there are."""
    return F.interpolate(values[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]


def overlay(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Heat [height, width] in [0, 1] over a picture [height, width, 3]: greyed, and hidden where it is hot."""
    grey = (image[..., :3].float().cpu() @ torch.tensor([0.299, 0.587, 0.114]))[..., None]
    cover = (0.2 + 0.65 * values.float().cpu().clamp(0, 1))[..., None]
    return grey * (1 - cover) + heat_colours(values) * cover


def heat_sheet(maps: AttentionMaps, pictures: list):
    """The attention of every word, the source's in the first row and the edit's in the second."""
    rows = [word_heat(maps, "", edited) for edited in (False, True)]
    top = max(float(heat.values.max()) for row in rows for heat in row)
    images = to_tensor(pictures)
    cells = [[captioned_heat(image, heat.values, top) for heat in row] for image, row in zip(images, rows, strict=True)]
    captions = [[(prompt.text, False)] for prompt in (maps.source.prompt, maps.edits[0].prompt)]
    words = [[(" / ".join(dict.fromkeys(labels)), True)] for labels in _columns(rows)]
    return Sheet(cells, columns=words, rows=captions, scale=Scale("attention", f"{top:.3f}")).draw()


def captioned_heat(image: torch.Tensor, values: torch.Tensor, top: float):
    return to_pillow(overlay(image, enlarged(values, tuple(image.shape[:2]))[0] / top))


def _columns(rows: list) -> list[list[str]]:
    """The labels of each column, of rows that may differ in length."""
    return [[row[i].label for row in rows if i < len(row)] for i in range(max(map(len, rows)))]
