"""A pipeline's transformer with joint attention: SD 3's or Flux.1's, and the attention processor that edits it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from ...architecture import Architecture, joint_blend_blocks
from ...attention import Call
from ...errors import EditError
from ...layers import Layer
from .network import Inputs, Network

if TYPE_CHECKING:
    from .run import PipelineRun


@dataclass(frozen=True)
class Kind:
    """A kind of transformer.

    Attributes:
        name: what people call it.
        blocks: (name of the blocks, as ComfyUI's host has it, the network's list of them), in order.
        text_first: whether the keys of the text come before those of the image.
        packed: whether latents come as tokens [rows, n, channels] of 2 x 2 positions each.
        clip, t5: the pipeline's tokenizers whose positions are attended to: CLIP's, if they are, and then T5's.
    """

    name: str
    blocks: tuple[tuple[str, str], ...]
    text_first: bool
    packed: bool
    clip: tuple[str, ...]
    t5: str


KINDS = {
    "SD3Transformer2DModel": Kind(
        "SD 3.x",
        (("joint", "transformer_blocks"),),
        text_first=False,
        packed=False,
        clip=("tokenizer",),
        t5="tokenizer_3",
    ),
    "FluxTransformer2DModel": Kind(
        "Flux.1",
        (("double", "transformer_blocks"), ("single", "single_transformer_blocks")),
        text_first=True,
        packed=True,
        clip=(),
        t5="tokenizer_2",
    ),
}


@dataclass(frozen=True)
class Transformer(Network):
    """See Network.

    Attributes:
        kind: what is known of its class.
    """

    kind: Kind

    of_the_prompt = ("encoder_hidden_states", "pooled_projections")
    no_rows = ("img_ids", "txt_ids")

    @classmethod
    def of(cls, pipe) -> Transformer | None:
        """That of a pipeline; None where it has none that is known."""
        module = getattr(pipe, "transformer", None)
        kind = KINDS.get(type(module).__name__)
        if kind is None:
            return None
        patch = 1 if kind.packed else module.config.patch_size
        layers = []
        for name, modules in kind.blocks:
            for number, block in enumerate(getattr(module, modules)):
                heads, width = block.attn.heads, block.attn.inner_dim
                layer = Layer(name, number, 0, ("text", "image"), int(math.log2(patch)), heads, width // heads)
                layers.append((layer, block.attn))
        own = tuple(layer for layer, _ in layers)
        second = bool(getattr(module.config, "dual_attention_layers", ()))
        architecture = Architecture(
            kind.name,
            own,
            pixels=pipe.vae_scale_factor * (2 if kind.packed else 1),
            prompt_length=512 if kind.packed else 333,
            blend_blocks=joint_blend_blocks(kind.name, own, second),
        )
        return cls(module, architecture, tuple(layers), kind)

    def processor(self, run: PipelineRun, layer: Layer, previous) -> JointProcessor:
        return JointProcessor(run, self, layer, previous)

    def read(self, args: tuple, kwargs: dict[str, Any], scheduler) -> Inputs:
        if args:
            raise EditError("pipe", "it names no arguments to its transformer.", "Use one of diffusers' own pipelines.")
        x, text = kwargs["hidden_states"], kwargs["encoder_hidden_states"]
        level = float(kwargs["timestep"].flatten()[0]) * (1000 if self.kind.packed else 1)
        # It comes in the network's precision; the scheduler has it as it is.
        timestep = min(scheduler.timesteps.tolist(), key=lambda own: abs(own - level))
        if not self.kind.packed:
            return Inputs(x, timestep, text, math.prod(x.shape[-2:]) // self.module.config.patch_size**2)
        ids = kwargs["img_ids"]  # [n, 3], of the picture with 0, of pictures that it refers to with another number
        image = ids[ids[:, 0] == 0] if len(ids) > 0 else ids
        height, width = (int(image[:, axis].max()) + 1 for axis in (1, 2))
        latents = x[:, : height * width].transpose(1, 2).unflatten(-1, (height, width))
        return Inputs(latents, timestep, text, height * width, x.shape[1] - height * width)

    def has_prompts_of(self, given: Inputs, first: Inputs) -> bool:
        """Flux.1 has the prompts that it is guided away from in a call of their own."""
        rows = min(len(given.text), len(first.text))
        return given.text is first.text or torch.equal(given.text[-rows:], first.text[-rows:])

    def predicted(self, output: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        if not self.kind.packed:
            return output
        return output[:, : inputs.image].transpose(1, 2).unflatten(-1, inputs.latents.shape[-2:])

    def as_output(self, prediction: torch.Tensor, output: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        if not self.kind.packed:
            return prediction
        rest = output[: len(prediction), inputs.image :]  # which the pipeline throws away
        return torch.cat([prediction.flatten(2).transpose(1, 2), rest], dim=1)

    def call(self, q, k, v, layer: Layer, run: PipelineRun, mask: torch.Tensor | None) -> Call | None:
        """Attention as the network asks for it, [rows, heads, n, head_dim]; None where it is not joint attention."""
        inputs = run.inputs
        text, image = inputs.text.shape[1], inputs.image + inputs.references
        if q.shape[-2] != text + image or k.shape[-2] != text + image:
            return None
        of_text, of_image = slice(0, text), slice(text, text + inputs.image)
        if not self.kind.text_first:
            of_text, of_image = slice(image, image + text), slice(0, inputs.image)
        q, k, v = (x.transpose(1, 2).flatten(2) for x in (q, k, v))
        return Call(q, k, v, layer, run.evaluations, run.engine.size, mask, of_image, of_text)


class JointProcessor:
    """An attention processor: the one that was there, with its joint attention edited within a run.

    Every processor of these models makes queries, keys and values in its own way, and then calls torch's attention:
    that call is the edited one.
    """

    def __init__(self, run: PipelineRun, network: Transformer, layer: Layer, previous):
        self.run = run
        self.network = network
        self.layer = layer
        self.previous = previous

    def __call__(
        self,
        attn,
        hidden_states: torch.Tensor,
        encoder_hidden_states=None,
        attention_mask=None,
        image_rotary_emb=None,
        ip_hidden_states=None,
        ip_adapter_masks=None,
    ):
        given = {
            "encoder_hidden_states": encoder_hidden_states,
            "attention_mask": attention_mask,
            "image_rotary_emb": image_rotary_emb,
            "ip_hidden_states": ip_hidden_states,
            "ip_adapter_masks": ip_adapter_masks,
        }
        given = {name: value for name, value in given.items() if value is not None}  # not every processor takes all
        with _Edited(self):
            return self.previous(attn, hidden_states, **given)

    def attention(self, query, key, value, attn_mask=None, **more) -> torch.Tensor:
        """torch's attention of [rows, heads, n, head_dim], edited where it is joint attention."""
        call = self.network.call(query, key, value, self.layer, self.run, attn_mask)
        if call is None:
            return F.scaled_dot_product_attention(query, key, value, attn_mask, **more)

        def attend(q, k, v, mask):
            q, k, v = (x.unflatten(-1, (-1, query.shape[-1])).transpose(1, 2) for x in (q, k, v))
            return F.scaled_dot_product_attention(q, k, v, mask, **more).transpose(1, 2).flatten(2)

        out = self.run.engine.attention(call, attend)
        return out.unflatten(-1, (query.shape[1], -1)).transpose(1, 2)


class _Edited(TorchFunctionMode):
    """Where torch's attention is the processor's."""

    def __init__(self, processor: JointProcessor):
        super().__init__()
        self.processor = processor

    def __torch_function__(self, func, types, args=(), kwargs=None):
        func = self.processor.attention if func is F.scaled_dot_product_attention else func
        return func(*args, **(kwargs or {}))
