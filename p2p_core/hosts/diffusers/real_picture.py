"""A real picture within a pipeline's sampling: its latents, and where the UNet is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import retrieve_latents

from ...errors import EditError
from ...noise import FreshNoise
from ...picture import RealPicture


def encoded(pipe, picture: Any) -> torch.Tensor:
    """The latents [n, channels, height, width] of a picture, such as the pipeline's UNet predicts them.

    Args:
        picture: an image or a list of them, in any form that the pipeline's own image processor takes: of Pillow,
            or pixels [n, 3, height, width] in [0, 1]; or latents, which are taken as they are.
    """
    vae = pipe.vae
    given = pipe.image_processor.preprocess(picture)
    if given.shape[1] != 3:
        return given
    overflows = vae.dtype == torch.float16 and getattr(vae.config, "force_upcast", False)
    if overflows:  # SDXL's, which its pipelines cast for the time as well
        vae.to(torch.float32)
    try:
        with torch.no_grad():
            encoding = vae.encode(given.to(pipe._execution_device, vae.dtype))
        return vae.config.scaling_factor * retrieve_latents(encoding, sample_mode="argmax")
    finally:
        if overflows:
            vae.to(torch.float16)


@dataclass(frozen=True)
class Picture:
    """The picture that a source is pinned to.

    Attributes:
        latents: [batch, ...], such as the UNet predicts them.
        fresh: where a new noise for every evaluation comes from; None where the sampler's own is kept.
    """

    latents: torch.Tensor
    fresh: FreshNoise | None

    @classmethod
    def of(cls, how: RealPicture, latents: torch.Tensor, first: torch.Tensor) -> Picture:
        """For a call that begins with the source's latents `first` [batch, ...].

        Raises:
            EditError: the picture is of another size or number.
        """
        if latents.shape[1:] != first.shape[1:]:
            made, got = (" x ".join(map(str, x.shape[1:])) for x in (first, latents))
            raise EditError(
                "picture",
                f"its latents are {got} (channels x height x width), the pipeline makes {made}.",
                "Resize the picture, or call the pipeline with its height and width.",
            )
        if len(latents) not in (1, len(first)):
            raise EditError(
                "picture",
                f"there are {len(latents)}, but the pipeline makes {len(first)} of each prompt.",
                f"Call it with num_images_per_prompt={len(latents)}.",
            )
        latents = latents.expand(len(first), -1, -1, -1)
        return cls(latents, FreshNoise(first) if how.noise == "fresh" else None)

    def where_asked(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The UNet's input [n * batch, ...], the source's first, all moved to the picture with a fresh noise."""
        if self.fresh is None:
            return x
        picture, (batch, channels) = self.latents.to(x), self.latents.shape[:2]
        noisy = (picture + sigma * self.fresh.draw().to(x)) / (1 + sigma**2) ** 0.5
        moved = (noisy - x[:batch, :channels]).repeat(len(x) // batch, 1, 1, 1)
        return torch.cat([x[:, :channels] + moved, x[:, channels:]], dim=1)
