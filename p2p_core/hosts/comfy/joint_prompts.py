"""How prompts of different lengths lie together in a transformer, each as it lies there alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ...tokens import Around, Token
from .conditioning import written
from .joint_models import JointModel

LEARNED = "filling"
"""The id of a learned token with which a model fills prompts up."""
_HIDDEN, _ZERO, _LEARNED = Token(0, "none"), Token(0, "pad"), Token(LEARNED, "pad")


def alone(row: JointModel, length: int, multiple: int) -> int:
    """Positions that a prompt of `length` has in the model by itself, without registers."""
    return max(-(-length // multiple) * multiple, row.least)


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
        before += [_ZERO] * (mine - length) if row.least else []
        after += [_LEARNED] * (mine - length) if multiple > 1 else []
        after += hidden if row.pad != "left" else []
        made.append(Around(tuple(before), tuple(after)))
    return made


def laid_out(row: JointModel, embeddings: torch.Tensor, lengths: Sequence[int], multiple: int) -> torch.Tensor:
    """Prompts [rows, tokens, width], as they came or laid out before, each with zeros where `around` has something.

    Args:
        lengths: of all prompts that are to lie together.
    """
    total = max(alone(row, length, multiple) for length in lengths)
    if not row.least and multiple == 1 and row.pad == "right":
        return torch.nn.functional.pad(embeddings, (0, 0, 0, total - embeddings.shape[1]))
    out = embeddings.new_zeros(len(embeddings), total, embeddings.shape[-1])
    for one, prompt in zip(out, embeddings):
        start, stop = written(prompt)
        mine = alone(row, stop - start, multiple)
        first = (total - mine if row.pad == "left" else 0) + (mine - (stop - start) if row.least else 0)
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
