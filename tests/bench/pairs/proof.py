"""Is a data set of pairs worth training on, and is its filter?

    python -m p2p_core pairs -o all --demo_pairs 1100 --samples 3 --steps 14
    python -m tests.bench.pairs.proof all --steps 1600 --batch 16 --json proof.json --sheet proof.png

Trains a small InstructPix2Pix (editor.py) on as many pairs of all, and of those that the judge accepts. Then both edit
pictures that the demo model drew, by instructions for captions that no training pair has, and the judge reads the
results. Started again, it goes on where it was. Everything random has a seed.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import textwrap
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageDraw

from p2p_core.demo.modules import generate, load
from p2p_core.demo.scenes import parse
from p2p_core.pairs.captions import demo_lines
from p2p_core.pairs.instructions import instruct

from ..judge import judge
from ..judge.pairs import verdict
from .editor import edit, tokens, train

SETS = ("all pairs", "accepted pairs")
OUTCOMES = {"": "followed, all else kept", "judge: more has changed": "followed, more has changed"}


def examples(folder: Path) -> list[dict]:
    """The rows of a data set's shards, with pictures [128, 128, 3] of bytes."""
    rows = []
    for shard in sorted((folder / "data").glob("*.parquet")):
        for row in pq.read_table(shard).to_pylist():
            for name in ("input_image", "edited_image"):
                row[name] = np.asarray(Image.open(io.BytesIO(row[name]["bytes"])).convert("RGB"))
            rows.append(row)
    return rows


def _tensor(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255


@torch.no_grad()
def _in_lots(function, pictures: torch.Tensor, lot: int = 32) -> list:
    return [function(part) for part in pictures.split(lot)]


def data_of(rows: list[dict], vae) -> dict[str, torch.Tensor]:
    """What an editor is trained on; see `train`."""

    def latents(name: str) -> torch.Tensor:
        pictures = _tensor([row[name] for row in rows]) * 2 - 1
        return torch.cat(_in_lots(lambda x: vae.encode(x).latents.half(), pictures))

    instructions = torch.tensor([tokens(row["edit_prompt"]) for row in rows])
    return {"source": latents("input_image"), "edited": latents("edited_image"), "tokens": instructions}


def accepted(rows: list[dict]) -> list[dict]:
    """Those of which the judge says what the filter `Follows` keeps."""
    reader = judge.load()

    def seen(name: str) -> list:
        pictures = _tensor([row[name] for row in rows])
        return [one for lot in _in_lots(lambda x: judge.read(reader, x), pictures) for one in lot]

    before, after = seen("input_image"), seen("edited_image")
    return [row for row, b, a in zip(rows, before, after) if not verdict(row["source"], row["edit"], b, a)[1]]


def tasks(count: int, known: set[str]) -> list[tuple[dict, torch.Tensor, int]]:
    """`count` lines of captions that are not known, each with a picture of its source that the judge reads right."""
    unet, text, vae = load()
    reader, chosen = judge.load(), []
    for number, line in demo_lines(10 * count, seed=1):
        if line["source"] in known or len(chosen) == count:
            continue
        picture = generate(unet, text, vae, [line["source"]], [number], steps=20, cfg=4.0)
        if all(judge.marks(parse(line["source"]), judge.read(reader, picture)[0]).values()):
            chosen.append((line, picture, number))
    return chosen


def judged(edited: torch.Tensor, chosen: list) -> list[str]:
    """Of each edited picture the verdict's name."""
    reader = judge.load()
    before = judge.read(reader, torch.cat([picture for _, picture, _ in chosen]))
    after = judge.read(reader, edited)
    return [verdict(line["source"], line["edit"], b, a)[1] for (line, _, _), b, a in zip(chosen, before, after)]


def report(found: list[str], chosen: list, edited: torch.Tensor) -> dict:
    """Shares of outcomes, shares followed by kind, and how near to the picture the edited ones are."""
    kinds = defaultdict(list)
    for name, (line, _, _) in zip(found, chosen):
        kinds[line["kind"]].append(name in OUTCOMES)
    pictures = torch.cat([picture for _, picture, _ in chosen])
    psnr = -10 * (edited - pictures).square().mean((1, 2, 3)).log10()
    return {
        "followed": round(float(np.mean([name in OUTCOMES for name in found])), 3),
        "followed, all else kept": round(float(np.mean([name == "" for name in found])), 3),
        "PSNR to the picture": round(float(psnr.mean()), 1),
        "followed by kind": {kind: round(float(np.mean(values)), 2) for kind, values in kinds.items()},
    }


def sheet(chosen: list, results: dict[str, torch.Tensor], columns: int = 6) -> Image.Image:
    """A row for the pictures and for what each editor made of them, under their instructions; one of a kind each."""
    of_kind = {line["kind"]: i for i, (line, _, _) in reversed(list(enumerate(chosen)))}
    page = Image.new("RGB", (columns * 136, (len(results) + 1) * 132 + 36), "white")
    pen = ImageDraw.Draw(page)
    for column, i in enumerate(sorted(of_kind.values())[:columns]):
        line, picture, _ = chosen[i]
        words = textwrap.fill(instruct(line["source"], line["edit"]).text, 22)
        pen.text((column * 136 + 4, 4), words, fill="black")
        for j, one in enumerate([picture[0], *(edited[i] for edited in results.values())]):
            bytes_ = (one.movedim(0, -1) * 255).round().byte().numpy()
            page.paste(Image.fromarray(bytes_), (column * 136 + 4, 36 + j * 132))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a data set, unfiltered")
    parser.add_argument("--pairs", type=int, default=2000, help="that each editor is trained on")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--tasks", type=int, default=200, help="that each editor is judged by")
    parser.add_argument("--only", choices=SETS, help="train this one and stop")
    parser.add_argument("--training", type=Path, default=Path("proof"), help="checkpoints")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.training.mkdir(parents=True, exist_ok=True)
    rows, vae = examples(options.folder), load()[2]
    sets = dict(zip(SETS, (rows, accepted(rows))))
    for name, chosen in sets.items():
        random.Random(0).shuffle(chosen)
        print(f"{name}: {len(chosen)}, of which {min(options.pairs, len(chosen))} are taken", flush=True)
    known = {row["source"] for row in rows}
    editors = {}
    for name in [options.only] if options.only else SETS:
        data = data_of(sets[name][: options.pairs], vae)
        how = {"steps": options.steps, "batch": options.batch, "lr": options.lr, "folder": options.training}
        editors[name] = train(name.split()[0], data, **how)
    if options.only:
        return
    chosen = tasks(options.tasks, known)
    latents = torch.cat(_in_lots(lambda x: vae.encode(x * 2 - 1).latents, torch.cat([p for _, p, _ in chosen])))
    instructions = [instruct(line["source"], line["edit"]).text for line, _, _ in chosen]
    results, found = {}, {}
    for name, editor in editors.items():
        made = []
        for first in range(0, len(chosen), 20):
            lot = slice(first, first + 20)
            made.append(edit(editor, latents[lot], instructions[lot], [seed for _, _, seed in chosen[lot]]))
        decoded = _in_lots(lambda x: vae.decode(x).sample.div(2).add(0.5).clamp(0, 1), torch.cat(made))
        results[name] = torch.cat(decoded)
        found[name] = report(judged(results[name], chosen), chosen, results[name])
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.sheet:
        sheet(chosen, results).save(options.sheet)


if __name__ == "__main__":
    main()
