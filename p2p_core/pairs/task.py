"""A few pairs of captions from request to rows: what a worker does, in this process or in another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..errors import EditError
from .clip import Clip, Thresholds
from .drawing import Painter, Settings
from .filtering import Broken, Drawn, Filter, filtered, own_filter
from .plan import Draws, Sample, Task, batches, filled, samples
from .reading import Reject
from .rows import Row, row
from .tally import Tally


@dataclass(frozen=True)
class Order:
    """All that is the same for every pair of a data set.

    Attributes:
        rows: pictures in a batch, sources among them.
        clip: a folder; empty is no CLIP.
        filters: filters of one's own, as module:name.
        keep: of each pair of captions, where a filter ranks them.
    """

    settings: Settings = Settings()
    draws: Draws = Draws()
    rows: int = 16
    clip: str = ""
    thresholds: Thresholds = Thresholds()
    filters: tuple[str, ...] = ()
    keep: int = 4


@dataclass
class Done:
    """What came of a task."""

    number: int
    name: str
    rows: list[Row] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


def make_filters(order: Order) -> list[Filter]:
    clip = [Clip(order.clip, order.thresholds, order.settings.device)] if order.clip else []
    return [Broken(), *clip, *map(own_filter, order.filters)]


def score_names(order: Order) -> tuple[str, ...]:
    """The scores that pairs will have, without loading what gives them."""
    own = (name for filter in order.filters for name in own_filter(filter).scores)
    return (*Broken.scores, *(Clip.scores if order.clip else ()), *own)


class Worker:
    """Holds the model and the filters; does one task after another."""

    def __init__(self, order: Order):
        self.order = order
        self.filters = make_filters(order)
        self.painter = Painter(order.settings)

    def __call__(self, task: Task, drew: Callable[[int], None] = lambda count: None) -> Done:
        """A task's rows in the order of its lines and samples.

        Args:
            drew: told after each batch how many samples it had.
        """
        lines, rejects, chosen = {}, [], []
        for line, request in task.requests:
            try:
                own = samples(request, self.order.draws)
                self.painter.sampled(own[:1])
            except EditError as error:
                rejects.append(Reject.of(line, error))
                continue
            lines[request.name] = line
            chosen += own
        drawn = []
        for batch in batches(chosen, self.order.rows):
            drawn += self._draw(batch)
            drew(sum(map(len, batch)))
        drawn.sort(key=lambda pair: (lines[pair.sample.request.name], pair.sample.number))
        found = filtered(drawn, self.filters, self.order.keep)
        rows = [row(pair, lines[pair.sample.request.name], self.painter.settings) for pair in found if not pair.dropped]
        return Done(task.number, task.name, rows, Tally.of(found, rejects))

    def _draw(self, batch: Sequence[Sequence[Sample]]) -> list[Drawn]:
        pictures = zip(batch, self.painter.draw(batch))
        return [
            Drawn(sample, source, edited, filled(batch))
            for group, (source, *edits) in pictures
            for sample, edited in zip(group, edits)
        ]
