"""Which pairs are worth keeping: broken ones are dropped by name, the best of each request are kept."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ..errors import EditError
from .plan import Sample

NOT_BEST = "not of the best"
"""How the names begin of pairs that no filter dropped, and that are not kept all the same."""


@dataclass(frozen=True)
class Drawn:
    """A sample's two pictures, [height, width, 3] bytes, and what was found of them.

    Attributes:
        rows: pictures in its batch; see `again`.
        dropped: the name of why it is not kept; empty while it is.
    """

    sample: Sample
    source: np.ndarray
    edited: np.ndarray
    rows: int
    scores: dict[str, float] = field(default_factory=dict)
    dropped: str = ""


@dataclass(frozen=True)
class Verdict:
    """A filter's on one pair: its scores in [-1, 1], and the name of why to drop it, or nothing."""

    scores: dict[str, float]
    dropped: str = ""


class Filter(Protocol):
    """Anything that judges pairs; one of your own is named as module:name.

    Attributes:
        scores: names of all scores it gives.
        ranks_by: the score that the best are chosen by; empty where it knows of none.
    """

    scores: tuple[str, ...]
    ranks_by: str

    def __call__(self, drawn: Sequence[Drawn]) -> list[Verdict]: ...


class Broken:
    """Drops what is broken whatever the captions say.

    black: hardly any light in one of the pictures, as where half precision overflowed. clipped: most of its values are
    at an end of the range. flat: one colour all over. identical: nothing changed.
    """

    scores = ("difference",)
    ranks_by = ""

    def __call__(self, drawn: Sequence[Drawn]) -> list[Verdict]:
        return [self._verdict(pair.source, pair.edited) for pair in drawn]

    def _verdict(self, source: np.ndarray, edited: np.ndarray) -> Verdict:
        difference = float(np.abs(source.astype(np.int16) - edited).mean() / 255)
        wrong = next((name for name in map(_wrong, (source, edited)) if name), "")
        if not wrong and difference < 0.5 / 255:
            wrong = "identical"
        return Verdict({"difference": round(difference, 5)}, wrong)


def _wrong(picture: np.ndarray) -> str:
    if np.percentile(picture, 99) < 16:
        return "black"
    if picture.std((0, 1)).max() < 2:
        return "flat"
    return "clipped" if ((picture <= 1) | (picture >= 254)).mean() > 0.6 else ""


def own_filter(name: str) -> Filter:
    """The filter of a user's own, such as my_filters:sharp; a class is called for one first.

    Raises:
        EditError: there is none of that name, or it does not say what it gives.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise EditError("filter", f"there is no {name} ({error}).", "Name it as module:name.") from error
    found = found() if isinstance(found, type) else found
    if not callable(found) or not hasattr(found, "scores") or not hasattr(found, "ranks_by"):
        raise EditError("filter", f"{name} is no filter.", "It needs scores, ranks_by and a call; see Filter.")
    return found


def filtered(drawn: Sequence[Drawn], filters: Sequence[Filter], keep: int) -> list[Drawn]:
    """All pairs in their order with scores and verdicts; a filter does not see what one before it dropped.

    Args:
        keep: how many of each request's are kept: the best by the last filter that ranks. All where none does.
    """
    found = list(drawn)
    for judge in filters:
        left = [i for i, pair in enumerate(found) if not pair.dropped]
        verdicts = judge([found[i] for i in left]) if left else []
        for i, verdict in zip(left, verdicts):
            found[i] = replace(found[i], scores=found[i].scores | verdict.scores, dropped=verdict.dropped)
    ranks_by = next((judge.ranks_by for judge in reversed(filters) if judge.ranks_by), "")
    return _best(found, ranks_by, keep) if ranks_by else found


def _best(found: list[Drawn], ranks_by: str, keep: int) -> list[Drawn]:
    places: dict[str, list[int]] = defaultdict(list)
    for i, pair in enumerate(found):
        if not pair.dropped:
            places[pair.sample.request.name].append(i)
    for own in places.values():
        own.sort(key=lambda i: (-found[i].scores.get(ranks_by, 0.0), found[i].sample.number))
        for i in own[keep:]:
            found[i] = replace(found[i], dropped=f"{NOT_BEST} {keep}")
    return found
