"""What is tried on the demo transformer: ways to inject in joint attention, along their windows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from prompt_to_prompt.p2p_core.hosts.comfy import load_demo
from prompt_to_prompt.p2p_core.layers import parse_blocks

from . import collect
from .cases import Case
from .contenders import Method
from .methods import Maker, Sampling, setting

WINDOWS = (0.2, 0.4, 0.6, 0.8, 1.0)
MIDDLE = parse_blocks("single:0-3")  # blocks 13 to 44 of Flux's 57, as a share of the demo's 8


def maker() -> Maker:
    return Maker(*load_demo("transformer"), Sampling(25, 4.0, "euler", "simple"))


def make(folder: Path, name: str, part: int, cases: Sequence[Case], methods: dict[str, Method]) -> None:
    """See collect.make. Cases come seed by seed, so that there are some of all kinds wherever it is cut."""
    collect.make(folder, name, part, sorted(cases, key=lambda case: case.seed), methods, maker())


layout = partial(setting, 0.0, self_mode="layout")
"""Shin et al. 2025, with their window at 0.2."""
whole_map = partial(setting, self_mode="map")
reflex = partial(setting, 0.4, 0.25, self_mode="map", mode="refine", new_words=4.0)
"""ReFlex (Kim et al. 2025): windows of the words and of the image, words that the source lacks four times as strong."""

# Each a curve: its name, and settings from the weakest to the strongest.
CURVES: dict[str, dict[str, Method]] = {
    "prompt alone": {"": Maker.no_injection},
    "layout": {f"{end}": layout(end) for end in WINDOWS},
    "map": {f"{end}": whole_map(end, end) for end in (0.4, 0.6, 0.8)},
    "words alone": {"0.8": whole_map(0.8, 0.0)},
    "structure alone": {"0.8": whole_map(0.0, 0.8)},
}

METHODS: dict[str, Method] = {}
