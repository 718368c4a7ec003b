"""Prompt-to-prompt on values instead of maps.

Every edit of the literature is linear in the attention map, and `map @ v` is linear in `v`, so an
edit can be moved onto the values and no map is ever built. With `SDPA(q, k, v) = softmax(q k^T / sqrt(d)) v`,
rows `s` (source) and `e` (edit), alignment `A`, strengths `a` of words and `s` of the image, weights `w`
per edit token:

    cross-attention
    injection and reweighting   ((P_s A) diag(a) + P_e diag(1 - a)) diag(w) v_e
                                = SDPA(q_s, k_s, A diag(a w) v_e) + SDPA(q_e, k_e, diag((1 - a) w) v_e)
    self-attention
    the source's maps           s SDPA(q_s, k_s, v_e) + (1 - s) SDPA(q_e, k_e, v_e)
    its keys and values         s SDPA(q_e, k_s, v_s) + (1 - s) SDPA(q_e, k_e, v_e)
    its output                  s SDPA(q_s, k_s, v_s) + (1 - s) SDPA(q_e, k_e, v_e)
    joint attention: one softmax over [text ; image]; queries of the text keep their own
    the source's maps           SDPA(q_s, k_s, [A diag(a w) v_text ; s v_image])
                                + SDPA(q_e, k_e, [diag((1 - a) w) v_text ; (1 - s) v_image])
    its layout                  SDPA(q_s, [k_e text ; k_s image], [diag(w) v_text ; v_image])
    its keys and values         SDPA(q_e, [k_e text ; k_s image], [diag(w) v_e text ; v_s image])

Cross and self-attention are Hertz et al. 2022, keys and values Cao et al. 2023 (MasaCtrl); the joint forms
are ReFlex (Kim et al. 2025) with an alignment, and Shin et al. 2025 and ConsistEdit (2025).

They are one form: an injected part, attended with the source's queries or keys, plus a kept part, attended
with the edit's own. The injected part takes the edit row's place in the call that the host makes anyway;
only where something is kept beside it is there a second, smaller call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch

from .layers import Layer
from .rows import Evaluation
from .values import Values

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
"""The host's attention: q [rows, n, c], k and v [rows, m, c'], mask -> [rows, n, c]. c = heads * head_dim;
c' may be that of fewer heads. The mask is None or broadcasts to [rows, heads, n, m]: added, or False for hidden."""

Whose = Literal["source", "edit"]


@dataclass(frozen=True)
class Call:
    """One attention call of the host.

    Attributes:
        q, k, v, mask: see Attend. Never written to.
        evaluations: the evaluations of the run in this call; rows outside of them are left alone.
        size: the latent's height and width in this call.
        image: the queries that are the picture's; others keep what is theirs.
        text: the keys that are the prompt's; None where the layer attends to nothing else, or not to it.
    """

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    layer: Layer
    evaluations: tuple[Evaluation, ...]
    size: tuple[int, int]
    mask: torch.Tensor | None = None
    image: slice = field(default_factory=lambda: slice(None))
    text: slice | None = None

    @property
    def text_keys(self) -> slice:
        """`text` with both ends."""
        keys = self.k.shape[1] if "text" in self.layer.attends_to else 0
        return slice(0, keys) if self.text is None else slice(*self.text.indices(keys)[:2])

    @property
    def other_queries(self) -> list[slice]:
        """The queries that are not the picture's."""
        start, stop, _ = self.image.indices(self.q.shape[1])
        return [some for some in (slice(0, start), slice(stop, self.q.shape[1])) if some.start < some.stop]

    @property
    def of_image(self) -> Call:
        """The same for the picture's queries alone."""
        mask = self.mask if self.mask is None or self.mask.shape[-2] == 1 else self.mask[..., self.image, :]
        return replace(self, q=self.q[:, self.image], mask=mask, image=slice(None))

    def of_rows(self, rows: slice) -> Call:
        """The same for some of the rows."""
        mask = _of_rows(self.mask, rows)
        return replace(self, q=self.q[rows], k=self.k[rows], v=self.v[rows], mask=mask)

    def attend(self, attend: Attend) -> torch.Tensor:
        return attend(self.q, self.k, self.v, self.mask)


class Source(Protocol):
    """Where an edit's source is: beside it in the same call, or recorded. Every tensor has the edit's rows."""

    def q(self, call: Call) -> torch.Tensor:
        """The picture's queries [rows, n, c]."""

    def k(self, call: Call) -> torch.Tensor:
        """[rows, m, c']."""

    def v(self, call: Call) -> torch.Tensor:
        """[rows, m, c']."""

    def mask(self, call: Call) -> torch.Tensor | None:
        """[rows, ...] or, if it is the call's own for all rows, that; None where nothing is masked."""


@dataclass(frozen=True)
class Neighbour:
    """A source in the same call, in these rows."""

    rows: slice

    def q(self, call: Call) -> torch.Tensor:
        return call.q[self.rows, call.image]

    def k(self, call: Call) -> torch.Tensor:
        return call.k[self.rows]

    def v(self, call: Call) -> torch.Tensor:
        return call.v[self.rows]

    def mask(self, call: Call) -> torch.Tensor | None:
        return _of_rows(call.mask, self.rows)


@dataclass(frozen=True)
class Injection:
    """What an edit takes from its source in one attention call, and what it keeps.

        SDPA(q_query, k_key, inject v_value) + SDPA(q_e, k_e, keep v_e)

    Attributes:
        inject, keep: None where nothing is injected, or kept.
        query, key, value: whose the injected part's are.
        own: keys for which the injected part has the edit's own keys and values all the same.
    """

    inject: Values | None
    keep: Values | None
    query: Whose = "source"
    key: Whose = "source"
    value: Whose = "edit"
    own: slice = field(default_factory=lambda: slice(0, 0))


@dataclass(frozen=True)
class Pair:
    """An edit's rows in a call, and the source that they take from, of as many rows; None where nothing is injected."""

    source: Source | None
    edit: slice
    injection: Injection


def edited_attention(call: Call, pairs: Sequence[Pair], attend: Attend) -> torch.Tensor:
    """Attention with the edit rows edited and all others as they were.

    Args:
        pairs: the edit rows; none is another's source.
        attend: the host's attention.

    Returns:
        [rows, n, c].

    Raises:
        EditError: the keys are not as many as the prompts of an alignment have.
    """
    out = _injected(call, pairs).attend(attend)
    kept = [pair for pair in pairs if pair.injection.inject is not None and pair.injection.keep is not None]
    if kept:
        parts = _kept(call, kept).attend(attend).split([pair.edit.stop - pair.edit.start for pair in kept])
        for pair, part in zip(kept, parts):
            out[pair.edit, call.image] += part
    for queries in call.other_queries if pairs else ():
        # What is not the picture's keeps its own: asked for once more, so that the call above stays the host's own.
        parts = _own(call, pairs, queries).attend(attend).split([pair.edit.stop - pair.edit.start for pair in pairs])
        for pair, part in zip(pairs, parts):
            out[pair.edit, queries] = part
    return out


def _injected(call: Call, pairs: Sequence[Pair]) -> Call:
    """The host's own call with the injected parts in the edits' places."""
    if not pairs:
        return call
    q, k, v = (x.clone() for x in (call.q, call.k, call.v))
    mask = call.mask
    for pair in pairs:
        injection, source, rows = pair.injection, pair.source, pair.edit
        if injection.inject is None:
            v[rows] = injection.keep(call.v[rows])
            continue
        if injection.query == "source":
            q[rows, call.image] = source.q(call)
        if injection.key == "source":
            k[rows] = source.k(call)
            k[rows, injection.own] = call.k[rows, injection.own]
            theirs = source.mask(call)
            if theirs is not call.mask:
                own = mask_of_rows(call.mask, len(call.q), theirs)
                mask = own.clone() if mask is call.mask else mask
                mask[rows] = mask_of_rows(theirs, len(range(len(q))[rows]), own)
                mask[rows, ..., injection.own] = own[rows, ..., injection.own]
        values = call.v[rows]
        if injection.value == "source":
            values = source.v(call).clone()
            values[:, injection.own] = call.v[rows, injection.own]
        v[rows] = injection.inject(values)
    return replace(call, q=q, k=k, v=v, mask=mask)


def _kept(call: Call, pairs: Sequence[Pair]) -> Call:
    """The parts that edits keep beside what is injected, row after row."""
    own = _own(call, pairs, call.image)
    return replace(own, v=torch.cat([pair.injection.keep(call.v[pair.edit]) for pair in pairs]))


def _own(call: Call, pairs: Sequence[Pair], queries: slice) -> Call:
    """Some queries of the edits' rows with all that is their own, row after row."""

    def rows(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[pair.edit] for pair in pairs])

    mask = call.mask if call.mask is None or len(call.mask) == 1 else rows(call.mask)
    if mask is not None and mask.shape[-2] > 1:
        mask = mask[..., queries, :]
    return replace(call, q=rows(call.q[:, queries]), k=rows(call.k), v=rows(call.v), mask=mask)


def mask_of_rows(mask: torch.Tensor | None, rows: int, like: torch.Tensor | None) -> torch.Tensor:
    """A mask, or None, as one that has `rows` rows, of the kind and with the keys of another."""
    if mask is None:
        shape = (rows, *like.shape[1:])
        return like.new_ones(shape) if like.dtype == torch.bool else like.new_zeros(shape)
    return mask.expand(rows, *mask.shape[1:])


def _of_rows(mask: torch.Tensor | None, rows: slice) -> torch.Tensor | None:
    return mask if mask is None or len(mask) == 1 else mask[rows]
