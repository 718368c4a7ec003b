"""Trains the judge and measures it on held-out drawings (resumable, minutes on a CPU).

    python -m tests.bench.judge.train

Half of what it learns from are drawings as drawn, half drawings that went through the demo model's VAE with noise on
the latents, for the look of generated pictures; all are shifted, blurred, faded and grained at random. The report
(`report.json`) is of seeds never trained on: drawings as they are, and through the VAE.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from p2p_core.demo import layout
from p2p_core.demo.fit import fit, save
from p2p_core.demo.modules import load as load_model
from p2p_core.demo.scenes import Scene, draw, sample

from .judge import FILE, OPTIONS, Judge, asked, load, marks, read

HELD_OUT = 10**9  # seeds from here on are for the report alone


def drawings(seeds: range | list[int]) -> tuple[list[Scene], torch.Tensor]:
    """-> scenes and their pictures [N, 3, 128, 128] in uint8."""
    scenes, images = [], []
    for seed in seeds:
        rng = random.Random(seed)
        scenes.append(sample(rng))
        images.append(np.asarray(draw(scenes[-1], rng)))
    return scenes, torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def through_vae(vae, images: torch.Tensor, noise: float = 0.1) -> torch.Tensor:
    """uint8 -> uint8, encoded and decoded, with up to `noise` of noise on the latents."""
    made = []
    for i, batch in enumerate(images.split(16)):
        generator = torch.Generator().manual_seed(i)
        with torch.autocast("cpu", torch.bfloat16):
            z = vae.encode(batch / 127.5 - 1).latents.float()
            z = z + noise * torch.rand(len(z), 1, 1, 1, generator=generator) * torch.randn(z.shape, generator=generator)
            x = vae.decode(z).sample.float()
        made.append(((x.clamp(-1, 1) + 1) * 127.5).round().byte())
    return torch.cat(made)


def labels(scenes: list[Scene]) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor]:
    """-> class indices by attribute (-100 where a caption leaves it open), boxes [N, 2, 4], and which exist [N, 2]."""
    classes = {
        name: torch.tensor([options.index(getattr(s, name)) if name in asked(s) else -100 for s in scenes])
        for name, options in OPTIONS.items()
    }
    none = (0.0,) * 4
    boxes = torch.tensor([(s.subject_box or none, s.object_box or none) for s in scenes])
    return classes, boxes, torch.tensor([(s.subject is not None, s.object is not None) for s in scenes])


def roughen(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """[0, 1] -> [0, 1]: each picture blurred, faded and grained by a random amount."""

    def uniform(low, high):
        return low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=generator)

    small = F.interpolate(x, scale_factor=0.5, mode="area")
    soft = F.interpolate(F.avg_pool2d(small, 3, 1, 1), scale_factor=2, mode="bilinear")
    x = torch.lerp(x, soft, (uniform(-0.5, 1)).clamp(min=0))
    x = (x - 0.5) * uniform(0.8, 1.15) + 0.5 + uniform(-0.06, 0.06)
    return (x + uniform(0, 0.04) * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def train(folder: Path, model: Path, steps: int, pool_size: int) -> Judge:
    path = folder / "pool.pt"
    if not path.exists():
        save(path, through_vae(load_model(model)[2], drawings(range(pool_size))[1]))
    pool = torch.load(path)
    pool_scenes = drawings(range(pool_size))[0]
    judge = Judge().train()

    def loss(generator):
        rows = torch.randint(pool_size, (24,), generator=generator).tolist()
        fresh, images = drawings(torch.randint(pool_size, HELD_OUT, (24,), generator=generator).tolist())
        classes, boxes, there = labels(fresh + [pool_scenes[row] for row in rows])
        logits, made = judge(roughen(torch.cat([images, pool[rows]]) / 255, generator))
        words = sum(
            F.cross_entropy(logits[name].float(), classes[name], label_smoothing=0.02)
            for name in OPTIONS
            if (classes[name] >= 0).any()
        )
        return words + 10 * (made - boxes)[there].abs().mean()

    return fit("judge", judge, loss, steps=steps, lr=1.5e-3, folder=folder, decay=0.998)


def psnr(made: torch.Tensor, wanted: torch.Tensor) -> float:
    """Mean over pictures, in dB; both uint8 [N, 3, H, W]."""
    error = (made.float() - wanted.float()).square().mean((1, 2, 3))
    return round(float((10 * torch.log10(255**2 / error)).mean()), 2)


def overlap(a, b) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def measure(judge: Judge, scenes: list[Scene], images: torch.Tensor) -> dict[str, float]:
    """Share right by attribute, share with everything right, and the mean overlap of the boxes."""
    seen = [scene for batch in images.split(64) for scene in read(judge, batch / 255)]
    each = [marks(wanted, found) for wanted, found in zip(scenes, seen)]
    report = {name: float(np.mean([m[name] for m in each if name in m])) for name in OPTIONS}
    report["everything"] = float(np.mean([all(m.values()) for m in each]))
    for name in ("subject_box", "object_box"):
        report[name] = float(
            np.mean([overlap(getattr(w, name), getattr(s, name)) for w, s in zip(scenes, seen) if getattr(w, name)])
        )
    return {name: round(value, 4) for name, value in report.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=FILE.with_name("training"), help="checkpoints and the pool of pictures"
    )
    parser.add_argument("--model", type=Path, default=layout.FILE, help="whose VAE the drawings go through")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--pool", type=int, default=1536, help="drawings that go through the VAE")
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--report", type=Path, default=FILE.with_name("report.json"))
    parser.add_argument("--report-only", action="store_true", help="measure the committed weights")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if not args.report_only:
        judge = train(args.folder, args.model, args.steps, args.pool)
        save_file({name: tensor.half() for name, tensor in judge.state_dict().items()}, str(FILE))
    judge = load()
    scenes, images = drawings(range(HELD_OUT, HELD_OUT + args.held_out))
    report = {
        "drawings": args.held_out,
        "as drawn": measure(judge, scenes, images),
        "through the VAE": measure(judge, scenes, through_vae(load_model()[2], images)),
    }
    args.report.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
