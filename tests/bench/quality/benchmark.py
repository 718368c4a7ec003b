"""Does the edit do what the words say, and leave the rest alone?

    make edits                                       every method of the table on 320 edits: an hour on one core
    make edits ARGS="--curves --per-kind 10"         success against preservation, as windows vary
    make edits ARGS="--part 1/2"                     half of them, for one of two processes; killed, it goes on
    make edits ARGS="--real"                         both, of drawn pictures instead, whose true edit is known (real/)
    make edits ARGS="--transformer"                  both, of the demo transformer (transformer.py)
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
    parser.add_argument("--real", action="store_true", help="edits of pictures that are given")
    parser.add_argument("--transformer", action="store_true", help="edits by the demo transformer")
    parser.add_argument("--part", default="1/1", help="i/n: every n-th edit, from the i-th")
    parser.add_argument("--report", action="store_true", help="make nothing new")
    parser.add_argument("--folder", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    folder = given.folder / ("real" if given.real else "transformer" if given.transformer else "")
    folder.mkdir(parents=True, exist_ok=True)
    inside_comfyui.put_comfyui_first()
    from comfy.cli_args import args

    args.use_pytorch_cross_attention = True
    inside_comfyui.load_pack(bootstrap.CHECKOUT)
    if given.real:
        from bench.quality.real.collect import make
        from bench.quality.real.contenders import CURVES, METHODS
        from bench.quality.real.drawings import drawable as cases
        from bench.quality.real.report import report
    elif given.transformer:
        from bench.quality.cases import cases
        from bench.quality.transformer import CURVES, METHODS, make, report
    else:
        from bench.quality.cases import cases
        from bench.quality.collect import make
        from bench.quality.contenders import CURVES, METHODS
        from bench.quality.report import report

    part, parts = map(int, given.part.split("/"))
    if given.curves:
        name, wanted = "curves", cases(given.per_kind, first=OTHERS)
        methods = {f"{curve} {end}".strip(): how for curve, of in CURVES.items() for end, how in of.items()}
    else:
        name, wanted, methods = "methods", cases(given.per_kind), METHODS
    if not given.report:
        make(folder, name, part, wanted[part - 1 :: parts], methods)
    report(folder)


if __name__ == "__main__":
    main()
