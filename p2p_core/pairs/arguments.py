"""The options of `python -m p2p_core pairs`. A file of them is given as @FILE: an option a line, # for remarks."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import torch

from ..errors import EditError
from ..schedule import SELF_LAYERS
from .clip import Thresholds
from .drawing import INJECTED, Settings
from .plan import Draws
from .shards import FORMS
from .task import Order


class _Parser(argparse.ArgumentParser):
    def convert_arg_line_to_args(self, line: str) -> list[str]:
        return shlex.split(line, comments=True)


def parser() -> argparse.ArgumentParser:
    parse = _Parser(
        "python -m p2p_core pairs",
        description="Make a data set of edit pairs from pairs of captions, as InstructPix2Pix was trained on.",
        epilog="@FILE reads options from a file, one a line.",
        fromfile_prefix_chars="@",
    )
    order, settings, draws, asked = Order(), Settings(), Draws(), Thresholds()
    add = parse.add_argument
    add("input", nargs="?", help=".jsonl, .csv or .parquet with source and edit, - for JSON lines from standard input; "
        "without it captions of the demo world")  # fmt: skip
    add("-o", "--output", type=Path, default=Path("pairs"), help="the data set's folder (pairs)")
    add("--demo_pairs", type=int, default=64, help="how many pairs of demo captions, without an input (64)")
    add(
        "--again", nargs=2, metavar=("SHARD", "ROW"), help="draw one row of a shard again from its columns, and compare"
    )

    group = parse.add_argument_group("what is drawn")
    group.add_argument(
        "--samples", type=int, default=draws.samples, help="of each pair of captions (8; the paper: 100)"
    )
    group.add_argument("--p", type=float, nargs=2, default=draws.p, metavar=("MIN", "MAX"),
                       help="the share of the steps with injection is drawn between these (0.1 0.9)")  # fmt: skip
    group.add_argument("--inject", choices=INJECTED, default=settings.inject, help="whose share p is (self)")
    group.add_argument("--self_layers", choices=tuple(SELF_LAYERS), default=settings.self_layers)
    group.add_argument("--seed", type=int, default=draws.seed, help="of the whole data set (0)")
    group.add_argument("--steps", type=int, default=settings.steps)
    group.add_argument("--cfg", type=float, help="by default 7.5, or 4 for the demo model")
    group.add_argument("--sampler_name", default=settings.sampler_name)
    group.add_argument("--scheduler", default=settings.scheduler)
    group.add_argument("--negative", default="")
    group.add_argument("--width", type=int, default=0, help="in pixels; by default the model's own")
    group.add_argument("--height", type=int, default=0)

    group = parse.add_argument_group("model")
    group.add_argument("--model", default="", help="a checkpoint or a diffusers folder; by default the demo model")
    cuda = torch.cuda.is_available()
    group.add_argument("--device", default="cuda" if cuda else "cpu")
    group.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float16" if cuda else "float32")
    group.add_argument("--compile", action="store_true", help="compile what lies between the attention layers")
    group.add_argument("--rows", type=int, default=order.rows, help="pictures in a batch, sources among them (16)")
    group.add_argument("--threads", type=int, default=settings.threads, help="of the processor, a worker (1)")

    group = parse.add_argument_group("what is kept")
    group.add_argument(
        "--clip", default="", help="a folder with a CLIP that transformers saved; none: nothing is scored"
    )
    group.add_argument("--clip_image", type=float, default=asked.image, help="of the two pictures, at least (0.75)")
    group.add_argument("--clip_caption", type=float, default=asked.caption, help="of picture and caption (0.2)")
    group.add_argument("--clip_direction", type=float, default=asked.direction, help="of the change (0.2)")
    group.add_argument("--filter", action="append", default=[], metavar="MODULE:NAME", help="one of your own")
    group.add_argument("--keep", type=int, default=order.keep, help="the best of each pair, where they are scored (4)")

    group = parse.add_argument_group("how it is written")
    group.add_argument("--format", choices=tuple(FORMS), default="parquet")
    group.add_argument("--shard", type=int, default=64, help="pairs of captions in a file (64)")

    group = parse.add_argument_group("who does it")
    group.add_argument("--workers", type=int, help="processes with a model each, by Ray; without it this process alone")
    group.add_argument("--address", default="", help="of a Ray cluster; needs --workers")
    group.add_argument(
        "--gpus", type=float, help="of a GPU for each worker; by default 1 with --device cuda, else none"
    )
    return parse


def order_of(options: argparse.Namespace) -> Order:
    """The options as a value.

    Raises:
        EditError: a number that makes no sense.
    """
    low, high = options.p
    if not 0 <= low <= high <= 1:
        raise EditError("p", f"{low:g} to {high:g} is no range of fractions.", "Such as --p 0.1 0.9.")
    for name, least in (("samples", 1), ("steps", 1), ("rows", 2), ("threads", 1), ("shard", 1), ("keep", 1)):
        if getattr(options, name) < least:
            raise EditError(name, f"{getattr(options, name)} is too small.", f"It is {least} at least.")
    if options.workers is not None and options.workers < 1:
        raise EditError("workers", f"{options.workers} is too small.", "It is 1 at least.")
    if options.address and options.workers is None:
        raise EditError("address", "it needs --workers.", "Say how many workers the cluster is to have.")
    same = ("model", "device", "dtype", "width", "height", "steps", "sampler_name", "scheduler", "negative", "inject")
    same += ("self_layers", "compile", "threads")
    cfg = options.cfg if options.cfg is not None else (7.5 if options.model else 4.0)
    return Order(
        settings=Settings(**{name: getattr(options, name) for name in same}, cfg=cfg),
        draws=Draws(options.samples, (low, high), options.seed),
        rows=options.rows,
        clip=options.clip,
        thresholds=Thresholds(options.clip_image, options.clip_caption, options.clip_direction),
        filters=tuple(options.filter),
        keep=options.keep,
    )
