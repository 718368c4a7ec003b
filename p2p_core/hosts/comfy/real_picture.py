"""A real picture within ComfyUI's sampling: its latents, and where the model is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from ...errors import EditError
from ...noise import FreshNoise
from ...picture import RealPicture


@dataclass(frozen=True)
class Picture:
    """The picture that a source is pinned to.

    Attributes:
        given: its latents [batch, ...], such as the host hands around.
        predicted: the same, such as the model predicts them.
        fresh: where a new noise for every evaluation comes from; None where the sampler's own is kept.
    """

    given: torch.Tensor
    predicted: torch.Tensor
    fresh: FreshNoise | None

    @classmethod
    def of(cls, model, how: RealPicture | None, latents: torch.Tensor, noise: torch.Tensor, seed: int | None):
        """The picture in `latents` for a ModelPatcher; None where the edit is not of one.

        Raises:
            EditError: there is none in them, or it is another model's.
        """
        if how is None:
            return None
        if not latents.any():
            raise EditError(
                "latent_image",
                "it is empty, and the edit is one of a real picture.",
                "Connect VAEEncode, or take P2PRealPicture out.",
            )
        channels = model.get_model_object("latent_format").latent_channels
        if latents.shape[1] != channels:
            raise EditError(
                "latent_image",
                f"it has {latents.shape[1]} channels, the model's have {channels}.",
                "Encode the picture with the VAE that belongs to the model.",
            )
        fresh = FreshNoise(noise, seed or 0) if how.noise == "fresh" else None
        return cls(latents, model.model.process_latent_in(latents), fresh)

    def as_now(self) -> Picture:
        """The same with noise of its own, which goes on from where it is: a part may be sampled again."""
        return self if self.fresh is None else replace(self, fresh=self.fresh.copy())

    def noisy(self, timestep: torch.Tensor, model_sampling) -> torch.Tensor | None:
        """The picture's latents [batch, ...] with a fresh noise, where the model is asked; None with a fixed one.

        `timestep`: the noise level of every row.
        """
        if self.fresh is None:
            return None
        noise = self.fresh.draw().to(timestep)
        # The model's own scaling: picture + sigma noise, or (1 - sigma) picture + sigma noise where it is a flow.
        return model_sampling.noise_scaling(timestep[: len(noise)], noise, self.predicted.to(noise))
