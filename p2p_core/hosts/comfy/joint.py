"""ComfyUI's transformers with joint attention: their layers, their prompts, and how an edit gets into them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from ...architecture import Architecture, joint_blend_blocks
from ...errors import EditError
from ...layers import Layer
from ...tokens import Around, Prompt
from .conditioning import Conditioning, misfit, pad, stack, written
from .joint_attention import JointAttention
from .joint_models import MODELS
from .joint_prompts import PACKED, adapted, alone, around, laid_out, packed, tokens_of
from .joint_row import JointModel, has_second, width_of
from .session import Session

OVERRIDE = "optimized_attention_override"


@dataclass(frozen=True)
class Joint(Architecture):
    """A transformer whose attention goes through the host's override, and how an edit gets into it.

    Attributes:
        row: what is known of its class.
        context_width: numbers per token of its prompts; None takes any.
        pooled_width: numbers for a prompt as a whole; None takes any.
        multiple: it fills prompts up to a multiple of so many positions.
        refiners: how many of its blocks attend to the prompt alone.
    """

    row: JointModel = field(kw_only=True)
    context_width: int | None = field(kw_only=True)
    pooled_width: int | None = field(kw_only=True)
    multiple: int = field(default=1, kw_only=True)
    refiners: int = field(default=0, kw_only=True)

    @classmethod
    def of(cls, model) -> Joint | None:
        """The transformer of a ModelPatcher; None where there is no row for it.

        Raises:
            EditError: the model has one, but its network is another's.
        """
        network = model.get_model_object("diffusion_model")
        rows = [row for row in MODELS if row.model == type(model.model).__name__]
        row = next((row for row in rows if not row.having or getattr(network, row.having, None) is not None), None)
        if row is None:
            return None
        if type(network).__name__ != row.network:
            raise EditError(
                "model",
                f"this {row.name} is run by {type(network).__name__}, whose attention can't be edited. Builds for "
                "Nunchaku and TensorRT are such.",
                "Load the model with ComfyUI's own loaders.",
            )
        lists = [(name, attrgetter(modules)(network)) for name, modules in row.blocks]
        patch = row.patch if isinstance(row.patch, int) else attrgetter(row.patch)(network)
        level = int(math.log2(patch[-1] if isinstance(patch, tuple) else patch))
        heads = attrgetter(row.heads)(network)
        head_dim = attrgetter(row.width)(network) // heads
        layers = tuple(
            Layer(name, number, 0, attends, level, heads, head_dim)
            for name, blocks in lists
            for number in range(len(blocks))
            for attends in row.attentions
        )
        return cls(
            row.name,
            layers,
            pixels=getattr(model.model.latent_format, "spacial_downscale_ratio", 8),
            prompt_length=row.prompt_length,
            blend_blocks=joint_blend_blocks(row.name, layers, has_second(network)),
            reads_pictures=row.reads_pictures,
            row=row,
            context_width=width_of(network, row.context),
            pooled_width=width_of(network, row.pooled),
            multiple=attrgetter(row.multiple)(network) if row.multiple else 1,
            refiners=len(attrgetter(row.refiners)(network)) if row.refiners else 0,
        )

    def around(self, prompts: Sequence[Prompt]) -> list[Around]:
        """Registers, filling, and what makes the prompts equally long."""
        return around(self.row, [len(prompt) for prompt in prompts], self.multiple)

    def stack(self, conditionings: Sequence[Conditioning], join: Callable = torch.cat) -> Conditioning:
        """Conditionings as one with a row for each of theirs. Shorter prompts are filled up with zeros.

        Raises:
            EditError: see conditioning.stack; prompts of different lengths where they can't be filled up.
        """
        if self.row.adapter:
            conditionings = [packed(conditioning) for conditioning in conditionings]
        return stack(conditionings, join, lengthen=pad if self.row.adapter else self._lengthen)

    def text_positions(self, embeddings: torch.Tensor, options: dict[str, Any]) -> int:
        """How many a prompt has in the model, sampled alone."""
        own = self.row.registers + alone(self.row, embeddings.shape[1], self.multiple)
        return own + (2 * options[self.row.beside[0]].shape[-2] if self.row.beside else 0)

    def stays_in_place(self, prompt: Prompt) -> bool:
        """Whether the picture of a prompt, made as long as others, has its places where it has them alone."""
        return self.row.pad != "left" or not prompt.positions("none")

    def finish(self, cond: dict[str, Any], network) -> None:
        """Make the prompts of a conditioning, in the host's own form, those that the network attends to; it is loaded.

        One by one, since they are of different lengths; what the host does alike for a prompt alone.
        """
        if self.row.adapter and PACKED in cond:
            context = cond["model_conds"]["c_crossattn"]
            adapt = attrgetter(self.row.adapter)(network)
            cond["model_conds"]["c_crossattn"] = type(context)(adapted(context.cond, cond[PACKED], adapt))

    def misfit(self, embeddings: torch.Tensor, options: dict[str, Any]) -> str | None:
        """How an entry of CONDITIONING is not this model's, a sentence."""
        width, pooled = embeddings.shape[-1], options.get("pooled_output")
        return misfit(width, "embeddings", self.context_width) or (
            pooled is not None and misfit(pooled.shape[-1], "a pooled output", self.pooled_width)
        )

    def fits(self, embeddings: torch.Tensor, options: dict[str, Any], length: int) -> bool:
        """Whether an encoding [1, tokens, width] is one of `length` tokens, as it came or filled up."""
        if self.row.adapter:
            return tokens_of(options) in (None, length)
        if self.row.beside:
            return embeddings.shape[1] + 2 * options[self.row.beside[0]].shape[-2] == length
        start, stop = written(embeddings[0])
        return embeddings.shape[1] >= length >= stop - start

    def attach(self, model, session: Session) -> None:
        """Hang a session on `model`, a private clone. See JointAttention."""
        options = model.model_options["transformer_options"]
        options[OVERRIDE] = attention = JointAttention(session, self, options.get(OVERRIDE))
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "prompt_to_prompt", attention.begin)

    def _lengthen(self, prompts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        lengths = {embeddings.shape[1] for embeddings in prompts}
        if len(lengths) == 1:
            return list(prompts)
        if self.row.pad == "none":
            raise EditError(
                "source and edited",
                f"one has {min(lengths)} tokens, another {max(lengths)}, and {self.row.name} can't sample prompts of "
                "different lengths together.",
                "Add words to the shorter one, such as 'a picture of', until both are equally long.",
            )
        written_in = [stop - start for some in prompts for start, stop in map(written, some)]
        lengths = written_in if self.row.least_before or self.multiple > 1 or self.row.pad == "left" else lengths
        return [laid_out(self.row, embeddings, list(lengths), self.multiple) for embeddings in prompts]
