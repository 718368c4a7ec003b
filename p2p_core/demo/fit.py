"""A training loop that can be killed at any moment and goes on where it was."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn


def share(step: int, steps: int, warmup: int, cooldown: int | None = None) -> float:
    """Share of the full learning rate at `step`: a linear rise, then half a cosine down to zero.

    cooldown: the last so many steps alone fall; all before keep the full rate and can be gone on from at will.
    """
    if step < warmup:
        return (step + 1) / warmup
    falling = steps - warmup if cooldown is None else min(cooldown, steps - warmup)
    fallen = max(0, step - (steps - falling)) / max(1, falling)
    return 0.5 * (1 + math.cos(math.pi * fallen))


def save(path: Path, state: dict) -> None:
    """Writes beside the file and renames, so that no kill leaves half a checkpoint."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def fit(
    name: str,
    module: nn.Module,
    loss: Callable[[torch.Generator], torch.Tensor],
    *,
    steps: int,
    lr: float,
    folder: Path,
    weight_decay: float = 0.01,
    warmup: int = 100,
    cooldown: int | None = None,
    decay: float = 0.999,
    every: int = 180,
) -> nn.Module:
    """Trains `module` (its parameters that require gradients) on `loss` and returns its moving average.

    loss: called with a CPU generator seeded by the step, so that a resumed run draws what the unbroken one would have.
    folder: holds `name`.pt, written every `every` seconds and at the end; found there, training goes on from it.
    cooldown: the learning rate falls in the last so many steps, instead of all along.
    decay: of the moving average of the weights, at most: it starts short, or the average would keep the random start.
    """
    path = folder / f"{name}.pt"
    parameters = [p for p in module.parameters() if p.requires_grad]
    device = parameters[0].device
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=(0.9, 0.99), fused=True)
    average = copy.deepcopy(module).requires_grad_(False)
    averaged = [a for a, p in zip(average.parameters(), module.parameters()) if p.requires_grad]
    step = 0
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        module.load_state_dict(state["module"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]

    saved = reported = time.monotonic()
    since, total = step, 0.0
    while step < steps:
        for group in optimizer.param_groups:
            group["lr"] = lr * share(step, steps, warmup, cooldown)
        with torch.autocast(device.type, torch.bfloat16):
            value = loss(torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 1 - min(decay, step / (step + 10)))
        total += value.item()
        now = time.monotonic()
        if now - reported > 30 or step == steps:
            mean, seconds = total / (step - since), (now - reported) / (step - since)
            print(f"{name} {step}/{steps} loss {mean:.4f} {seconds:.2f} s/step", flush=True)
            reported, since, total = now, step, 0.0
        if now - saved > every or step == steps:
            save(
                path,
                {
                    "step": step,
                    "module": module.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
            )
            saved = now
    return average
