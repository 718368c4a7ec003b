"""What a call of joint attention is, however a model writes it, and why one is left alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ...attention import Attend
from ...rows import Evaluation


@dataclass
class Forward:
    """One pass of the model, for the attention calls in it.

    Attributes:
        size: the latent's height and width.
        text, image, references: positions of the prompt, of the picture, and of pictures that it refers to.
        rows: in the batch.
        evaluations: those of the run.
        hidden: the filling of shorter prompts, bool [rows, 1, 1, text]; None where there is none.
        calls: how many joint calls came before.
    """

    size: tuple[int, int]
    text: int
    image: int
    references: int
    rows: int
    evaluations: tuple[Evaluation, ...]
    hidden: torch.Tensor | None
    calls: int = 0

    @property
    def positions(self) -> int:
        return self.text + self.image + self.references


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


def reason(asked: Asked, forward: Forward | None) -> str | None:
    """Why a call is left alone; None where it is joint attention of a pass that the run knows."""
    if forward is None:
        return "it is outside of the passes that are edited"
    if len(asked.q) != forward.rows or len(asked.k) != forward.rows:
        return f"it has {len(asked.q)} rows of queries and {len(asked.k)} of keys, not {forward.rows}"
    if asked.keys == asked.queries == forward.image + forward.references:
        return "it is the image's alone"
    if asked.keys == asked.queries == forward.text:
        return "it is the text's alone"
    if asked.queries != forward.positions or asked.keys != forward.positions:
        return (
            f"it has {asked.queries} queries and {asked.keys} keys, not those of {forward.text} positions of text and "
            f"{forward.image + forward.references} of image"
        )
    return None


def four_dimensional(mask: torch.Tensor | None, q: torch.Tensor) -> torch.Tensor | None:
    """A mask of the host, [n, m], [rows, n, m] or [rows, heads, n, m], as one with four axes that is added."""
    if mask is None:
        return None
    mask = mask[(None,) * (4 - mask.ndim)] if mask.ndim == 2 else mask[:, None] if mask.ndim == 3 else mask
    if mask.dtype != torch.bool:
        return mask.to(q.dtype)
    return torch.zeros_like(mask, dtype=q.dtype).masked_fill(~mask, -torch.finfo(q.dtype).max)
