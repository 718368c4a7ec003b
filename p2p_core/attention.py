"""Prompt-to-prompt on values instead of maps.

Every edit of the literature is linear in the attention map, and `map @ v` is linear in `v`, so an
edit can be moved onto the values and no map is ever built. With `SDPA(q, k, v) = softmax(q k^T / sqrt(d)) v`,
rows `s` (source) and `e` (edit), alignment `A`, strengths `a` and weights `w` per edit token:

    injection and reweighting   ((P_s A) diag(a) + P_e diag(1 - a)) diag(w) v_e
                                = SDPA(q_s, k_s, A diag(a w) v_e) + SDPA(q_e, k_e, diag((1 - a) w) v_e)
    self-attention maps         a SDPA(q_s, k_s, v_e) + (1 - a) SDPA(q_e, k_e, v_e)
    the source's keys, values   a SDPA(q_e, k_s, v_s) + (1 - a) SDPA(q_e, k_e, v_e)
    the source's output         a SDPA(q_s, k_s, v_s) + (1 - a) SDPA(q_e, k_e, v_e)

They are one form: an injected part, attended with the source's keys, plus a kept part, attended with
the edit's own. The injected part takes the edit row's place in the call that the host makes anyway;
only where something is kept beside it is there a second, smaller call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .errors import EditError

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""The host's attention: q [rows, n, c], k and v [rows, m, c] -> [rows, n, c], c = heads * head_dim."""


@dataclass(frozen=True)
class Injection:
    """What an edit row takes from its source in one attention call, and what it keeps.

    Attributes:
        inject: what is done to the values under the source's map: a matrix [n_source, n_edit] for
            cross-attention, a factor for self-attention, None where nothing is injected.
        keep: what is done to the values under the edit's own map: a vector [n_edit] or a factor;
            None where nothing is kept.
        source_query, source_value: whether the injected part has the source's queries and values,
            or the edit's.
    """

    inject: torch.Tensor | float | None
    keep: torch.Tensor | float | None
    source_query: bool = True
    source_value: bool = False


@dataclass(frozen=True)
class Pair:
    """Rows of one call: the edit's, and the source's that stand beside them, as many."""

    source: slice
    edit: slice
    injection: Injection


def edited_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pairs: Sequence[Pair], attend: Attend
) -> torch.Tensor:
    """Attention with the edit rows edited and all others as they were.

    Args:
        q: [rows, n, c]; k, v: [rows, m, c]. Not written to.
        pairs: the edit rows; none is another's source. m is a whole multiple of each alignment's
            lengths: a prompt's keys may be tiled, which leaves the sum of its maps as it was.
        attend: the host's attention.

    Returns:
        [rows, n, c].

    Raises:
        EditError: m is no multiple of an alignment's length.
    """
    both = [pair for pair in pairs if pair.injection.inject is not None and pair.injection.keep is not None]
    if both:
        kept = attend(
            torch.cat([q[pair.edit] for pair in both]),
            torch.cat([k[pair.edit] for pair in both]),
            torch.cat([_kept(v[pair.edit], pair.injection.keep) for pair in both]),
        )
    edited_q, edited_k, edited_v = (x.clone() if pairs else x for x in (q, k, v))
    for pair in pairs:
        injection = pair.injection
        if injection.inject is None:
            edited_v[pair.edit] = _kept(v[pair.edit], injection.keep)
            continue
        if injection.source_query:
            edited_q[pair.edit] = q[pair.source]
        edited_k[pair.edit] = k[pair.source]
        edited_v[pair.edit] = _injected(v[pair.source if injection.source_value else pair.edit], injection.inject)
    out = attend(edited_q, edited_k, edited_v)
    if both:
        parts = kept.split([pair.edit.stop - pair.edit.start for pair in both])
        for pair, part in zip(both, parts):
            out[pair.edit] += part
    return out


def _injected(values: torch.Tensor, inject: torch.Tensor | float) -> torch.Tensor:
    if not isinstance(inject, torch.Tensor):
        return values if inject == 1 else values * inject
    n_source, n_edit = inject.shape
    tokens = values.shape[1]
    _check_tiling(tokens, n_source, n_edit)
    # All copies of the edit's tokens have the same values; each copy of the source's has its share
    # of the map, so every copy is given the whole value.
    return (inject @ values[:, :n_edit]).repeat(1, tokens // n_source, 1)


def _kept(values: torch.Tensor, keep: torch.Tensor | float) -> torch.Tensor:
    if not isinstance(keep, torch.Tensor):
        return values if keep == 1 else values * keep
    _check_tiling(values.shape[1], len(keep))
    return values * keep.repeat(values.shape[1] // len(keep))[:, None]


def _check_tiling(tokens: int, *lengths: int) -> None:
    if any(tokens % length for length in lengths):
        raise EditError(
            f"The model attends to {tokens} tokens, but the prompts of this edit have "
            f"{' and '.join(map(str, dict.fromkeys(lengths)))}. The conditioning was changed in length after "
            "PromptPairAlign, as by a Concat node: join the texts in the prompts instead."
        )
