"""How prompts of different lengths lie together in a transformer, each as it lies there alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ...tokens import Around, Token
from .conditioning import PACKED, Conditioning, pad, written
from .joint_row import JointModel

LEARNED = "filling"
"""The id of a learned token with which a model fills prompts up."""
_HIDDEN, _ZERO, _LEARNED = Token(0, "none"), Token(0, "pad"), Token(LEARNED, "pad")


def alone(row: JointModel, length: int, multiple: int) -> int:
    """Positions that a prompt of `length` has in the model by itself, without registers."""
    return max(-(-length // multiple) * multiple, row.least_before, row.least_after)


def around(row: JointModel, lengths: Sequence[int], multiple: int) -> list[Around]:
    """What prompts of these lengths have around them, so that all are equally long.

    A model's own registers and filling are part of what the picture attends to; the rest is hidden, and lies where it
    does not move the words' places relative to the picture's.
    """
    own = [alone(row, length, multiple) for length in lengths]
    made = []
    for length, mine in zip(lengths, own):
        before, after = [Token(i, "start") for i in range(row.registers)], []
        hidden = [_HIDDEN] * (max(own) - mine)
        before += hidden if row.pad == "left" else []
        before += [_ZERO] * (mine - length) if row.least_before else []
        after += [_LEARNED if multiple > 1 else _ZERO] * (0 if row.least_before else mine - length)
        after += hidden if row.pad != "left" else []
        made.append(Around(tuple(before), tuple(after)))
    return made


def laid_out(row: JointModel, embeddings: torch.Tensor, lengths: Sequence[int], multiple: int) -> torch.Tensor:
    """Prompts [rows, tokens, width], as they came or laid out before, each with zeros where `around` has something.

    Args:
        lengths: of all prompts that are to lie together.
    """
    total = max(alone(row, length, multiple) for length in lengths)
    if not row.least_before and multiple == 1 and row.pad == "right":
        return torch.nn.functional.pad(embeddings, (0, 0, 0, total - embeddings.shape[1]))
    out = embeddings.new_zeros(len(embeddings), total, embeddings.shape[-1])
    for one, prompt in zip(out, embeddings):
        start, stop = written(prompt)
        mine = alone(row, stop - start, multiple)
        first = (total - mine if row.pad == "left" else 0) + (mine - (stop - start) if row.least_before else 0)
        one[first : first + stop - start] = prompt[start:stop]
    return out


@contextmanager
def filled(layer: torch.nn.Module | None, token: torch.Tensor | None, places: torch.Tensor | None) -> Iterator[None]:
    """While active, the embeddings of a prompt's tokens are the learned one in some places.

    Args:
        layer: embeds the prompt, [rows, tokens, width] -> [rows, tokens, c]; token: [1, c].
        places: bool [rows, tokens]; None where there are none.
    """
    if places is None:
        yield
        return

    def fill(module, given, out):
        return torch.where(places[..., None].to(out.device), token.to(out), out)

    hook = layer.register_forward_hook(fill)
    try:
        yield
    finally:
        hook.remove()


def packed(conditioning: Conditioning) -> Conditioning:
    """A prompt's T5 tokens and their weights, which have no row, as PACKED: [1, tokens, 2], tokens from 1."""
    made = []
    for embeddings, options in conditioning:
        options = dict(options)
        if (ids := options.pop("t5xxl_ids", None)) is not None:
            weights = options.pop("t5xxl_weights", None)
            weights = torch.ones_like(ids) if weights is None else weights
            options[PACKED] = torch.stack([ids.double() + 1, weights.double()], dim=-1)[None]
        made.append([embeddings, options])
    return made


def tokens_of(options: dict[str, Any]) -> int | None:
    """How many of T5's tokens a conditioning of one prompt has; None where it has none."""
    if "t5xxl_ids" in options:
        return len(options["t5xxl_ids"])
    return int((options[PACKED][0, :, 0] > 0).sum()) if PACKED in options else None


def adapted(embeddings: torch.Tensor, tokens: torch.Tensor, adapt: Callable) -> torch.Tensor:
    """Prompts [rows, n, width], each with zeros after it, and their `packed` tokens as the network attends to them."""
    rows, made = {}, []
    for prompt, own in zip(embeddings, tokens):
        own = own[own[:, 0] > 0]
        key = (prompt.sum().item(), *own[:, 0].tolist())
        if key not in rows:
            weight = next(adapt.__self__.parameters())
            ids, weights = own[None, :, 0].int() - 1, own[None, :, 1:].to(weight)
            given = prompt[None, : written(prompt)[1]].to(weight)
            rows[key] = adapt(given, ids.to(weight.device), t5xxl_weights=weights)
        made.append(rows[key])
    return torch.cat(pad(made)).to(embeddings.device)
