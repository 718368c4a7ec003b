"""What a data set costs beyond its sampling calls:

    python -m tests.bench.pairs.overhead --pairs 16 --steps 20

Draws demo pairs by the same batches twice, in turns: the pipeline's bare call with the batch's prompts, without any
edit; and all that a worker does, the edits, filters, pictures as PNG and the shard. Prints a table in seconds of
processor time, of one thread, so that other programs do not matter much.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from p2p_core.hosts.diffusers.loading import generator
from p2p_core.pairs import together
from p2p_core.pairs.captions import demo_lines
from p2p_core.pairs.drawing import Settings
from p2p_core.pairs.plan import Draws, batches, samples, tasks
from p2p_core.pairs.reading import requests
from p2p_core.pairs.shards import Shards
from p2p_core.pairs.task import Order, Worker, score_names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rows", type=int, default=15)
    parser.add_argument("--filter", action="append", default=[])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings = Settings(steps=options.steps, cfg=4.0)
    draws = Draws(samples=options.samples)
    order = Order(settings, draws, options.rows, filters=tuple(options.filter))
    worker = Worker(order)
    spent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        shards = Shards(Path(folder), "parquet", options.pairs, score_names(order))
        for task in tasks(requests(demo_lines(options.pairs), print)):
            chosen = [sample for _, request in task.requests for sample in samples(request, draws)]
            for batch in batches(chosen, options.rows):
                _timed(spent, "bare sampling calls", bare, worker.painter, batch)
            done = _timed(spent, "edits, filters and rows", worker, task)
            _timed(spent, "shards", shards.add, done)
        _timed(spent, "shards", shards.finish)
    whole = spent["edits, filters and rows"] + spent["shards"]
    result = {
        **{name: round(seconds, 2) for name, seconds in spent.items()},
        "samples": options.pairs * options.samples,
        "steps": options.steps,
        "throughput against bare calls": round(spent["bare sampling calls"] / whole, 3),
    }
    for name, value in result.items():
        print(f"{name:<32}{value:>10}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


@torch.no_grad()
def bare(painter, batch) -> None:
    """The pipeline's own call for a batch's prompts, as many rows as the edits have."""
    settings = painter.settings
    prompts = together.Together(painter.pipe, [painter.sampled(group) for group in batch]).prompts
    seeds = [group[0].seed for group in batch for _ in range(1 + len(group))]
    painter.pipe(
        prompts,
        negative_prompt=[""] * len(prompts),
        num_inference_steps=settings.steps,
        guidance_scale=settings.cfg,
        generator=[generator(seed) for seed in seeds],
        output_type="np",
    )


def _timed(spent: Counter[str], name: str, does, *arguments):
    begun = time.process_time()
    result = does(*arguments)
    spent[name] += time.process_time() - begun
    return result


if __name__ == "__main__":
    main()
