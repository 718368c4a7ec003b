"""ComfyUI's UNets: their attention layers, and the patch that edits them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.ldm.modules.attention as comfy_attention
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, Upsample

from ...architecture import Architecture
from ...attention import Attend, Call
from ...errors import EditError
from ...layers import Layer
from ...rows import Evaluation
from ...tokens import Prompt
from .conditioning import Conditioning, misfit, stack
from .session import Session


@dataclass(frozen=True)
class Unet(Architecture):
    """A UNet with cross-attention, and how an edit gets into it.

    Attributes:
        context_width: numbers per token of its prompts.
    """

    context_width: int = field(kw_only=True)

    @classmethod
    def of(cls, model) -> Unet | None:
        """The UNet of a ModelPatcher; None where it has no cross-attention.

        Raises:
            EditError: see unet_layers.
        """
        layers = tuple(unet_layers(model))
        if not any(layer.kind == "cross" for layer in layers):
            return None
        pixels = getattr(model.model.latent_format, "spacial_downscale_ratio", 8)
        name = type(model.model.model_config).__name__
        return cls(name, layers, pixels, prompt_length=77, context_width=_context_width(model))

    def stack(self, conditionings: Sequence[Conditioning], join: Callable = torch.cat) -> Conditioning:
        """Conditionings as one with a row for each of theirs. Shorter prompts are tiled, as the host does."""
        return stack(conditionings, join)

    def misfit(self, embeddings: torch.Tensor, options: dict[str, Any]) -> str | None:
        """How an entry of CONDITIONING is not this model's, a sentence."""
        return misfit(embeddings.shape[-1], "embeddings", self.context_width)

    def fits(self, embeddings: torch.Tensor, options: dict[str, Any], length: int) -> bool:
        """Whether an encoding [1, tokens, width] is one of `length` tokens, as it came or tiled."""
        tokens = embeddings.shape[1]
        return not tokens % length and torch.equal(embeddings, embeddings[:, :length].repeat(1, tokens // length, 1))

    def text_positions(self, embeddings: torch.Tensor, options: dict[str, Any]) -> int:
        """How many a prompt has in the model, sampled alone."""
        return embeddings.shape[1]

    def stays_in_place(self, prompt: Prompt) -> bool:
        """Whether the picture of a prompt, made as long as others, has its places where it has them alone."""
        return True

    def finish(self, cond: dict[str, Any], network) -> None:
        """Nothing: prompts are attended to as they were encoded."""

    def attach(self, model, session: Session) -> None:
        """Hang a session on `model`, a private clone, where it concerns its run. See AttentionPatch."""
        replaced = model.model_options["transformer_options"].get("patches_replace", {})
        slots: dict[tuple, list[Layer]] = {}
        for layer in filter(session.run.concerns, self.layers):
            name = "attn1" if layer.kind == "self" else "attn2"
            # The host asks for a transformer's own patch before its block's, so we replace the transformer's where
            # there is one. Everywhere else we take the block's: guidance like PAG sets that one in the midst of a run.
            key = (layer.block, layer.number, layer.index)
            slots.setdefault((name, key if key in replaced.get(name, {}) else key[:2]), []).append(layer)
        for (name, key), layers in slots.items():
            previous = replaced.get(name, {}).get(key)
            model.set_model_patch_replace(AttentionPatch(session, layers, previous), name, *key)


def unet_layers(model) -> list[Layer]:
    """The attention layers of a ModelPatcher's UNet in the order in which it runs them, read from its modules.

    Raises:
        EditError: another node has replaced a transformer.
    """
    unet = model.get_model_object("diffusion_model")
    layers: list[Layer] = []
    level = 0
    if hasattr(unet, "input_blocks"):
        blocks = [("input", i, f"input_blocks.{i}", block) for i, block in enumerate(unet.input_blocks)]
        blocks += [("middle", 0, "middle_block", unet.middle_block)] if unet.middle_block is not None else []
        blocks += [("output", i, f"output_blocks.{i}", block) for i, block in enumerate(unet.output_blocks)]
        for name, number, path, block in blocks:
            level += any(isinstance(module, Downsample) for module in block.modules())
            for index, transformer in enumerate(_transformers(model, f"diffusion_model.{path}", block)):
                layers += _transformer_layers(name, number, index, transformer, level)
            level -= any(isinstance(module, Upsample) for module in block.modules())
    return layers


def _transformers(model, path: str, block) -> Iterator[comfy_attention.BasicTransformerBlock]:
    """The transformers of a block, which are `model`'s own.

    What stands in the UNet may be another's: packs put wrappers in a transformer's place, and the
    host leaves them there until another model is loaded. So the patcher is asked for each by name.
    """
    for below, spatial in block.named_modules():
        if isinstance(spatial, comfy_attention.SpatialTransformer):
            for index in range(len(spatial.transformer_blocks)):
                name = ".".join(filter(None, (path, below, "transformer_blocks", str(index))))
                found = model.get_model_object(name)
                inside = found.modules() if isinstance(found, torch.nn.Module) else ()
                own = next((m for m in inside if isinstance(m, comfy_attention.BasicTransformerBlock)), None)
                if own is None:
                    raise EditError(
                        "model",
                        f"another node has put a {type(found).__name__} in the place of {name}, where prompt-to-prompt "
                        "looks for attention.",
                        "Take that node out of the model's path to this one.",
                    )
                yield own


def _transformer_layers(name: str, number: int, index: int, transformer, level: int) -> list[Layer]:
    return [
        Layer(name, number, index, (part,), level, attention.heads, attention.dim_head)
        for part, attention in (("image", transformer.attn1), ("text", transformer.attn2))
        if attention is not None and (part == "text" or not transformer.disable_self_attn)
    ]


def _context_width(model) -> int:
    for module in model.get_model_object("diffusion_model").modules():
        if isinstance(module, comfy_attention.BasicTransformerBlock) and module.attn2 is not None:
            return module.attn2.to_k.in_features
    raise AssertionError("a UNet without cross-attention")


# What packs do to attention that can't be edited any more, by what comes of it. README has the same table.
_REARRANGED = (
    "HyperTile and MSW-MSA cut self-attention into tiles. Attention-couple and regional-prompt nodes multiply "
    "cross-attention. TiledDiffusion does both unless its tile_batch_size is 1. Context windows take part of a batch "
    "at a time."
)
_MERGED = "TomePatchModel and similar nodes merge them, in a different way for each picture."
_OWN_PROMPTS = "Attention couple and other regional-prompt nodes do that."
_TAKE_OUT = "Take it out of the model's path to this sampler"


class AttentionPatch:
    """A replace patch: the attention layers of one block and kind within a run.

    What a patch of another pack makes of the attention stays, and the edit is added to it.

    Args:
        previous: the patch that was in this place before.
    """

    def __init__(self, session: Session, layers: list[Layer], previous: Callable | None):
        self.session = session
        self.layers = {layer.index: layer for layer in layers}
        self.previous = previous
        self._checked: set[Layer] = set()

    def __call__(self, q, k, v, extra_options, **kwargs):
        layer = self.layers[extra_options["block_index"]]
        size = tuple(extra_options["original_shape"][-2:])
        call = Call(q, k, v, layer, self._evaluations(q, k, layer, extra_options), size)
        previous = self._previous(extra_options, kwargs)
        if previous is not None and layer.kind == "cross" and call.evaluations and layer not in self._checked:
            self._checked.add(layer)
            self._check_previous(previous, call)
        return self.session.run.attention(call, self._attend(extra_options), previous)

    def to(self, *args, **kwargs):
        """Passed on: the host moves patches that hold tensors along with the model."""
        if hasattr(self.previous, "to"):
            self.previous = self.previous.to(*args, **kwargs)
        return self

    def __deepcopy__(self, memo):
        """Copies of the model, as the host makes for a second device, belong to the same run."""
        return self

    def _attend(self, extra_options) -> Attend:
        def attend(q, k, v, mask=None):
            return comfy_attention.optimized_attention(
                q,
                k,
                v,
                extra_options["n_heads"],
                mask=mask,
                attn_precision=extra_options.get("attn_precision"),
                transformer_options=extra_options,
            )

        kernel = extra_options.get("optimized_attention_override") or comfy_attention.optimized_attention
        attend.__name__ = getattr(kernel, "__name__", type(kernel).__name__)
        return attend

    def _previous(self, extra_options, kwargs) -> Attend | None:
        if self.previous is None:
            return None
        return lambda q, k, v, mask=None: self.previous(q, k, v, extra_options, **kwargs)

    def _evaluations(self, q, k, layer: Layer, extra_options) -> tuple[Evaluation, ...]:
        uuids = extra_options["uuids"]
        rows = len(self.session.run.rows)
        if len(q) != len(k) or len(q) != rows * len(uuids):
            raise EditError(
                "model",
                f"{layer.kind}-attention of block {layer.name} got {len(q)} rows of queries and {len(k)} of keys, "
                f"expected {rows * len(uuids)}. Another node on this model rearranges them. {_REARRANGED}",
                f"{_TAKE_OUT}.",
            )
        positions = math.prod(extra_options["activations_shape"][-2:])
        if layer.kind == "self" and q.shape[1] != positions:
            raise EditError(
                "model",
                f"self-attention of block {layer.name} got {q.shape[1]} positions, expected {positions}. "
                f"Another node on this model changes their number. {_MERGED}",
                f"{_TAKE_OUT}, or keep the edit out of this layer with self_layers or blocks.",
            )
        known = self.session.evaluations
        return tuple(replace(known[key], base=i * rows) for i, key in enumerate(uuids) if key in known)

    def _check_previous(self, previous: Attend, call: Call) -> None:
        """The edit is added to what another patch makes of the prompts; some make nothing of them."""
        base = call.evaluations[0].base
        rows = slice(base, base + len(self.session.run.rows))
        heard, deaf = (previous(call.q, call.k, v)[rows] for v in (call.v, -call.v))
        if torch.equal(heard, deaf):
            raise EditError(
                "model",
                f"in the cross-attention of block {call.layer.name}, another node on this model replaces the edit's "
                f"prompts with prompts of its own. {_OWN_PROMPTS}",
                f"{_TAKE_OUT}.",
            )
