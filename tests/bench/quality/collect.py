"""Makes every edit by every method, measures it, and writes it down."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from prompt_to_prompt.p2p_core.hosts.comfy import load_demo

from bench.judge.judge import Judge, load

from .cases import Case
from .contenders import WITHOUT_SOURCE, Method
from .measures import measure
from .methods import Maker, Setting
from .results import read


@torch.inference_mode()
def make(
    folder: Path,
    name: str,
    part: int,
    cases: Sequence[Case],
    methods: dict[str, Method],
    maker: Maker | None = None,
) -> None:
    """Appends to `name`-`part`.jsonl what no file of that name has yet.

    Settings of the pack are sampled side by side, which is faster, if `name` is "curves" or the maker is given; else
    one by one, which tells their times.

    Args:
        maker: of the demo's UNet by itself.
    """
    done = {(row["edit"], row["method"]) for row in read(folder, name)}
    judge, began = load(), time.monotonic()
    side_by_side, maker = name == "curves" or maker is not None, maker or Maker(*load_demo())
    with (folder / f"{name}-{part}.jsonl").open("a") as file:
        for number, case in enumerate(cases, 1):
            missing = {m: how for m, how in methods.items() if (case.name, m) not in done}
            if missing:
                made = _made(maker, judge, case, missing, side_by_side)
                file.writelines(json.dumps(row) + "\n" for row in made)
                file.flush()
                print(f"{number}/{len(cases)}  {time.monotonic() - began:5.0f} s  {case.name}", flush=True)


def _made(maker: Maker, judge: Judge, case: Case, methods: dict[str, Method], side_by_side: bool) -> list[dict]:
    pictures: dict[str, torch.Tensor] = {}
    seconds: dict[str, dict] = {}
    settings = {name: method for name, method in methods.items() if isinstance(method, Setting)}
    if side_by_side and settings:
        (source, made), of_source = maker.with_source(case, list(settings.values())), 0.0
        pictures = dict(zip(settings, made))
    else:
        source, of_source = _timed(maker.source, case)
    for name, method in methods.items():
        if name not in pictures:
            pictures[name], spent = _timed(method, maker, case)
            seconds[name] = {"seconds": spent + (of_source if name in WITHOUT_SOURCE else 0)}
    about = {"edit": case.name, "kind": case.kind}
    return [{**about, "method": m, **measure(judge, case, source, pictures[m]), **seconds.get(m, {})} for m in methods]


def _timed(make, *given):
    """What is made, and the seconds of this process that it took."""
    began = time.process_time()
    return make(*given), time.process_time() - began
