"""Does the edit do what the words say, and leave the rest alone?

    make edits                                       every method of the table on 320 edits: an hour on one core
    make edits ARGS="--curves --per-kind 10"         success against preservation, as windows vary
    make edits ARGS="--part 1/2"                     half of them, for one of two processes; killed, it goes on
    make edits ARGS="--transformer --curves"         the demo transformer
    make edits ARGS="--report"                       the table and the plot of what has been made

Edits are pairs of captions of the demo world, so the judge (tests/bench/judge) knows what should be seen. Pictures are
made with 30 steps and cfg 5. Appends to results/*.jsonl a line an edit and method, writes results/edits.json and
prints a table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import bootstrap

from support import inside_comfyui

RESULTS = Path(__file__).with_name("results")
OTHERS = 10**4  # captions for the curves, so that what is chosen by them is tried on fresh ones


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-kind", type=int, default=40, help="edits of each of the eight kinds")
    parser.add_argument("--curves", action="store_true", help="settings along their windows, on other captions")
    parser.add_argument("--transformer", action="store_true", help="the demo transformer, and settings for it")
    parser.add_argument("--part", default="1/1", help="i/n: every n-th edit, from the i-th")
    parser.add_argument("--report", action="store_true", help="make nothing new")
    parser.add_argument("--folder", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    given.folder.mkdir(parents=True, exist_ok=True)
    inside_comfyui.put_comfyui_first()
    from comfy.cli_args import args

    args.use_pytorch_cross_attention = True
    inside_comfyui.load_pack(bootstrap.CHECKOUT)
    from bench.quality import contenders, transformer
    from bench.quality.cases import cases
    from bench.quality.collect import make
    from bench.quality.report import report

    of = transformer if given.transformer else contenders
    part, parts = map(int, given.part.split("/"))
    name = ("transformer_" if given.transformer else "") + ("curves" if given.curves else "methods")
    methods, wanted = of.METHODS, cases(given.per_kind, first=OTHERS if given.curves else 0)
    if given.curves:
        methods = {f"{curve} {end}".strip(): how for curve, ends in of.CURVES.items() for end, how in ends.items()}
    if not given.report:
        wanted = sorted(wanted, key=lambda case: case.seed)[part - 1 :: parts]  # all kinds, wherever it is cut
        make(given.folder, name, part, wanted, methods, of.maker(), side_by_side=given.curves or given.transformer)
    report(given.folder)


if __name__ == "__main__":
    main()
