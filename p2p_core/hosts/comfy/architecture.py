"""Which architecture a model has, as far as the pack can edit it."""

from __future__ import annotations

from ...errors import EditError
from ...layers import Layer
from .unet import Unet

SUPPORTED = "SD 1.x, SD 2.x, SDXL and models with their UNet"
BLOCK_NAMES = ("input", "middle", "output")
"""The blocks of all supported models; which of them a model has is known once it is there."""


def architecture_of(model) -> Unet:
    """What a ModelPatcher's model is, read from its modules.

    Raises:
        EditError: it has no attention that can be edited.
    """
    unet = Unet.of(model)
    if unet is None:
        raise EditError(
            "model",
            f"{type(model.model).__name__} has no UNet cross-attention, which is what prompt-to-prompt edits.",
            f"Use {SUPPORTED}; Flux, SD 3 and other transformers don't work.",
        )
    return unet


def attention_layers(model) -> list[Layer]:
    """The attention layers of a ModelPatcher's model in the order in which it runs them."""
    return list(architecture_of(model).layers)
