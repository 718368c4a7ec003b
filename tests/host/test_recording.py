"""A source that is recorded once: edits of it are those that are sampled beside it."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.hosts.comfy import RecordedGuider, edit_recorded, record
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

from support.sampling import CFG, assert_same, latent, plain, run, sampling
from support.small_models import NEGATIVE, edit_of, small_model

KINDS = {
    "swap": edit_of("a cat on a car", "a dog on a car"),
    "refine": edit_of("a cat on a car", "a big cat on a red car", mode="refine").reweight("red", 2.5),
    "self all": edit_of().schedule(InjectSchedule(Window(0, 1, "cross"), Window(0, 1, "self"), self_layers="all")),
    "blend": edit_of().local_blend("cat", "dog", start=0.0),
}
SAMPLERS = ["euler", "heun", "dpmpp_2m", "euler_ancestral", "dpmpp_2m_sde", "uni_pc"]


def recorded(edit, model="sd1", *, image=None, cfg=CFG, negative=NEGATIVE, sampled=None, keep_maps=False, **kept):
    model = small_model(model) if isinstance(model, str) else model
    recording, source = record(
        model, edit.source.encoding, negative, cfg, image or latent(), sampled or sampling(), **kept
    )
    guider = RecordedGuider(model, edit, negative, recording, keep_maps=keep_maps)
    edits, finished = edit_recorded(guider, recording)
    return torch.cat([source, edits]), finished


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_of_a_recorded_source_is_the_one_beside_it(kind, sampler, keep):
    edit, how = KINDS[kind], sampling(sampler)
    expected, beside = run(edit, sampled=how)
    made, finished = recorded(edit, sampled=how, keep=keep, self_layers="all" if kind == "self all" else "half")
    assert_same(made, expected, 1e-4)
    assert finished.edited
    assert torch.equal(finished.masks(), beside.masks()) or kind == "blend"
    assert torch.equal(made[:1], plain(edit.source.encoding, sampled=how))
