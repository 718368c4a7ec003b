"""Which architecture a model has, as far as the pack can edit it."""

from __future__ import annotations

from ...errors import EditError
from ...layers import Layer
from .joint import Joint
from .joint_models import MODELS, NEVER_ASK
from .unet import Unet

SUPPORTED = f"SD 1.x, SD 2.x, SDXL and models with their UNet, {', '.join(row.name for row in MODELS)}"
BLOCK_NAMES = ("input", "middle", "output", *dict.fromkeys(block for row in MODELS for block, _ in row.blocks))
"""The blocks of all supported models; which of them a model has is known once it is there."""


def architecture_of(model) -> Unet | Joint:
    """What a ModelPatcher's model is, read from its modules.

    Raises:
        EditError: it has no attention that can be edited.
    """
    found = Unet.of(model) or Joint.of(model)
    if found is not None:
        return found
    name = type(model.model).__name__
    if name.startswith(NEVER_ASK):
        raise EditError(
            "model",
            f"{name} computes its attention where no node can reach it, so nothing could be edited.",
            f"Use {SUPPORTED}.",
        )
    raise EditError(
        "model",
        f"{name} has no UNet cross-attention, and is no transformer that prompt-to-prompt knows.",
        f"Use {SUPPORTED}. Another transformer needs a row in p2p_core/hosts/comfy/joint_models.py: its classes, its "
        "blocks, the order of text and image, and where prompts can be filled up; tests/README.md says how.",
    )


def attention_layers(model) -> list[Layer]:
    """The attention layers of a ModelPatcher's model in the order in which it runs them."""
    return list(architecture_of(model).layers)
