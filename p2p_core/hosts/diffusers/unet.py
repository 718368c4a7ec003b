"""A pipeline's UNet: its attention layers, and the attention processor that edits them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

try:
    from diffusers.models.attention_processor import Attention, AttnProcessor2_0
except ImportError as error:
    raise ImportError("This needs diffusers and transformers: pip install diffusers transformers") from error

from ...errors import EditError
from ...layers import Layer

if TYPE_CHECKING:
    from .pipeline import PipelineRun


def attention_layers(unet) -> list[tuple[Layer, Any]]:
    """The attention layers of a UNet in the order in which it runs them, named as ComfyUI names its blocks.

    Raises:
        EditError: the model has none.
    """
    layers: list[tuple[Layer, Any]] = []
    if all(hasattr(unet, name) for name in ("down_blocks", "mid_block", "up_blocks")):
        number = 1  # input:0 is conv_in
        for level, block in enumerate(unet.down_blocks):
            for spatial in _spatial(block):
                layers += _transformer_layers("input", number, spatial, level)
                number += 1
            number += getattr(block, "downsamplers", None) is not None
        coarsest = len(unet.down_blocks) - 1
        for spatial in getattr(unet.mid_block, "attentions", None) or ():
            layers += _transformer_layers("middle", 0, spatial, coarsest)
        number = 0
        for depth, block in enumerate(unet.up_blocks):
            for spatial in _spatial(block):
                layers += _transformer_layers("output", number, spatial, coarsest - depth)
                number += 1
    if not any(layer.kind == "cross" for layer, _ in layers):
        raise EditError(
            f"pipe: {type(unet).__name__} has no UNet cross-attention. Prompt-to-prompt edits its maps and works with "
            "SD 1.x, SD 2.x and SDXL; not with Flux, SD 3 and other transformers."
        )
    return layers


def _spatial(block) -> Sequence[Any]:
    """A block's spatial transformers, one for each residual block, None where it has none."""
    return getattr(block, "attentions", None) or [None] * len(block.resnets)


def _transformer_layers(block: str, number: int, spatial, level: int) -> Iterator[tuple[Layer, Any]]:
    for index, transformer in enumerate(getattr(spatial, "transformer_blocks", ())):
        for attention in filter(None, (transformer.attn1, transformer.attn2)):
            kind = "cross" if attention.is_cross_attention else "self"
            heads = attention.heads
            yield Layer(block, number, index, kind, level, heads, attention.inner_dim // heads), attention


class EditProcessor:
    """An attention processor: one layer's attention within a run.

    The stock processor is done here. What any other makes of the attention (IP-Adapter, xformers, slicing)
    stays, and the edit is added to it as the difference it makes to plain attention.
    """

    def __init__(self, run: PipelineRun, layer: Layer, previous):
        self.run = run
        self.layer = layer
        self.previous = previous

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states=None,
        attention_mask=None,
        temb=None,
        ip_adapter_masks=None,
    ):
        if attention_mask is not None:
            raise EditError(f"{self.layer.kind}-attention of block {self.layer.name} is masked, and can't be edited.")
        given = {"encoder_hidden_states": encoder_hidden_states, "temb": temb, "ip_adapter_masks": ip_adapter_masks}
        given = {name: value for name, value in given.items() if value is not None}  # not every processor takes all
        if not self.run.engine.reaches(self.layer):
            return self.previous(attn, hidden_states, **given)
        context = encoder_hidden_states[0] if isinstance(encoder_hidden_states, tuple) else encoder_hidden_states
        context = hidden_states if context is None else context
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if type(self.previous) is AttnProcessor2_0:
            return _project(attn, self._attention(attn, q, k, v))
        difference = self._attention(attn, q, k, v, previous=lambda q, k, v: torch.zeros_like(q))
        return self.previous(attn, hidden_states, **given) + (
            _project(attn, difference) - _project(attn, torch.zeros_like(difference))
        )

    def _attention(self, attn: Attention, q, k, v, previous=None) -> torch.Tensor:
        def attend(q, k, v):
            q, k, v = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
            return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

        engine = self.run.engine
        return engine.attention(q, k, v, self.layer, attn.heads, self.run.chunks, engine.size, attend, previous)


def _project(attn: Attention, out: torch.Tensor) -> torch.Tensor:
    for module in attn.to_out:
        out = module(out)
    return out
