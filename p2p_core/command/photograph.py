"""A photograph on its way to the model's size and back: outside of the edit every pixel stays its own."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

from ..errors import EditError

MULTIPLE = 64  # of pixels, which models are given
GROWN, SOFT = 8, 4  # by how much the edit reaches beyond its mask, and how soft its edge is, in the model's pixels


def opened(path: Path) -> Image.Image:
    """RGB, upright, transparency on white.

    Raises:
        EditError: there is no picture in the file.
    """
    try:
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    except FileNotFoundError:
        raise EditError("image", f"there is no file {path}.") from None
    except (UnidentifiedImageError, OSError) as error:
        raise EditError("image", f"{path} can't be read as a picture ({error}).") from None
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def size_for(image: Image.Image, side: int) -> tuple[int, int]:
    """Width and height in the picture's proportions, with about as many pixels as a square of `side`."""
    scale = side / (image.width * image.height) ** 0.5
    width, height = (max(MULTIPLE, round(length * scale / MULTIPLE) * MULTIPLE) for length in image.size)
    return width, height


def laid_in(photograph: Image.Image, edited: Image.Image, mask: torch.Tensor) -> Image.Image:
    """The edit in the photograph, in its size.

    Args:
        mask: where the edit may differ, [height, width] of the latent, in [0, 1]; grown a little and softened.
    """
    enlarged = edited.resize(photograph.size, Image.Resampling.LANCZOS)
    if bool((mask == 1).all()):
        return enlarged
    within = Image.fromarray((mask * 255).round().byte().cpu().numpy()).resize(edited.size, Image.Resampling.BILINEAR)
    within = within.filter(ImageFilter.MaxFilter(2 * GROWN + 1)).filter(ImageFilter.GaussianBlur(SOFT))
    return Image.composite(enlarged, photograph, within.resize(photograph.size, Image.Resampling.BILINEAR))
