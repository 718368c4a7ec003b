"""Transformers with joint attention through ComfyUI's real sampling: each call as its explicit maps would have it."""

from __future__ import annotations

from copy import copy

import comfy.model_management
import pytest
import torch
from comfy_extras.nodes_sd3 import SkipLayerGuidanceSD3
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import architecture_of
from prompt_to_prompt.p2p_core.hosts.comfy.joint_attention import FORWARD, JointAttention
from prompt_to_prompt.p2p_core.hosts.comfy.joint_calls import Asked, reason
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows
from reference import joint_maps

from support.joint_oracle import Seen, assert_literal, row
from support.sampling import NOTHING, applied, assert_same, plain, run
from support.small_joint_models import BLOCKS, JOINT_MODELS, joint_edit, settings, small_joint_model

MODES = ("map", "layout", "key_value", "output")
CLIP_AND_T5 = ("sd3", "sd35m")
FRACTIONS = {"cross_strength": 0.7, "self_strength": 0.6}
ALWAYS = {"cross_window": Window(0, 1, "cross"), "self_window": Window(0, 1, "self")}


@pytest.fixture
def seen(monkeypatch) -> list[Seen]:
    """Every attention call of the runs in this test, in order."""
    calls: list[Seen] = []
    original = JointAttention.__call__

    def watched(self, func, *args, **kwargs):
        forward = copy(kwargs["transformer_options"].get(FORWARD))
        out = original(self, func, *args, **kwargs)
        now = self.session.run
        made = Seen(Asked.of(args, kwargs), forward, now.step, now.steps, out, func(*args, **kwargs))
        calls.append(made)
        return out

    monkeypatch.setattr(JointAttention, "__call__", watched)
    return calls


@pytest.mark.parametrize("model", JOINT_MODELS)
@pytest.mark.parametrize("mode", MODES)
def test_each_call_is_what_its_maps_would_give(model, mode, seen):
    edit = joint_edit(model, "a cat on a car", "a big dog on a car", "a cat on a red car").reweight("dog", 2.5)
    windows = parse_word_windows("car: 0.0-0.4")
    edit = edit.schedule(
        InjectSchedule(Window(0, 0.7), Window(0, 0.5), self_mode=mode, word_windows=windows, **FRACTIONS)
    )
    how = settings(model)
    latents, finished = run(edit, **how)
    assert finished.edited
    assert_literal(seen, edit, how["model"], 5e-6)
    for call in seen:
        if reason(call.asked, call.forward) is None:
            source = call.forward.evaluations[0].base
            assert torch.equal(call.out[source], call.plain[source]), "the source is moved by exactly nothing"
        else:
            assert torch.equal(call.out, call.plain)
    assert_same(latents[:1], plain(edit.source.encoding, **how))


@pytest.mark.parametrize("model", ["sd35m", "flux"])
@pytest.mark.parametrize("mode", MODES)
def test_the_same_in_double_precision(model, mode, seen, monkeypatch):
    # A newer ComfyUI turns positions by kernels that know no float64, but not while it trains.
    monkeypatch.setattr(comfy.model_management, "in_training", True, raising=False)
    edit = joint_edit(model).reweight("car", -2.0)
    edit = edit.schedule(InjectSchedule(**ALWAYS, self_mode=mode, **FRACTIONS))
    how = settings(model, dtype=torch.float64, steps=2)
    run(edit, **how)
    assert seen[0].out.dtype == torch.float64
    assert_literal(seen, edit, how["model"], 1e-10)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", ["sd3", "flux"])
def test_prompts_of_different_lengths_are_edited_as_their_maps_would_be(model, mode, seen):
    edit = joint_edit(model, "a cat on a car", "a big dog on a car", more=(0, 3)).reweight("dog", 2.0)
    edit = edit.schedule(InjectSchedule(**ALWAYS, self_mode=mode, **FRACTIONS))
    how = settings(model)
    latents, _ = run(edit, **how)
    assert_literal(seen, edit, how["model"], 5e-6)
    assert_same(latents[:1], plain(edit.source.encoding, **how))


@pytest.mark.parametrize("model", JOINT_MODELS)
@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_without_injection_rows_are_ordinary_runs(model, cfg):
    edit, how = joint_edit(model).schedule(NOTHING), settings(model, cfg=cfg)
    latents, finished = run(edit, **how)
    assert not finished.edited
    assert_same(latents[:1], plain(edit.source.encoding, **how))
    assert_same(latents[1:], plain(edit.variants[0].prompt.encoding, **how))


@pytest.mark.parametrize("model", ["sd3", "flux"])
def test_low_memory_splits_cond_from_uncond(model, monkeypatch):
    edit, how = joint_edit(model).schedule(InjectSchedule(**ALWAYS, **FRACTIONS)), settings(model)
    together, _ = run(edit, **how)
    monkeypatch.setattr("comfy.model_management.get_free_memory", lambda *_, **__: 0 if not _[1:] else (10**9, 10**9))
    apart, _ = run(edit, **how)
    assert_same(apart, together)


def test_flux_s_guidance_is_kept_and_has_to_be_the_same():
    edit, how = joint_edit("flux").schedule(NOTHING), settings("flux", cfg=1.0)
    source, edited = (
        [[c[0][0], {**c[0][1], "guidance": 9.0}]] for c in (edit.source.encoding, edit.variants[0].prompt.encoding)
    )
    latents, _ = run(edit, source=source, edited=edited, **how)
    assert_same(latents[:1], plain(source, **how))
    assert (latents[:1] - plain(edit.source.encoding, **how)).abs().max() > 1e-3
    with pytest.raises(EditError, match="'guidance'"):
        run(edit, source=source, **how)


def test_a_block_that_guidance_skips():
    """SkipLayerGuidance evaluates the edited prompts once more, with a block less."""
    model = applied(SkipLayerGuidanceSD3, small_joint_model("sd35m"), "1", 3.0, 0.0, 1.0)
    edit, how = joint_edit("sd35m"), {**settings("sd35m"), "model": model}
    latents, finished = run(edit, **how)
    assert finished.edited
    assert_same(latents[:1], plain(edit.source.encoding, **how))


@pytest.mark.parametrize("more", [(0, 5), (5, 0), (2, 7)])
@pytest.mark.parametrize("model", ["sd3", "flux"])
def test_prompts_of_different_lengths_are_what_each_is_alone(model, more):
    edit, how = joint_edit(model, more=more).schedule(NOTHING), settings(model)
    latents, _ = run(edit, **how)
    assert_same(latents[:1], plain(edit.source.encoding, **how))
    assert_same(latents[1:], plain(edit.variants[0].prompt.encoding, **how))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", JOINT_MODELS)
def test_identical_prompts_under_full_injection_give_equal_rows(model, mode):
    edit = joint_edit(model, "a cat", "a cat").schedule(InjectSchedule(**ALWAYS, self_mode=mode))
    latents, finished = run(edit, **settings(model))
    assert finished.edited
    assert_same(latents[1], latents[0])


@pytest.mark.parametrize("model", ["sd35m", "flux"])
def test_without_a_schedule_the_layout_is_taken_in_the_first_steps(model, seen):
    edit, how = joint_edit(model), settings(model, steps=10)
    latents, _ = run(edit, **how)
    assert_literal(seen, edit, how["model"], 5e-6)
    moved = [not torch.equal(call.out, call.plain) for call in seen]
    assert {call.step for call, one in zip(seen, moved) if one} == {0, 1, 2, 3}
    assert (latents[1:] - plain(edit.variants[0].prompt.encoding, **how)).abs().max() > 1e-3


@pytest.mark.parametrize("model", ["sd3", "flux"])
@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_batches_and_several_edits_are_what_each_gives_alone(model, trajectory):
    edits, how = ("a big dog on a car", "a cat on a bus"), settings(model, batch=2)
    schedule = InjectSchedule(**ALWAYS, self_mode="map", **FRACTIONS)
    together, _ = run(joint_edit(model, "a cat on a car", *edits).schedule(schedule), trajectory=trajectory, **how)
    for i, words in enumerate(edits):
        alone, _ = run(joint_edit(model, "a cat on a car", words).schedule(schedule), trajectory=trajectory, **how)
        assert_same(together[:2], alone[:2])
        assert_same(together[2 + 2 * i : 4 + 2 * i], alone[2:])


@pytest.mark.parametrize("size", [(5, 3), (2, 2), (8, 9)])
def test_a_latent_of_any_size(size, seen):
    edit = joint_edit("flux").schedule(InjectSchedule(**ALWAYS, self_mode="map"))
    how = settings("flux", size=size)
    run(edit, **how)
    assert_literal(seen, edit, how["model"], 5e-6)


def test_another_override_makes_every_call():
    made = []

    def other(func, q, k, v, heads, mask=None, **kwargs):
        made.append(len(q))
        return func(q, k, 1.1 * v, heads, mask=mask, **kwargs)

    for name in ("sd35m", "flux"):
        model = small_joint_model(name).clone()
        model.model_options["transformer_options"]["optimized_attention_override"] = other
        how = {**settings(name), "model": model}
        edit = joint_edit(name)
        assert_same(run(edit.schedule(NOTHING), **how)[0][1:], plain(edit.variants[0].prompt.encoding, **how))
        made.clear()
        latents, _ = run(edit.schedule(InjectSchedule(**ALWAYS, **FRACTIONS)), **how)
        assert len(made) > 3 * len(BLOCKS[name])
        assert_same(latents[:1], plain(edit.source.encoding, **how))
        assert model.model_options["transformer_options"]["optimized_attention_override"] is other
        assert not model.wrappers


@pytest.mark.parametrize("mode", ["layout", "map", "key_value"])
@pytest.mark.parametrize("name", ["sd35m", "flux"])
def test_an_override_may_write_into_what_it_is_given(name, mode):
    def beside(func, q, k, v, heads, mask=None, **kwargs):
        return func(q, 0.9 * k, 1.1 * v, heads, mask=mask, **kwargs)

    def in_place(func, q, k, v, heads, mask=None, **kwargs):
        return func(q, k.mul_(0.9), v.mul_(1.1), heads, mask=mask, **kwargs)

    def latents(override):
        model = small_joint_model(name).clone()
        model.model_options["transformer_options"]["optimized_attention_override"] = override
        schedule = InjectSchedule(**ALWAYS, self_mode=mode)
        return run(joint_edit(name).schedule(schedule), **{**settings(name), "model": model})[0]

    assert_same(latents(in_place), latents(beside))


def test_a_run_leaves_nothing_behind():
    model = small_joint_model("flux")
    before = repr(model.model_options), repr(model.wrappers)
    run(joint_edit("flux"), **settings("flux"))
    assert (repr(model.model_options), repr(model.wrappers)) == before


def test_pictures_that_are_referred_to_keep_their_own_attention(seen):
    edit, how = joint_edit("flux"), settings("flux")
    edit = edit.schedule(InjectSchedule(**ALWAYS, self_mode="map", **FRACTIONS))
    reference = {"reference_latents": [torch.randn(1, 16, 4, 4)]}

    def referring(conditioning):
        return [[embeddings, {**options, **reference}] for embeddings, options in conditioning]

    source = referring(edit.source.encoding)
    latents, _ = run(edit, source=source, edited=referring(edit.variants[0].prompt.encoding), **how)
    assert_same(latents[:1], plain(source, **how))
    joint = [call for call in seen if reason(call.asked, call.forward) is None]
    assert joint and all((call.forward.image, call.forward.references) == (6, 4) for call in joint)
    assert_literal(seen, edit, how["model"], 5e-6)


def test_a_mask_of_the_host_s_stays():
    """As Redux sets, over text and image."""
    edit, how = joint_edit("flux"), settings("flux")
    edit = edit.schedule(InjectSchedule(**ALWAYS, self_mode="layout"))
    positions = len(edit.source) + 6
    mask = torch.randn(1, positions, positions)
    more = {"attention_mask": mask, "attention_mask_img_shape": (3, 2)}
    given = [[[c[0][0], {**c[0][1], **more}]] for c in (edit.source.encoding, edit.variants[0].prompt.encoding)]
    latents, _ = run(edit, source=given[0], edited=given[1], **how)
    assert_same(latents[:1], plain(given[0], **how))
    assert (latents[:1] - plain(edit.source.encoding, **how)).abs().max() > 1e-3


@pytest.mark.parametrize("model", ["sd3", "flux"])
@pytest.mark.parametrize("noise", ["fresh", "fixed"])
def test_a_real_picture_is_the_source(model, noise):
    picture = torch.randn(1, 16, 6, 4)
    how = {**settings(model), "image": {"samples": picture}}
    latents, _ = run(joint_edit(model).real_picture(noise=noise), **how)
    assert_same(latents[0], picture[0], 1e-5)
    assert (latents[1] - picture[0]).abs().max() > 1e-3
    same, _ = run(joint_edit(model, "a cat", "a cat").real_picture(noise=noise), **how)
    assert_same(same[1], picture[0], 1e-3)


# --- maps and blends ---


@pytest.mark.parametrize("model", ["sd35m", "flux"])
def test_maps_are_the_columns_of_the_words(model, seen):
    schedule = InjectSchedule(**ALWAYS, self_mode="map", **FRACTIONS)
    edit = joint_edit(model).schedule(schedule)
    how = settings(model, steps=1, cfg=1.0)
    finished = run(edit, keep_maps=True, **how)[1]
    maps, architecture = finished.maps(), architecture_of(how["model"])
    calls = [call for call in seen if reason(call.asked, call.forward) is None]
    first = [call for call in calls if len(call.asked.q) == 2 and call.asked.v.shape == calls[0].asked.v.shape]
    assert list(maps.source.blocks) == BLOCKS[model]
    cat, dog = (m.prompt.find(word)[0] for m, word in ((maps.source, "cat"), (maps.variants[0], "dog")))
    assert len(cat) == len(dog) == (2 if model in CLIP_AND_T5 else 1)
    call, variant = first[0], edit.variants[0]
    image = slice(call.forward.text, call.forward.text + call.forward.image)
    source, own = row(call, 0, edit.source), row(call, 1, variant.prompt)
    before = joint_maps.attention_map(source.q[image], source.k, source.hidden, call.asked.heads)
    after = joint_maps.edited_maps(
        source,
        own,
        call.asked.heads,
        slice(0, call.forward.text),
        image,
        variant.alignment.matrix,
        variant.alignment.taken * schedule.cross_strength,
        schedule.self_strength,
    )
    block = architecture.layers[0].name
    for made, columns, kept in ((before, cat, maps.source), (after, dog, maps.variants[0])):
        expected = made.mean(0)[:, list(columns)].sum(-1).reshape(1, 3, 2)
        torch.testing.assert_close(kept.of(columns, block).double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", ["sd3", "flux"])
def test_outside_of_the_words_the_edit_is_the_source(model):
    edit = joint_edit(model).local_blend("cat", "dog", threshold=0.98, start=0.0)
    latents, finished = run(edit, **settings(model, size=(12, 12)))
    mask = finished.masks()[0]
    assert 0 < mask.mean() < 1, "or the test says nothing"
    assert_same(latents[1][:, mask == 0], latents[0][:, mask == 0], 1e-6)
    assert (latents[1] - latents[0]).abs().max() > 1e-3
