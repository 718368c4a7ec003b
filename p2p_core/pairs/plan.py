"""Everything random about a pair, decided before anything is drawn, from the request and a sample's number alone.

So rows are the same whatever the number of workers, and whatever else is in the input. A few requests are a task, what
a worker draws at once; a few tasks are a shard, what is written as one file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice

from .request import Request

PAIRS_A_TASK = 8


@dataclass(frozen=True)
class Draws:
    """What is drawn for each request.

    Attributes:
        samples: pictures of it, each with its seed and its share of injected steps.
        p: that share is uniform between these two; InstructPix2Pix has 0.1 and 0.9 (section 3.1.2).
        seed: of the whole data set.
    """

    samples: int = 8
    p: tuple[float, float] = (0.1, 0.9)
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """One pair of pictures to draw. `p` is None where the request has windows of its own."""

    request: Request
    number: int
    seed: int
    p: float | None


@dataclass(frozen=True)
class Task:
    """Requests by their lines' numbers. `number` counts all tasks of the input from 0."""

    number: int
    requests: tuple[tuple[int, Request], ...]

    @property
    def name(self) -> str:
        """A digest of its requests."""
        names = "".join(request.name for _, request in self.requests)
        return hashlib.blake2b(names.encode(), digest_size=8).hexdigest()


def samples(request: Request, draws: Draws) -> list[Sample]:
    """A request's samples. Requests with one source caption have the same seeds, so that they share its pictures."""
    made = []
    for number in range(draws.samples):
        if request.seed is None:
            seed = int(2**63 * _uniform("seed", draws.seed, request.source, number))
        else:
            seed = (request.seed + number) % 2**63
        low, high = draws.p
        p = round(low + (high - low) * _uniform("p", draws.seed, request.source, request.edit, seed), 4)
        made.append(Sample(request, number, seed, None if request.windows else p))
    return made


def batches(chosen: Iterable[Sample], rows: int) -> Iterator[list[list[Sample]]]:
    """Samples in batches of at most `rows` pictures: lists of those that share their source's picture.

    Batches are filled across requests. A source's edits are drawn beside each other as far as they fit.
    """
    by_source = sorted(chosen, key=lambda sample: (sample.request.source, sample.seed))  # stable: else as they came
    batch: list[list[Sample]] = []
    left = rows
    for _, group in groupby(by_source, key=lambda sample: (sample.request.source, sample.seed)):
        group = list(group)
        while group:
            if left < 2:
                yield batch
                batch, left = [], rows
            fitting, group = group[: max(left - 1, 1)], group[max(left - 1, 1) :]
            batch.append(fitting)
            left -= 1 + len(fitting)
    if batch:
        yield batch


def tasks(requests: Iterable[tuple[int, Request]]) -> Iterator[Task]:
    """All requests in tasks of PAIRS_A_TASK, in their order."""
    left, number = iter(requests), 0
    while some := tuple(islice(left, PAIRS_A_TASK)):
        yield Task(number, some)
        number += 1


def _uniform(*what: object) -> float:
    """In [0, 1), by a digest of what it is for: the same on every machine."""
    text = "\n".join(map(str, what))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def filled(grouped: Sequence[Sequence[Sample]]) -> int:
    """The pictures of a batch, sources among them."""
    return sum(1 + len(group) for group in grouped)
