"""ComfyUI's CONDITIONING, `[[embeddings [rows, tokens, width], options], ...]`, with a row per prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..errors import EditError

Conditioning = list[list[Any]]


def stack(conditionings: Sequence[Conditioning], join: Callable = torch.cat) -> Conditioning:
    """Several conditionings as one with a row for each of theirs, entry by entry.

    Shorter prompts are tiled to the least common length, as the host does between chunks.

    Args:
        join: how the rows are put together, from a list of [rows, ...]; also for pooled outputs.

    Raises:
        EditError: they differ in the number of entries, or in anything but text.
    """
    counts = {len(conditioning) for conditioning in conditionings}
    if len(counts) > 1:
        raise EditError(
            f"source and edited have different numbers of conditioning entries ({', '.join(map(str, sorted(counts)))}): "
            "where one goes through Combine, an area or a schedule, the other has to go through the same."
        )
    return [_stack_entries(entries, join) for entries in zip(*conditionings)]


def _stack_entries(entries: Sequence[list[Any]], join: Callable) -> list[Any]:
    embeddings = [entry[0] for entry in entries]
    widths = {tensor.shape[-1] for tensor in embeddings}
    if len(widths) > 1:
        raise EditError(
            f"source and edited come from different text encoders (widths {', '.join(map(str, sorted(widths)))}): "
            "encode both with the CLIP that PromptPairAlign has."
        )
    length = math.lcm(*(tensor.shape[1] for tensor in embeddings))
    tiled = join([tensor.repeat(1, length // tensor.shape[1], 1) for tensor in embeddings])
    options = [entry[1] for entry in entries]
    return [tiled, {key: _stack_option(key, options, join) for key in dict.fromkeys(k for o in options for k in o)}]


def _stack_option(key: str, options: Sequence[dict[str, Any]], join: Callable) -> Any:
    values = [option.get(key) for option in options]
    if key == "pooled_output" and all(isinstance(value, torch.Tensor) for value in values):
        return join(values)
    if not all(same(values[0], value) for value in values[1:]):
        what = "ControlNet" if key == "control" else f"'{key}'"
        raise EditError(
            f"source and edited differ in {what}: an edit is sampled together with its source, so apply "
            "the same nodes with the same settings to both."
        )
    return values[0]


def same(a: Any, b: Any) -> bool:
    """Whether two conditioning options mean the same. Copies of one ControlNet with one hint are one."""
    if a is b:
        return True
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return type(a) is type(b) and a.shape == b.shape and torch.equal(a, b)
    if hasattr(a, "cond_hint_original") and type(a) is type(b):
        names = ("control_model", "t2i_model", "cond_hint_original", "strength", "timestep_percent_range", "strength_type")
        return all(same(getattr(a, n, None), getattr(b, n, None)) for n in (*names, "previous_controlnet"))
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    try:
        return bool(a == b)
    except (RuntimeError, ValueError):
        return False


def tiles(embeddings: torch.Tensor, length: int) -> bool:
    """Whether [rows, tokens, width] is a prompt of `length` tokens, once or repeated."""
    tokens = embeddings.shape[1]
    if tokens % length:
        return False
    return torch.equal(embeddings, embeddings[:, :length].repeat(1, tokens // length, 1))
