"""A data set of edit pairs from the command line:

    python -m p2p_core pairs captions.jsonl -o pairs --model stable-diffusion-v1-5 --clip clip-vit-large-patch14

Without an input it makes pairs of the demo world with the demo model. Begun again with the same options it goes on
where it was. `--help` shows everything.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from ..errors import EditError
from .again import redraw
from .arguments import order_of, parser
from .captions import demo_lines
from .plan import Task, tasks
from .progress import Progress
from .reading import Lines, Reject, read_lines, requests
from .report import finish
from .request import Request
from .shards import Shards, said_where_full, whole
from .tally import Tally
from .task import Done, Order, Worker, score_names


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        if options.again:
            return redraw(Path(options.again[0]), options.again[1], options.output)
        make(options)
    except (EditError, ImportError) as error:
        print(f"prompt-to-prompt pairs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from the last whole shard.", file=sys.stderr)
        return 130
    return 0


def make(options: argparse.Namespace) -> None:
    order = order_of(options)
    scores = score_names(order)
    folder = options.output
    same_settings(folder, order, options)
    shards = Shards(folder, options.format, options.shard, scores)
    before = list(shards.done())
    tally = Tally()
    for one in before:
        tally.add(one)
    lines = read_lines(options.input) if options.input else demo_lines(options.demo_pairs, order.draws.seed)
    lines, total = counted(lines, options.input)
    progress = Progress(total and total * order.draws.samples, tally)
    progress.begin(tally.drawn.total())
    if not order.clip and not order.filters:
        progress.say("There is no --clip and no --filter: pairs are kept unfiltered, but for broken pictures.")
    with said_where_full(folder), Rejects(folder / "rejects.jsonl") as rejects:
        for reject in tally.rejects:
            rejects.add(reject)
            progress.rejected(order.draws.samples)
        asked = rejects.without(requests(lines, progress.say), partial(progress.rejected, order.draws.samples))
        planned = (task for task in tasks(asked) if not shards.is_done(task))
        for done in outcomes(order, planned, options, progress):
            tally.add(done.tally)
            for reject in done.tally.rejects:
                rejects.add(reject)
                progress.rejected(order.draws.samples)
            shards.add(done)
        shards.finish()
    progress.close()
    with said_where_full(folder):
        finish(folder, order, tally, rejects.count, options.format, scores)


def outcomes(order: Order, planned: Iterator[Task], options: argparse.Namespace, progress: Progress) -> Iterator[Done]:
    """Each task's outcome, of this process or of Ray's workers."""
    first = next(planned, None)
    if first is None:  # no model is loaded where nothing is left to do
        return
    planned = chain([first], planned)
    if options.workers is None:
        worker = Worker(order)
        for task in planned:
            yield worker(task, progress.drew)
        return
    from .cluster import on_ray

    gpus = options.gpus if options.gpus is not None else float(order.settings.device.startswith("cuda"))
    for done in on_ray(order, planned, options.workers, options.address, gpus):
        progress.drew(done.tally.drawn.total())
        yield done


def counted(lines: Lines, path: str | None) -> tuple[Lines, int | None]:
    """The lines and how many there are; None for standard input, which is not waited for."""
    if path == "-":
        return lines, None
    known = list(lines)
    return iter(known), len(known)


class Rejects:
    """The file of lines that make no pair. Each run writes it anew: what is rejected follows from the input."""

    def __init__(self, path: Path):
        self.path, self.count = path, 0

    def __enter__(self) -> Rejects:
        self._file = self.path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *error) -> None:
        self._file.close()

    def add(self, reject: Reject) -> None:
        self.count += 1
        self._file.write(json.dumps(asdict(reject), ensure_ascii=False) + "\n")
        self._file.flush()

    def without(
        self, found: Iterable[tuple[int, Request | Reject]], rejected: Callable[[], None]
    ) -> Iterator[tuple[int, Request]]:
        for line, one in found:
            if isinstance(one, Reject):
                self.add(one)
                rejected()
            else:
                yield line, one


def same_settings(folder: Path, order: Order, options: argparse.Namespace) -> None:
    """Write down what a data set is made with; refuse to go on with one that was made otherwise."""
    chosen = json.loads(json.dumps(asdict(order))) | {"format": options.format, "shard": options.shard}
    told = {"torch": torch.__version__, "order": chosen}
    file = folder / "settings.json"
    if not file.exists():
        with said_where_full(folder):
            folder.mkdir(parents=True, exist_ok=True)
            whole(file, partial(_write_json, told))
        return
    before = json.loads(file.read_text(encoding="utf-8"))["order"]
    differing = sorted(_leaves(before).items() ^ _leaves(chosen).items())
    if differing:
        names = ", ".join(dict.fromkeys(name for name, _ in differing))
        raise EditError(
            "output",
            f"{folder} holds pairs that were made with other settings: {names}.",
            "Use the settings that it was begun with, which are in settings.json, or another folder.",
        )


def _leaves(value, name: str = "") -> dict[str, str]:
    """The last names of nested settings, with what they say."""
    if isinstance(value, dict):
        return {leaf: said for key, inner in value.items() for leaf, said in _leaves(inner, key).items()}
    return {name: json.dumps(value)}


def _write_json(told: dict, file) -> None:
    file.write((json.dumps(told, indent=2) + os.linesep).encode())
