"""ComfyUI's transformers with joint attention: their layers, and the override that edits them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from ...architecture import Architecture
from ...attention import Call
from ...errors import EditError
from ...layers import Layer, halved
from ...rows import Evaluation
from .conditioning import Conditioning, misfit, pad, stack
from .joint_calls import Asked, Forward, four_dimensional, reason
from .joint_models import MODELS, JointModel
from .session import Session

OVERRIDE = "optimized_attention_override"
FORWARD = "prompt_to_prompt_forward"


@dataclass(frozen=True)
class Joint(Architecture):
    """A transformer with joint attention, and how an edit gets into it.

    Attributes:
        row: what is known of its class.
        context_width: numbers per token of its prompts; None takes any.
        pooled_width: numbers for a prompt as a whole; None takes any.
    """

    row: JointModel = field(kw_only=True)
    context_width: int | None = field(kw_only=True)
    pooled_width: int | None = field(kw_only=True)

    @classmethod
    def of(cls, model) -> Joint | None:
        """The transformer of a ModelPatcher; None where there is no row for it.

        Raises:
            EditError: the model has one, but its network is another's.
        """
        row = next((row for row in MODELS if row.model == type(model.model).__name__), None)
        if row is None:
            return None
        network = model.get_model_object("diffusion_model")
        if type(network).__name__ != row.network:
            raise EditError(
                "model",
                f"this {row.name} is run by {type(network).__name__}, whose attention can't be edited. Builds for "
                "Nunchaku and TensorRT are such.",
                "Load the model with ComfyUI's own loaders.",
            )
        lists = [(name, getattr(network, modules)) for name, modules in row.blocks]
        level = int(math.log2(network.patch_size))
        heads, head_dim = network.num_heads, network.hidden_size // network.num_heads
        layers = tuple(
            Layer(name, number, 0, ("text", "image"), level, heads, head_dim)
            for name, blocks in lists
            for number in range(len(blocks))
        )
        return cls(
            row.name,
            layers,
            pixels=getattr(model.model.latent_format, "spacial_downscale_ratio", 8),
            prompt_length=row.prompt_length,
            blend_blocks=_blend_blocks(row, layers, [len(blocks) for _, blocks in lists], network),
            pads=row.pad == "right",
            row=row,
            context_width=_width(network, row.context),
            pooled_width=_width(network, row.pooled),
        )

    def stack(self, conditionings: Sequence[Conditioning], join: Callable = torch.cat) -> Conditioning:
        """Conditionings as one with a row for each of theirs. Shorter prompts are filled up with zeros.

        Raises:
            EditError: see conditioning.stack; prompts of different lengths where they can't be filled up.
        """
        return stack(conditionings, join, lengthen=pad if self.pads else _refuse)

    def misfit(self, embeddings: torch.Tensor, options: dict[str, Any]) -> str | None:
        """How an entry of CONDITIONING is not this model's, a sentence."""
        width, pooled = embeddings.shape[-1], options.get("pooled_output")
        return misfit(width, "embeddings", self.context_width) or (
            pooled is not None and misfit(pooled.shape[-1], "a pooled output", self.pooled_width)
        )

    def fits(self, embeddings: torch.Tensor, length: int) -> bool:
        """Whether an encoding [1, tokens, width] is one of `length` tokens, as it came or filled up."""
        return embeddings.shape[1] >= length and not embeddings[:, length:].any()

    def attach(self, model, session: Session) -> None:
        """Hang a session on `model`, a private clone. See JointAttention."""
        options = model.model_options["transformer_options"]
        attention = JointAttention(session, self, options.get(OVERRIDE))
        options[OVERRIDE] = attention
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "prompt_to_prompt", attention.begin)


def _blend_blocks(row: JointModel, layers: Sequence[Layer], depths: list[int], network) -> tuple[str, ...]:
    second = any(getattr(getattr(block, "x_block", None), "x_block_self_attn", False) for block in network.modules())
    known = (blend.blocks for blend in row.blends if (blend.depths, blend.second) == (tuple(depths), second))
    names, third = [layer.name for layer in layers], len(layers) // 3
    return next(known, tuple(names[third : len(names) - third]))


def _width(network, name: str) -> int | None:
    """What a layer takes, by its name; None where there is none or it takes anything."""
    return getattr(dict(network.named_modules()).get(name), "in_features", None)


def _refuse(embeddings: torch.Tensor, length: int) -> torch.Tensor:
    if embeddings.shape[1] == length:
        return embeddings
    raise EditError(
        "source and edited",
        f"one has {embeddings.shape[1]} tokens, another {length}, and this model can't sample prompts of different "
        "lengths together.",
        "Make them as long as each other.",
    )


class JointAttention:
    """An attention override: a run in the attention of a transformer.

    Args:
        previous: the override that was there before; it makes all calls that are made.
    """

    def __init__(self, session: Session, joint: Joint, previous: Callable | None):
        self.session = session
        self.joint = joint
        self.previous = previous
        self._by_name = {(layer.block, layer.number): layer for layer in joint.layers}

    def begin(self, executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **extra):
        """Around each pass of the model: says in its own copy of the options what the calls of the pass have."""
        options = {**(transformer_options or {})}
        options[FORWARD] = self._forward(x, c_crossattn, options, extra)
        return executor(x, t, c_concat, c_crossattn, control, options, **extra)

    def __call__(self, func, *args, **kwargs):
        def attend(*args, **kwargs):
            return func(*args, **kwargs) if self.previous is None else self.previous(func, *args, **kwargs)

        options = kwargs.get("transformer_options") or {}
        forward, asked = options.get(FORWARD), Asked.of(args, kwargs)
        if reason(asked, forward) is not None:
            return attend(*args, **kwargs)
        layer = self._layer(forward, options)
        forward.calls += 1
        out = self.session.run.attention(self._call(asked, forward, layer), asked.attend(attend))
        return out.unflatten(-1, (asked.heads, -1)).transpose(1, 2) if asked.split_output else out

    def __deepcopy__(self, memo):
        """Copies of the model, as the host makes for a second device, belong to the same run."""
        return self

    def _forward(self, x, context, options: dict[str, Any], extra: dict[str, Any]) -> Forward | None:
        """None where the pass has nothing to do with the run."""
        uuids, rows, known = options.get("uuids", ()), len(self.session.run.rows), self.session.evaluations
        evaluations = tuple(replace(known[key], base=i * rows) for i, key in enumerate(uuids) if key in known)
        if not evaluations or context is None or len(x) != rows * len(uuids):
            return None
        level = self.joint.layers[0].level
        size = tuple(x.shape[-2:])
        return Forward(
            size,
            text=context.shape[1],
            image=math.prod(halved(*size, level)),
            references=sum(math.prod(halved(*ref.shape[-2:], level)) for ref in extra.get("ref_latents") or ()),
            rows=len(x),
            evaluations=evaluations,
            hidden=self._hidden(evaluations, len(x), context),
        )

    def _hidden(self, evaluations: tuple[Evaluation, ...], rows: int, context: torch.Tensor) -> torch.Tensor | None:
        run = self.session.run
        prompts = [run.edit.source] * run.rows.first + [variant.prompt for variant in run.edit.variants]
        hidden = torch.zeros(rows, 1, 1, context.shape[1], dtype=torch.bool)
        for evaluation in evaluations:
            for place, prompt in enumerate(() if evaluation.shares_prompt else prompts):
                hidden[run.rows.of(place, evaluation.base), ..., prompt.positions("none")] = True
        return hidden.to(context.device) if hidden.any() else None

    def _layer(self, forward: Forward, options: dict[str, Any]) -> Layer:
        """By the name that the model gives its blocks, where it does; else by their order."""
        named = self._by_name.get((options.get("block_type"), options.get("block_index")))
        return named or self.joint.layers[forward.calls % len(self.joint.layers)]

    def _call(self, asked: Asked, forward: Forward, layer: Layer) -> Call:
        text, image = slice(0, forward.text), slice(forward.text, forward.text + forward.image)
        if not self.joint.row.text_first:
            image = slice(0, forward.image)
            text = slice(forward.image + forward.references, forward.positions)
        q, k, v = map(asked.joined, (asked.q, asked.k, asked.v))
        mask = four_dimensional(asked.mask, q)
        if forward.hidden is not None:
            hides = q.new_zeros(len(q), 1, 1, forward.positions)
            hides[..., text] = hides[..., text].masked_fill(forward.hidden, -torch.finfo(q.dtype).max)
            mask = hides if mask is None else torch.maximum(mask + hides, hides.new_tensor(-torch.finfo(q.dtype).max))
        return Call(q, k, v, layer, forward.evaluations, forward.size, mask, image, text)
