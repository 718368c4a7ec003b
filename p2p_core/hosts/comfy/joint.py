"""ComfyUI's transformers with joint attention: their layers, and the override that edits them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

import torch
from comfy.patcher_extension import WrappersMP

from ...architecture import Architecture, joint_blend_blocks
from ...attention import Call
from ...errors import EditError
from ...layers import Layer, halved
from ...rows import Evaluation
from ...tokens import Around, Prompt, Token
from .conditioning import Conditioning, misfit, pad, stack, written
from .joint_calls import Asked, Forward, attends_to, four_dimensional, hiding, is_of_text, reason
from .joint_models import MODELS
from .joint_prompts import LEARNED, PACKED, adapted, alone, around, filled, laid_out, packed, tokens_of
from .joint_row import FILLING, IMAGE, REFERENCES, TEXT, JointModel, has_second, width_of
from .session import Session

OVERRIDE = "optimized_attention_override"
FORWARD = "prompt_to_prompt_forward"


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


class JointAttention:
    """An attention override: a run in the attention of a transformer.

    Args:
        previous: the override that was there before; it makes all calls that are made.
    """

    def __init__(self, session: Session, joint: Joint, previous: Callable | None):
        self.session = session
        self.joint = joint
        self.previous = previous
        self._by_name = {(layer.block, layer.number, layer.attends_to): layer for layer in joint.layers}

    def begin(self, executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **extra):
        """Around each pass of the model: says in its own copy of the options what the calls of the pass have.

        Raises:
            EditError: the model asks for no attention of the shape that is expected of it.
        """
        options = {**(transformer_options or {})}
        network, known = executor.class_obj.diffusion_model, extra
        if self.joint.row.method and extra.get("ref_latents_method", getattr(network, self.joint.row.method)) is None:
            known = {name: value for name, value in extra.items() if name != "ref_latents"}
        forward = options[FORWARD] = self._forward(x, c_crossattn, options, known)
        with self._filled(network, forward, c_crossattn):
            out = executor(x, t, c_concat, c_crossattn, control, options, **extra)
        if forward is not None and not forward.calls and forward.left_alone:
            raise EditError(
                "model",
                f"none of its attention could be edited: {forward.left_alone}.",
                "Take out nodes that add pictures, frames or tokens to it.",
            )
        return out

    def __call__(self, func, *args, **kwargs):
        def attend(*args, **kwargs):
            return func(*args, **kwargs) if self.previous is None else self.previous(func, *args, **kwargs)

        kernel = self.previous or func
        attend.__name__ = getattr(kernel, "__name__", type(kernel).__name__)
        options = kwargs.get("transformer_options") or {}
        forward, asked = options.get(FORWARD), Asked.of(args, kwargs)
        why = reason(asked, forward)
        if why is None:
            call = self._call(asked, forward, options)
            forward.calls += 1
            return asked.returned(self.session.run.attention(call, asked.attend(attend)))
        if forward is not None:
            forward.left_alone = why
            if is_of_text(asked, forward):
                forward.alone += 1
                if forward.hidden is not None:
                    q, k, v = map(asked.joined, (asked.q, asked.k, asked.v))
                    mask = hiding(four_dimensional(asked.mask, q), q, forward.hidden, slice(None), asked.keys)
                    return asked.returned(asked.attend(attend)(q, k, v, mask))
        return attend(*args, **kwargs)

    def __deepcopy__(self, memo):
        """Copies of the model, as the host makes for a second device, belong to the same run."""
        return self

    def _forward(self, x, context, options: dict[str, Any], extra: dict[str, Any]) -> Forward | None:
        """None where the pass has nothing to do with the run."""
        uuids, rows, known = options.get("uuids", ()), len(self.session.run.rows), self.session.evaluations
        evaluations = tuple(replace(known[key], base=i * rows) for i, key in enumerate(uuids) if key in known)
        if not evaluations or context is None or len(x) != rows * len(uuids):
            return None
        joint, row = self.joint, self.joint.row
        level, size = joint.layers[0].level, tuple(x.shape[-2:])
        image = math.prod(halved(*size, level))
        references = extra.get("ref_latents") or ()
        if references and REFERENCES not in row.order:
            raise EditError(
                "source and edited",
                f"they have reference pictures, which can't be told from the picture in {row.name}.",
                "Take out the nodes that add them.",
            )
        filling = -image % joint.multiple if FILLING in row.order else 0
        beside = 2 * extra[row.beside[1]].shape[-2] if row.beside else 0
        hidden = self._where(evaluations, x, lambda token: token.kind == "none", (1, 1))
        if hidden is not None and filling:
            side = 2**level * joint.pixels
            raise EditError(
                "source and edited",
                f"their prompts have different multiples of {joint.multiple} tokens, and the picture's {image} places "
                f"of {side} x {side} pixels are none: {row.name} can't sample such together.",
                f"Make the prompts more alike in length, or choose a size such as {32 * side} x {32 * side}.",
            )
        return Forward(
            size,
            text=row.registers + alone(row, context.shape[1], joint.multiple) + beside,
            image=image,
            references=sum(math.prod(halved(*ref.shape[-2:], level)) for ref in references),
            filling=filling,
            rows=len(x),
            evaluations=evaluations,
            hidden=hidden,
            order=row.order,
            attentions=row.attentions,
            refiners=joint.refiners,
        )

    def _where(
        self, evaluations: Sequence[Evaluation], x: torch.Tensor, which: Callable[[Token], bool], axes: tuple[int, ...]
    ) -> torch.Tensor | None:
        """Which positions of the text are such in each row, bool [rows, *axes, text]; None where none is."""
        run = self.session.run
        prompts = [run.edit.source] * run.rows.first + [variant.prompt for variant in run.edit.variants]
        where = torch.zeros(len(x), *axes, len(run.edit.source), dtype=torch.bool)
        for evaluation in evaluations:
            for place, prompt in enumerate(() if evaluation.shares_prompt else prompts):
                where[run.rows.of(place, evaluation.base)] = torch.tensor([which(token) for token in prompt.tokens])
        return where.to(x.device) if where.any() else None

    def _filled(self, network, forward: Forward | None, context) -> AbstractContextManager:
        """The model's own filling of prompts, where they were laid out together before it could fill them."""
        row = self.joint.row
        if forward is None or not row.filling or forward.text != context.shape[1]:
            return filled(None, None, None)
        places = self._where(forward.evaluations, context, lambda token: token.id == LEARNED, ())
        return filled(attrgetter(row.embedder)(network), attrgetter(row.filling)(network), places)

    def _layer(self, forward: Forward, options: dict[str, Any], attends: tuple[str, ...]) -> Layer:
        """By the name that the model gives its blocks, where it does; else by their order."""
        named = self._by_name.get((options.get("block_type"), options.get("block_index"), attends))
        return named or self.joint.layers[forward.calls % len(self.joint.layers)]

    def _call(self, asked: Asked, forward: Forward, options: dict[str, Any]) -> Call:
        attends = attends_to(asked, forward)
        layer = self._layer(forward, options, attends)
        image = forward.place(IMAGE, attends if IMAGE in attends else (IMAGE,))
        text = forward.place(TEXT, attends) if len(attends) > 1 else None
        q, k, v = map(asked.joined, (asked.q, asked.k, asked.v))
        mask = four_dimensional(asked.mask, q)
        if TEXT in attends and forward.hidden is not None:
            mask = hiding(mask, q, forward.hidden, text or slice(None), asked.keys)
        return Call(q, k, v, layer, forward.evaluations, forward.size, mask, image, text)
