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

from ...architecture import Architecture
from ...attention import Attend, Call
from ...errors import EditError
from ...layers import Layer
from .network import Inputs, Network

if TYPE_CHECKING:
    from .run import PipelineRun


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
            "pipe",
            f"{type(unet).__name__} has no UNet cross-attention, which is what prompt-to-prompt edits.",
            "Use SD 1.x, SD 2.x, SDXL, SD 3.x or Flux.1.",
        )
    return layers


def _spatial(block) -> Sequence[Any]:
    """A block's spatial transformers, one for each residual block, None where it has none."""
    return getattr(block, "attentions", None) or [None] * len(block.resnets)


def _transformer_layers(block: str, number: int, spatial, level: int) -> Iterator[tuple[Layer, Any]]:
    for index, transformer in enumerate(getattr(spatial, "transformer_blocks", ())):
        for attention in filter(None, (transformer.attn1, transformer.attn2)):
            part = "text" if attention.is_cross_attention else "image"
            heads = attention.heads
            yield Layer(block, number, index, (part,), level, heads, attention.inner_dim // heads), attention


class Unet(Network):
    """See Network."""

    of_the_prompt = ("encoder_hidden_states", "encoder_attention_mask", "text_embeds")
    names = ("sample", "timestep", "encoder_hidden_states")
    tiles = True

    @classmethod
    def of(cls, pipe) -> Unet:
        """A pipeline's.

        Raises:
            EditError: it has no attention that can be edited.
        """
        unet = getattr(pipe, "unet", None)
        layers = attention_layers(unet)
        # A pipeline that is called with embeddings may have no tokenizer; CLIP's prompts are of 77 tokens.
        tokenizers = (getattr(pipe, name, None) for name in ("tokenizer", "tokenizer_2"))
        length = next((tokenizer.model_max_length for tokenizer in tokenizers if tokenizer is not None), 77)
        own = tuple(layer for layer, _ in layers)
        return cls(unet, Architecture(type(pipe).__name__, own, pipe.vae_scale_factor, length), tuple(layers))

    def processor(self, run: PipelineRun, layer: Layer, previous) -> EditProcessor:
        return EditProcessor(run, layer, previous)

    def read(self, args: tuple, kwargs: dict[str, Any], scheduler) -> Inputs:
        named = dict(zip(self.names, args)) | kwargs
        text = named["encoder_hidden_states"]
        return Inputs(named["sample"], float(named["timestep"]), text[0] if isinstance(text, tuple) else text)


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
            raise EditError(
                "pipe",
                f"{self.layer.kind}-attention of block {self.layer.name} has an attention mask and can't be edited.",
                "Call the pipeline without one.",
            )
        given = {"encoder_hidden_states": encoder_hidden_states, "temb": temb, "ip_adapter_masks": ip_adapter_masks}
        given = {name: value for name, value in given.items() if value is not None}  # not every processor takes all
        engine = self.run.engine
        if not engine.concerns(self.layer):
            return self.previous(attn, hidden_states, **given)
        context = encoder_hidden_states[0] if isinstance(encoder_hidden_states, tuple) else encoder_hidden_states
        context = hidden_states if context is None else context
        q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        call = Call(q, k, v, self.layer, self.run.evaluations, engine.size)
        attend = _attend(attn.heads)
        if type(self.previous) is AttnProcessor2_0:
            return _project(attn, engine.attention(call, attend))
        difference = engine.attention(call, attend, previous=lambda q, k, v, mask: torch.zeros_like(q))
        # The projection is affine: of a difference it is the projection without its bias.
        return self.previous(attn, hidden_states, **given) + (
            _project(attn, difference) - _project(attn, torch.zeros_like(difference))
        )


def _attend(heads: int) -> Attend:
    def attend(q, k, v, mask=None):
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2)

    return attend


def _project(attn: Attention, out: torch.Tensor) -> torch.Tensor:
    for module in attn.to_out:
        out = module(out)
    return out
