"""What a call of joint attention is, however a model writes it, and why one is left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ...attention import Attend
from ...rows import Evaluation
from .joint_row import FILLING, IMAGE, REFERENCES, TEXT


@dataclass
class Forward:
    """One pass of the model, for the attention calls in it.

    Attributes:
        size: the latent's height and width.
        text, image, references, filling: positions of the prompt, of the picture, of pictures that it refers to, and
            of learned tokens after it.
        rows: in the batch.
        evaluations: those of the run.
        hidden: the positions that are there to make prompts equally long, bool [rows, 1, 1, text]; None where there
            are none.
        order: what the keys of joint attention are of, in their order.
        attentions: what the attentions of a block attend to, in their order.
        refiners: how many calls of the text alone come before all others.
        calls, alone: how many calls of the run's layers, and of the text alone, came before.
        left_alone: why the last call was that was not one of the run's layers.
    """

    size: tuple[int, int]
    text: int
    image: int
    references: int
    rows: int
    evaluations: tuple[Evaluation, ...]
    hidden: torch.Tensor | None
    filling: int = 0
    order: tuple[str, ...] = (TEXT, IMAGE, REFERENCES)
    attentions: tuple[tuple[str, ...], ...] = ((TEXT, IMAGE),)
    refiners: int = 0
    calls: int = 0
    alone: int = 0
    left_alone: str = ""

    @property
    def of_image(self) -> int:
        """Positions of the picture and of what goes with it."""
        return self.image + self.references + self.filling

    @property
    def positions(self) -> int:
        return self.text + self.of_image

    def keys(self, attends_to: tuple[str, ...]) -> int:
        return (self.text if TEXT in attends_to else 0) + (self.of_image if IMAGE in attends_to else 0)

    def place(self, part: str, attends_to: tuple[str, ...]) -> slice:
        """Where the prompt or the picture lies among the positions of what an attention attends to."""
        order = [one for one in self.order if (TEXT if one == TEXT else IMAGE) in attends_to]
        lengths = {TEXT: self.text, IMAGE: self.image, REFERENCES: self.references, FILLING: self.filling}
        start = sum(lengths[one] for one in order[: order.index(part)])
        return slice(start, start + lengths[part])


@dataclass(frozen=True)
class Asked:
    """An attention call as a model makes it, its arguments by name.

    Attributes:
        q, k, v: [rows, heads, n, head_dim] if `split`, else [rows, n, heads * head_dim]; v may be
            [rows, n, heads, head_dim] all the same (SD 3).
        heads: of the queries; keys and values may have fewer.
        more: all other arguments, to be handed on.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    heads: int
    mask: torch.Tensor | None
    split: bool
    split_output: bool
    more: dict[str, Any]

    @classmethod
    def of(cls, args: tuple, kwargs: dict[str, Any]) -> Asked:
        """From the arguments of `optimized_attention`, which models give by place or by name."""
        names = ("q", "k", "v", "heads", "mask", "attn_precision", "skip_reshape", "skip_output_reshape")
        given = {**dict(zip(names, args)), **kwargs}
        q, k, v, heads = (given.pop(name) for name in names[:4])
        split, split_output = (bool(given.pop(name, False)) for name in names[6:])
        return cls(q, k, v, heads, given.pop("mask", None), split, split_output, given)

    @property
    def queries(self) -> int:
        return self.q.shape[-2]

    @property
    def keys(self) -> int:
        return self.k.shape[-2]

    def joined(self, x: torch.Tensor) -> torch.Tensor:
        """q, k or v as [rows, n, heads * head_dim]."""
        return (x.transpose(1, 2) if self.split else x).flatten(2)

    def attend(self, attend: Callable) -> Attend:
        """`attend`, called as the model would, for tensors as the engine has them."""
        head_dim = self.q.shape[-1] if self.split else self.q.shape[-1] // self.heads

        def of_engine(q, k, v, mask):
            if self.split:
                q, k, v = (x.unflatten(-1, (-1, head_dim)).transpose(1, 2) for x in (q, k, v))
            return attend(q, k, v, self.heads, mask=mask, skip_reshape=self.split, **self.more)

        of_engine.__name__ = attend.__name__
        return of_engine

    def returned(self, out: torch.Tensor) -> torch.Tensor:
        """[rows, n, heads * head_dim] as the model wants it."""
        return out.unflatten(-1, (self.heads, -1)).transpose(1, 2) if self.split_output else out


def attends_to(asked: Asked, forward: Forward) -> tuple[str, ...] | None:
    """What a call attends to; None where it is none of the run's. Where picture and prompt are of one length, calls
    are told apart by their order."""
    fitting = [
        some
        for some in forward.attentions
        if asked.keys == forward.keys(some)
        and asked.queries == (forward.positions if len(some) > 1 else forward.of_image)
    ]
    in_turn = forward.attentions[forward.calls % len(forward.attentions)]
    return in_turn if in_turn in fitting else fitting[0] if fitting else None


def reason(asked: Asked, forward: Forward | None) -> str | None:
    """Why a call is left alone; None where it is attention of a pass that the run knows."""
    if forward is None:
        return "it is outside of the passes that are edited"
    if len(asked.q) != forward.rows or len(asked.k) != forward.rows:
        return f"it has {len(asked.q)} rows of queries and {len(asked.k)} of keys, not {forward.rows}"
    if attends_to(asked, forward) is not None:
        return None
    if is_of_text(asked, forward):
        return "it is the text's alone"
    if asked.keys == asked.queries == forward.of_image:
        return "it is the image's alone"
    return (
        f"it has {asked.queries} queries and {asked.keys} keys, not those of {forward.text} positions of text and "
        f"{forward.of_image} of image"
    )


def is_of_text(asked: Asked, forward: Forward) -> bool:
    """Whether a call of all rows is the text's alone. Those of the picture alone come after them."""
    if not asked.keys == asked.queries == forward.text or len(asked.q) != forward.rows:
        return False
    return forward.text != forward.of_image or forward.alone < forward.refiners


def four_dimensional(mask: torch.Tensor | None, q: torch.Tensor) -> torch.Tensor | None:
    """A mask of the host, [n, m], [rows, n, m] or [rows, heads, n, m], as one with four axes that is added."""
    if mask is None:
        return None
    mask = mask[(None,) * (4 - mask.ndim)] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    if mask.dtype != torch.bool:
        return mask.to(q.dtype)
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.finfo(q.dtype).max)


def hiding(mask: torch.Tensor | None, q: torch.Tensor, hidden: torch.Tensor, text: slice, keys: int) -> torch.Tensor:
    """A mask with four axes, or none, that also hides some of the text's keys."""
    least = -torch.finfo(q.dtype).max
    hides = q.new_zeros(len(q), 1, 1, keys)
    hides[..., text] = hides[..., text].masked_fill(hidden, least)
    return hides if mask is None else torch.maximum(mask + hides, hides.new_tensor(least))
