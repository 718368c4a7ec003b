"""Pictures of where words look: with captions, over a picture, and to be laid over one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image

from ..maps import AttentionMaps
from .captions import MarkedText, marked, plain
from .colours import heat_colours
from .pictures import to_pillow, to_tensor
from .sheets import Scale, Sheet, captioned
from .word_heat import WordHeat, every_word_heat, word_heat


def enlarged(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps [n, h, w] at [n, *size], smooth, within the values there are."""
    return F.interpolate(values[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]


def overlay(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Heat [height, width] in [0, 1] over a picture [height, width, 3]: greyed, and hidden where it is hot."""
    grey = (image[..., :3].float().cpu() @ torch.tensor([0.299, 0.587, 0.114]))[..., None]
    cover = (0.2 + 0.65 * values.float().cpu().clamp(0, 1))[..., None]
    return grey * (1 - cover) + heat_colours(values) * cover


def word_layers(maps: AttentionMaps, size: tuple[int, int]) -> list[tuple[dict, torch.Tensor]]:
    """The map of every word of every prompt and image, to be laid over the picture, all in one scale.

    Returns:
        for each what it is of, {"prompt", "word", "image", "top"}: the prompt's number, the word's among all of that
        prompt's, marks included, and the value that the brightest colour stands for; and [*size, 4] in [0, 1].
    """
    heats = every_word_heat(maps)
    top = highest(heats)
    prompts = (kept.prompt for kept in (maps.source, *maps.variants))
    words = [iter([number for number, word in enumerate(p.words) if not word.is_mark]) for p in prompts]
    layers = []
    for heat in heats:
        word = next(words[heat.prompt])
        for image, values in enumerate(enlarged(heat.values / top, size)):
            layers.append(({"prompt": heat.prompt, "word": word, "image": image, "top": top}, clear(values)))
    return layers


def clear(values: torch.Tensor) -> torch.Tensor:
    """Heat [height, width] in [0, 1] as [height, width, 4], for laying over a picture that shows where it is cold."""
    return torch.cat([heat_colours(values), (0.15 + 0.75 * values.clamp(0, 1))[..., None]], -1)


def highest(heats: Sequence[WordHeat]) -> float:
    """The value that the brightest colour stands for, where all of them are shown in one scale."""
    return max((float(heat.values.max()) for heat in heats), default=1.0)


def heat_pictures(
    maps: AttentionMaps, heats: Sequence[WordHeat], size: tuple[int, int], images: torch.Tensor | None = None
) -> list[Image.Image]:
    """A picture with caption and legend for each map of each phrase, all in one scale.

    Args:
        maps: which the heats are of.
        size: the pictures' height and width.
        images: [n, height, width, 3] to lay the heat over, edit after edit, each with the whole batch; a single one
            serves them all.
    """
    top = highest(heats)
    scale = _scale(top)
    pictures = []
    for heat in heats:
        batch = len(heat.values)
        first = max(heat.prompt - 1, 0) * batch
        for number, values in enumerate(enlarged(heat.values, size)):
            if images is None:
                shown = heat_colours(values / top)
            else:
                shown = overlay(images[(first + number) % len(images)], values / top)
            caption = _caption(heat, number, several_edits=len(maps.variants) > 1)
            pictures.append(captioned(to_pillow(shown), caption, scale))
    return pictures


def heat_masks(heats: Sequence[WordHeat], size: tuple[int, int]) -> torch.Tensor:
    """The same maps [n, *size], each from 0 to 1 at its own strongest place."""
    return torch.stack([values / values.max().clamp(min=1e-12) for h in heats for values in enlarged(h.values, size)])


def heat_sheet(maps: AttentionMaps, pictures: Sequence[Image.Image]) -> Image.Image:
    """The attention of every word over its picture: the source's in the first row, the edit's in the second."""
    images = to_tensor(pictures)
    size = tuple(images.shape[1:3])
    rows = [word_heat(maps, "", edited) for edited in (False, True)]
    top = highest([heat for row in rows for heat in row])
    cells = [
        [to_pillow(overlay(image, enlarged(heat.values, size)[0] / top)) for heat in row]
        for image, row in zip(images, rows, strict=True)
    ]
    words = [marked(" / ".join(dict.fromkeys(labels))) for labels in _columns(rows)]
    prompts = [plain(prompt.text) for prompt in (maps.source.prompt, maps.variants[0].prompt)]
    return Sheet(cells, columns=words, rows=prompts, scale=_scale(top)).draw()


def _scale(top: float) -> Scale:
    return Scale("attention", f"{top:.3f}")


def _caption(heat: WordHeat, image: int, several_edits: bool) -> MarkedText:
    caption = [*marked(heat.label)]
    if heat.prompt and several_edits:
        caption += plain(f"edit {heat.prompt}")
    if len(heat.values) > 1:
        caption += plain(f"picture {image + 1}")
    if heat.blocks:
        caption += plain(heat.blocks)
    return caption


def _columns(rows: Sequence[Sequence[WordHeat]]) -> list[list[str]]:
    """The labels of each column, of rows that may differ in length."""
    return [[row[i].label for row in rows if i < len(row)] for i in range(max(map(len, rows)))]
