"""Pictures as tensors, as ComfyUI has them, and as Pillow's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image


def to_pillow(image: torch.Tensor) -> Image.Image:
    """[height, width, 1 or 3 or 4 channels] in [0, 1]."""
    pixels = image.detach().float().cpu().clamp(0, 1).mul(255).round().byte().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")


def to_tensor(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures of one size as [n, height, width, 3] in [0, 1]."""
    return torch.stack([torch.from_numpy(np.array(p.convert("RGB"), dtype=np.float32) / 255) for p in pictures])
