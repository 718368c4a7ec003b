"""What is tried on the demo transformer: ways to inject in joint attention, along their windows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from prompt_to_prompt.p2p_core.hosts.comfy import load_demo
from reference import hertz, joint_rules

from . import collect
from .cases import Case
from .contenders import Method
from .methods import Maker, Sampling, setting
from .report import COLUMNS, plot, summed_up, table
from .results import read

WINDOWS = (0.2, 0.4, 0.6, 0.8, 1.0)


def maker() -> Maker:
    return Maker(*load_demo("transformer"), Sampling(25, 4.0, "euler", "simple"))


def make(folder: Path, name: str, part: int, cases: Sequence[Case], methods: dict[str, Method]) -> None:
    """See collect.make. Cases come seed by seed, so that there are some of all kinds wherever it is cut."""
    collect.make(folder, name, part, sorted(cases, key=lambda case: case.seed), methods, maker())


layout = partial(setting, 0.0, self_mode="layout")
"""Shin et al. 2025, with their window at 0.2."""
whole_map = partial(setting, self_mode="map")

# Each a curve: its name, and settings from the weakest to the strongest.
CURVES: dict[str, dict[str, Method]] = {
    "prompt alone": {"": Maker.no_injection},
    "layout": {f"{end}": layout(end) for end in WINDOWS},
    "map": {f"{end}": whole_map(end, end) for end in (0.4, 0.6, 0.8)},
    "words alone": {"0.8": whole_map(0.8, 0.0)},
    "structure alone": {"0.8": whole_map(0.0, 0.8)},
}


def shin(maker: Maker, case: Case) -> torch.Tensor:
    return maker.by_rule(case, joint_rules.Shin(maker.sampling.steps))


def reflex(maker: Maker, case: Case, refilled: int) -> torch.Tensor:
    """Blocks and windows in proportion to those of the paper's code; of 8 blocks and 25 steps here."""
    steps, tokens = maker.sampling.steps, maker.token_ids
    mapper, alphas = hertz.refinement_mapper(case.source.caption, case.edit.caption, tokens)
    windows = {"word_steps": round(10 / 28 * steps), "place_steps": round(7 / 28 * steps)}
    blocks = {"word_blocks": range(2, 7), "place_blocks": range(3, 7)}
    return maker.by_rule(case, joint_rules.Reflex(mapper, alphas, **windows, **blocks, refilled=refilled))


METHODS: dict[str, Method] = {
    "prompt alone": Maker.no_injection,
    "Shin": shin,
    "ReFlex": partial(reflex, refilled=1),
    "ReFlex, 20 refilled": partial(reflex, refilled=20),
    "layout 0.2": layout(0.2),
    "layout 0.4": layout(0.4),
    "layout 0.6 and blend, colours 0.4": layout(0.6, blend=0.3, colours=layout(0.4, blend=0.3)),
}


def report(folder: Path) -> None:
    """Prints the tables, writes transformer.json and, of curves, transformer.png into `folder`."""
    columns = {name: head for name, head in COLUMNS.items() if name != "seconds"}
    tried = {"methods": METHODS, "curves": [f"{c} {end}".strip() for c, ends in CURVES.items() for end in ends]}
    summary = {}
    for name, known in tried.items():
        summary[name] = summed_up([row for row in read(folder, name) if row["method"] in known], columns)
        for kind, methods in summary[name].items():
            print(f"\n{name}, {kind}: {next(iter(methods.values()))['edits']} edits")
            print(table(methods, columns))
    (folder / "transformer.json").write_text(json.dumps(summary, indent=1) + "\n")
    if summary["curves"]:
        plot(summary["curves"]["all"], folder / "transformer.png", CURVES)
