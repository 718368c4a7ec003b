"""Latents as pictures."""

import torch


def decode(vae, latents: torch.Tensor) -> torch.Tensor:
    """Pictures [n, height, width, 3]; those of a VAE for videos, which has an axis of frames besides, one by one."""
    pictures = vae.decode(latents)
    return pictures.reshape(-1, *pictures.shape[-3:])
