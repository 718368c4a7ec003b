"""Attention calls of a transformer's run as explicit maps would have them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from prompt_to_prompt.p2p_core.hosts.comfy import architecture_of
from prompt_to_prompt.p2p_core.hosts.comfy.joint_calls import Asked, Forward, attends_to, reason
from reference import joint_maps


@dataclass(frozen=True)
class Seen:
    """An attention call of a run: what was asked, what came back, and what it is without any edit."""

    asked: Asked
    forward: Forward | None
    step: int
    steps: int
    out: torch.Tensor
    plain: torch.Tensor


def row(call: Seen, number: int, prompt) -> joint_maps.Row:
    asked = call.asked
    q, k, v = (asked.joined(x)[number].double() for x in (asked.q, asked.k, asked.v))
    hidden = torch.zeros(len(k), dtype=torch.bool)
    attends = attends_to(asked, call.forward)
    if "text" in attends:
        hidden[call.forward.place("text", attends)][prompt.positions("none")] = True
    repeats = q.shape[-1] // k.shape[-1]  # fewer heads of keys and values
    k, v = (x.unflatten(-1, (asked.heads // repeats, -1)).repeat_interleave(repeats, 1).flatten(1) for x in (k, v))
    return joint_maps.Row(q, k, v, hidden)


def literal(call: Seen, edit, i: int, batch: int = 1) -> torch.Tensor:
    """What the row of edit `i` of the first picture should be, on explicit maps."""
    variant, forward = edit.variants[i], call.forward
    schedule, at = variant.schedule, (call.step, call.steps)
    base, attends = forward.evaluations[0].base, attends_to(call.asked, forward)
    text = forward.place("text", attends) if "text" in attends else slice(0, 0)
    n = text.stop - text.start
    strengths = torch.tensor(schedule.cross_strengths(len(variant.prompt), *at), dtype=torch.float64)
    return joint_maps.edited(
        row(call, base, edit.source),
        row(call, base + (1 + i) * batch, variant.prompt),
        call.asked.heads,
        text,
        forward.place("image", attends if "image" in attends else ("image",)),
        variant.alignment.matrix[:n, :n],
        (variant.alignment.taken * strengths)[:n],
        torch.tensor(variant.weights(*at), dtype=torch.float64)[:n],
        schedule.self_strength_at(*at) if "image" in attends else 0.0,
        schedule.self_mode,
    )


def assert_literal(seen: list[Seen], edit, model, tolerance: float, batch: int = 1) -> None:
    architecture = architecture_of(model)
    edit = edit.on(architecture).within(architecture)
    edited = [call for call in seen if reason(call.asked, call.forward) is None]
    assert edited
    for call in edited:
        base = call.forward.evaluations[0].base
        for i in range(len(edit.variants)):
            expected, made = literal(call, edit, i, batch), call.out[base + (1 + i) * batch].double()
            assert (made - expected).abs().max() <= tolerance * expected.abs().max()
