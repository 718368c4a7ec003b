"""What is tried: the methods of the table, and settings along whose windows the curves are drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from prompt_to_prompt.p2p_core.layers import parse_blocks

from .cases import Case
from .methods import Maker, Setting, setting

Method = Callable[[Maker, Case], torch.Tensor]
"""A Setting of the pack's nodes, or a function of its own."""


def switched(at: float) -> Method:
    return partial(Maker.scheduled, switch=at)


METHODS: dict[str, Method] = {
    "defaults": Setting(),
    # What the curves suggest, the whole cross window and a local blend; colours by default (README.md says why).
    "tuned": setting(1.0, 0.4, blend=0.3, colours=Setting()),
    "no injection": Maker.no_injection,
    "the paper": Maker.hertz,
    "CrossAttentionControl": Maker.cross_attention_control,
    "[a:b:0.3]": switched(0.3),
}

WITHOUT_SOURCE = {"no injection", "CrossAttentionControl", "[a:b:0.3]"}  # which don't make its picture on the way

# Each a curve: its name, and settings from the weakest to the strongest.
CURVES: dict[str, dict[str, Method]] = {
    "no injection": {"": Maker.no_injection},
    "cross": {f"{end}": setting(end) for end in (0.0, 0.4, 0.8, 1.0)},
    "self": {f"{end}": setting(0.8, end) for end in (0.0, 0.2, 0.6, 0.8)},
    "both": {f"{end}": setting(end, end) for end in (0.1, 0.2, 0.3, 0.5)},
    "both, falling": {f"{end}": setting(end, end, ramp="linear") for end in (0.4, 0.6, 0.8, 1.0)},
    "self, all layers": {f"{end}": setting(0.8, end, self_layers="all") for end in (0.1, 0.2, 0.4)},
    "keys and values": {f"{end}": setting(0.8, end, self_layers="all", self_mode="key_value") for end in (0.2, 0.4)},
    "output": {"0.2": setting(0.8, 0.2, self_mode="output")},
    "self and blend": {f"{end}": setting(0.8, end, blend=0.3) for end in (0.0, 0.2, 0.4)},
    "cross 1.0, self and blend": {f"{end}": setting(1.0, end, blend=0.3) for end in (0.0, 0.2, 0.4)},
    "cross 1.0, blend above": {f"{above}": setting(1.0, 0.4, blend=above) for above in (0.5, 0.7)},
    "both and blend": {f"{end}": setting(end, end, blend=0.3) for end in (0.1, 0.2, 0.3)},
    "blocks": {
        blocks: setting(blocks=parse_blocks(blocks))
        for blocks in ("input", "input, middle", "middle, output", "output")
    },
    "refine": {"0.4": setting(mode="refine")},
    "shared": {f"{end}": setting(end, end, trajectory="shared", mode="sequence") for end in (0.2, 0.4)},
    "[a:b:step]": {f"{at}": switched(at) for at in (0.1, 0.2, 0.3, 0.4, 0.6)},
}
