"""The override that edits a transformer's joint attention, and what it says of each pass of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import torch

from ...attention import Call
from ...errors import EditError
from ...layers import Layer, halved
from ...rows import Evaluation
from ...tokens import Token
from .joint_calls import Asked, Forward, attends_to, four_dimensional, hiding, is_of_text, reason
from .joint_prompts import LEARNED, alone, filled
from .joint_row import FILLING, IMAGE, REFERENCES, TEXT
from .session import Session

if TYPE_CHECKING:
    from .joint import Joint

FORWARD = "prompt_to_prompt_forward"


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
