"""How often a demo model draws what the caption says.

    python -m tests.bench.judge.evaluate [FILE] --prompts 125 --seeds 2

Draws fresh captions (never a training seed), makes each with several noise seeds, and lets the judge read the pictures.
Prints a JSON report: the share right by attribute, with "prompt" for subject, object, colour, relation and place all
right, and "everything" for those, smile and hat. --sheet keeps the pictures, wrong ones framed in red.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from p2p_core.demo import layout
from p2p_core.demo.modules import flow, generate
from p2p_core.demo.modules import load as load_model
from p2p_core.demo.scenes import Scene, sample
from p2p_core.demo.transformer import is_transformer, load_transformer

from .judge import OPTIONS, load, marks, read

FRESH = 2 * 10**9  # seeds of captions, far from those of the trainings
PROMPT = ("subject", "object", "colour", "relation", "place")


def captions(count: int, plain: bool) -> list[Scene]:
    """Fresh scenes; plain: without smiles and hats, as the first model knew them."""
    scenes = [sample(random.Random(FRESH + i)) for i in range(count)]
    return [replace(scene, adjective=None, worn=None) if plain else scene for scene in scenes]


def painter(path: Path, device: str) -> Callable[..., torch.Tensor]:
    """The model in a file as a function of captions, seeds, steps and cfg. A transformer draws over the demo model's
    text encoder and VAE."""
    if not is_transformer(path):
        return partial(generate, *load_model(path, device))
    transformer, metadata = load_transformer(path, device)
    _, text, vae = load_model(device=device)
    return partial(flow, transformer, text, vae, scale=metadata["latent_scale"], shift=metadata["shift"])


def make(paint, scenes: list[Scene], seeds: list[int], steps: int, cfg: float, device: str, batch=10) -> torch.Tensor:
    """-> [scenes, 3, 128, 128] in [0, 1]; bf16 autocast, as in training."""
    pictures = []
    for i in range(0, len(scenes), batch):
        with torch.autocast(device, torch.bfloat16):
            words = [scene.caption for scene in scenes[i : i + batch]]
            pictures.append(paint(words, seeds[i : i + batch], steps=steps, cfg=cfg).float().cpu())
        print(f"{min(i + batch, len(scenes))}/{len(scenes)}", end="\r", flush=True)
    return torch.cat(pictures)


def report(each: list[dict[str, bool]]) -> dict[str, float]:
    """Shares of what was asked for and seen."""
    shares = {name: [m[name] for m in each if name in m] for name in OPTIONS}
    shares["prompt"] = [all(m[name] for name in PROMPT if name in m) for m in each]
    shares["everything"] = [all(m.values()) for m in each]
    return {name: round(float(np.mean(values)), 4) for name, values in shares.items() if values}


def sheet(pictures: torch.Tensor, scenes: list[Scene], each: list[dict[str, bool]], columns: int = 10) -> Image.Image:
    cell = 140
    page = Image.new("RGB", (columns * cell, -(-len(pictures) // columns) * (cell + 34)), "white")
    pen = ImageDraw.Draw(page)
    for i, (picture, scene, right) in enumerate(zip(pictures, scenes, each)):
        x, y = i % columns * cell, i // columns * (cell + 34)
        wrong = [name for name, good in right.items() if not good]
        if wrong:
            pen.rectangle([x, y, x + 135, y + 135], fill=(220, 0, 0))
        page.paste(Image.fromarray((picture * 255).byte().permute(1, 2, 0).numpy()), (x + 4, y + 4))
        words = scene.caption.split()
        lines = [" ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :]), " ".join(wrong)]
        for line, text in enumerate(lines):
            pen.text((x + 2, y + 136 + 11 * line), text[:23], fill=(200, 0, 0) if line == 2 else (0, 0, 0))
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=layout.FILE)
    parser.add_argument("--prompts", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=2, help="pictures a prompt")
    parser.add_argument("--steps", type=int, help="30 for a UNet, 25 for a transformer")
    parser.add_argument("--cfg", type=float, help="5 for a UNet, 4 for a transformer")
    parser.add_argument("--plain", action="store_true", help="no smiles, no hats")
    parser.add_argument("--sheet", type=Path, help="a PNG of the first hundred pictures")
    parser.add_argument("--json", type=Path, help="where to keep the report")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    steps, cfg = (25, 4.0) if is_transformer(args.model) else (30, 5.0)
    args.steps, args.cfg = args.steps or steps, args.cfg or cfg

    scenes = [scene for scene in captions(args.prompts, args.plain) for _ in range(args.seeds)]
    begun = time.monotonic()
    paint, seeds = painter(args.model, args.device), list(range(len(scenes)))
    pictures = make(paint, scenes, seeds, args.steps, args.cfg, torch.device(args.device).type)
    seconds = (time.monotonic() - begun) / len(scenes)
    seen = [scene for batch in pictures.split(64) for scene in read(load(), batch)]
    each = [marks(wanted, found) for wanted, found in zip(scenes, seen)]
    result = {
        "prompts": args.prompts,
        "seeds": args.seeds,
        "steps": args.steps,
        "cfg": args.cfg,
        "plain": args.plain,
        "seconds_a_picture": round(seconds, 2),
        **report(each),
    }
    if args.sheet:
        sheet(pictures[:100], scenes, each).save(args.sheet)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
