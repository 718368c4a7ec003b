"""What became of the samples, counted: what a report is made of, and what a finished shard leaves beside its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .filtering import NOT_BEST, Drawn
from .reading import Reject

BINS = 40
"""Of a histogram of scores, over [-1, 1]."""
KEPT, DROPPED = "kept", "dropped"


@dataclass
class Tally:
    """Counts; tallies add up.

    Attributes:
        pairs, drawn, kept: by kind: pairs of captions, samples drawn of them, samples kept.
        reasons: samples dropped, by kind and why.
        histograms: by score and by KEPT or DROPPED, BINS counts.
        rejects: lines that made no pair.
    """

    pairs: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    histograms: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)

    @classmethod
    def of(cls, found: Iterable[Drawn], rejects: Iterable[Reject] = ()) -> Tally:
        tally = cls(rejects=list(rejects))
        requests = {}
        for pair in found:
            request = pair.sample.request
            requests[request.name] = request.kind
            tally.drawn[request.kind] += 1
            if pair.dropped:
                tally.reasons[request.kind, pair.dropped] += 1
            else:
                tally.kept[request.kind] += 1
            for score, value in pair.scores.items():
                bins = tally.histograms.setdefault((score, DROPPED if pair.dropped else KEPT), [0] * BINS)
                bins[min(max(int((value + 1) / 2 * BINS), 0), BINS - 1)] += 1
        tally.pairs.update(requests.values())
        return tally

    def add(self, other: Tally) -> None:
        for name in ("pairs", "drawn", "kept", "reasons"):
            getattr(self, name).update(getattr(other, name))
        for name, bins in other.histograms.items():
            own = self.histograms.get(name, [0] * BINS)
            self.histograms[name] = [a + b for a, b in zip(own, bins)]
        self.rejects += other.rejects

    @property
    def passed(self) -> Counter[str]:
        """By kind: samples that no filter dropped; those that are kept, and those beyond the best."""
        spare = {of: count for of, count in self.reasons.items() if of[1].startswith(NOT_BEST)}
        passed = Counter(self.kept)
        for (kind, _), count in spare.items():
            passed[kind] += count
        return passed

    @property
    def acceptance(self) -> float:
        """The share of samples that no filter dropped; 0 before any."""
        return self.passed.total() / max(self.drawn.total(), 1)

    def as_json(self) -> dict[str, Any]:
        return {
            **{name: dict(sorted(getattr(self, name).items())) for name in ("pairs", "drawn", "kept")},
            "reasons": [[*of, count] for of, count in sorted(self.reasons.items())],
            "histograms": [[*of, bins] for of, bins in sorted(self.histograms.items())],
            "rejects": [[reject.line, reject.input, reject.reason] for reject in self.rejects],
        }

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Tally:
        return cls(
            *(Counter(given[name]) for name in ("pairs", "drawn", "kept")),
            Counter({(kind, reason): count for kind, reason, count in given["reasons"]}),
            {(score, fate): bins for score, fate, bins in given["histograms"]},
            [Reject(*reject) for reject in given["rejects"]],
        )
