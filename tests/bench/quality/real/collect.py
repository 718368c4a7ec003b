"""Makes every edit of the drawn pictures, measures it, and writes it down."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from prompt_to_prompt.p2p_core.hosts.comfy import load_demo

from bench.judge.judge import Judge, load

from ..cases import Case
from ..results import read
from .drawings import drawing
from .measures import measure
from .methods import PictureMaker, Way, groups

TIMED = 6  # pairs of the table, one of each kind, that are sampled way by way
CEILINGS = ("the picture, through the VAE", "the drawn edit, through the VAE")


@torch.inference_mode()
def make(folder: Path, name: str, part: int, pairs: Sequence[tuple[Case, ...]], ways: dict[str, Way]) -> None:
    """Appends to `name`-`part`.jsonl what no file of that name has yet.

    Ways are sampled side by side where they can be, which is faster; of the table's first pairs one by one, which
    tells their times.
    """
    done = {(row["edit"], row["method"]) for row in read(folder, name)}
    judge, maker, began = load(), PictureMaker(*load_demo()), time.monotonic()
    with (folder / f"{name}-{part}.jsonl").open("a") as file:
        for number, cases in enumerate(pairs, 1):
            missing = {m: way for m, way in ways.items() if any((case.name, m) not in done for case in cases)}
            if missing:
                timed = name != "curves" and number <= TIMED
                lots = [{m: way} for m, way in missing.items()] if timed else groups(missing)
                with_ceilings = (cases[0].name, CEILINGS[0]) not in done
                file.writelines(
                    json.dumps(row) + "\n" for row in _made(maker, judge, cases, lots, with_ceilings, timed)
                )
                file.flush()
                print(f"{number}/{len(pairs)}  {time.monotonic() - began:5.0f} s  {cases[0].name}", flush=True)


def _made(
    maker: PictureMaker, judge: Judge, cases: Sequence[Case], lots: list[dict], with_ceilings: bool, timed: bool
) -> list[dict]:
    drawn = [drawing(case) for case in cases]
    latents = maker.encoded(torch.stack([one.picture for one in drawn]))
    decoded = maker.decoded(latents)
    rows = []

    def note(method: str, pictures: torch.Tensor, **more) -> None:
        for case, one, through_vae, picture in zip(cases, drawn, decoded, pictures, strict=True):
            measured = measure(judge, case, one, through_vae, picture)
            rows.append({"edit": case.name, "kind": case.kind, "method": method, **measured, **more})

    if with_ceilings:
        true = maker.decoded(maker.encoded(torch.stack([one.edit for one in drawn])))
        for method, pictures in zip(CEILINGS, (decoded, true)):
            note(method, pictures)
    for lot in lots:
        began = time.process_time()
        source, edited = maker.made(cases, latents, list(lot.values()))
        seconds = {"seconds": (time.process_time() - began) / len(cases)} if timed else {}
        off = float((source - latents).abs().max())
        for method, own in zip(lot, edited, strict=True):
            note(method, maker.decoded(own), off=off, **seconds)
    return rows
