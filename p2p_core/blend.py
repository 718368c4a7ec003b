"""Local blend: the edit changes only where its words are (Hertz et al. 2022, section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class LocalBlend:
    """Where one edit may change the picture.

    Attributes:
        source_positions, edit_positions: tokens of the words whose maps make the mask.
        source_subtract, edit_subtract: tokens of words whose places are taken out of it.
        threshold: in [0, 1], relative to the largest value of each map.
        start: fraction of the steps before which the whole picture may change.
        mask: None, or [height, width] or [batch, height, width] in [0, 1], of any size.
    """

    source_positions: tuple[int, ...] = ()
    edit_positions: tuple[int, ...] = ()
    source_subtract: tuple[int, ...] = ()
    edit_subtract: tuple[int, ...] = ()
    threshold: float = 0.3
    start: float = 0.2
    mask: torch.Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def has_words(self) -> bool:
        return bool(self.source_positions or self.edit_positions)


def word_mask(words: torch.Tensor, size: tuple[int, int], threshold: float, pool: bool = True) -> torch.Tensor:
    """Where a map is strong, as in the paper's code.

    Args:
        words: [batch, h, w], the map of all the words together, averaged over heads, layers and steps.
        size: the latent's height and width.
        pool: whether to grow the map by one place to each side first.

    Returns:
        [batch, 1, height, width], 0 or 1: 3x3 max-pool, nearest resize, over its maximum > threshold.
    """
    maps = words[:, None].float()
    if pool:
        maps = F.max_pool2d(maps, 3, stride=1, padding=1)
    maps = F.interpolate(maps, size=size)
    top = maps.amax(dim=(2, 3), keepdim=True)
    return (maps > threshold * top).float()


def fit_mask(mask: torch.Tensor, batch: int, size: tuple[int, int]) -> torch.Tensor:
    """A user's mask [height, width] or [images, height, width] as [batch, 1, *size], images repeated."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).float().clamp(0, 1)
    mask = F.interpolate(mask, size=size, mode="bilinear", antialias=True, align_corners=False)
    return mask.repeat(-(-batch // len(mask)), 1, 1, 1)[:batch]


def misfit(mask: torch.Tensor, batch: int, picture: tuple[int, int]) -> str | None:
    """What to say of a user's mask that was not made for `batch` pictures of this height and width: a sentence."""
    count, (height, width) = len(mask.reshape(-1, *mask.shape[-2:])), mask.shape[-2:]
    if abs(height / width * picture[1] / picture[0] - 1) > 16 / min(picture):  # more than latents round
        what, done = f"{width} x {height}, and the picture {picture[1]} x {picture[0]}", "It was stretched"
    elif batch % count:
        what, done = f"for {count} pictures, and there {'are' if batch > 1 else 'is'} {batch}", "They got it in turn"
    else:
        return None
    return (
        f"The mask of the local blend is {what}. {done}. If a node that fills every free input connected it, "
        "disconnect mask."
    )


def limit(prediction: torch.Tensor, source: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """x_s + m (x_e - x_s): the edit's prediction where the mask is 1, the source's where it is 0, to the bit.

    Args:
        prediction, source: [batch, channels, height, width], or with a frame axis before the height.
        mask: [batch, 1, height, width].
    """
    return torch.lerp(source, prediction, over(mask.to(prediction), prediction).expand_as(prediction))


def over(mask: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """A mask [batch, 1, height, width] with as many axes as latents that may have one of frames."""
    return mask.view(len(mask), *[1] * (latents.ndim - 3), *mask.shape[-2:])
