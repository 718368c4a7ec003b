"""The engine against CrossAttentionControl's three passes, on the shared trajectory, in float64."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.hosts.comfy import encode
from reference import cross_attention_control as cac

from support.literature import CFG, EXACT, INSERTION, SOURCE, SWAP, padded, sampled_in_float64, schedule


@pytest.mark.parametrize("prompt", [SWAP, INSERTION, "a cat on a boat"], ids=["swap", "insertion", "deletion"])
def test_cross_attention_control(prompt, demo, sampled, edit, ids):
    """Its windows are on t / 1000 from 1 to 0, so ours run from 1 - end to 1 - start."""
    # Token 5 of "... on" and 2, the cat or dog, are in all the prompts.
    weights = ((2, 1.5), (5, -2.0))
    control = cac.Control(
        padded(ids(SOURCE)), padded(ids(prompt)), tokens=(0.2, 1.0), spatial=(0.4, 0.8), weights=weights
    )
    made = edit("sequence", prompt).schedule(schedule(cross=(0.0, 0.8), within=(0.2, 0.6), layers="all"))
    for token, weight in weights:
        made = made.reweight(f"[{token}]", weight)
    theirs = _three_passes(demo, control, prompt)
    torch.testing.assert_close(sampled(made, "shared")[1:], theirs, **EXACT)


def test_cross_attention_control_weights_without_an_edit(demo, sampled, edit, ids):
    """With one prompt, its weights are all there is."""
    control = cac.Control(padded(ids(SOURCE)), padded(ids(SOURCE)), (1.0, 0.0), (1.0, 0.0), ((7, 3.0),))
    made = edit("sequence", SOURCE).schedule(schedule(cross=(0.0, 0.0))).reweight("[7]", 3.0)
    torch.testing.assert_close(sampled(made, "shared")[1:], _three_passes(demo, control, SOURCE), **EXACT)


def _three_passes(demo, control: cac.Control, prompt: str) -> torch.Tensor:
    model, clip = demo
    source, edited, negative = (encode(clip, text).encoding for text in (SOURCE, prompt, ""))
    return sampled_in_float64(cac.Guider(model, control, source, edited, negative, CFG), 1)
