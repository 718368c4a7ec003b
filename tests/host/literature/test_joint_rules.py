"""The pack's whole map on the demo's transformer against ReFlex's rule on literal maps, in float64."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import encode
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window
from reference import hertz
from reference.joint_rules import Reflex

from support.literature import EXACT, SOURCE, SWAP, demo_in_float64, sampled_by_the_pack, sampled_by_the_paper


@pytest.fixture(scope="module")
def transformer():
    return demo_in_float64("transformer")


@pytest.mark.parametrize(("prompt", "new"), [(SWAP, "dog"), (SOURCE.replace("cat", "smiling cat"), "smiling")])
def test_the_whole_map_with_new_words_weighted_is_reflex_s_rule(prompt, new, transformer, ids):
    mapper, alphas = hertz.refinement_mapper(SOURCE, prompt, ids)
    everywhere = range(8)
    rule = Reflex(mapper, alphas, word_steps=3, place_steps=2, word_blocks=everywhere, place_blocks=everywhere)
    schedule = InjectSchedule(Window(0, 0.6), Window(0, 0.4), self_mode="map")
    edit = Edit(encode(transformer[1], SOURCE)).add(encode(transformer[1], prompt), "refine").schedule(schedule)
    edit = edit.reweight(new, 4.0, end=0.6)
    ours, theirs = sampled_by_the_pack(transformer, edit), sampled_by_the_paper(transformer, rule, [SOURCE, prompt])
    torch.testing.assert_close(ours, theirs, **EXACT)
    alone = sampled_by_the_paper(transformer, None, [SOURCE, prompt])
    assert (alone[1] - ours[1]).abs().max() > 1e-2
    torch.testing.assert_close(alone[0], ours[0], **EXACT)
