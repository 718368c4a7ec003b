"""What a recording is not for is said, its memory is known beforehand and given back, and nothing stays behind."""

from __future__ import annotations

import gc
import weakref

import comfy.model_management
import comfy.model_patcher
import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import RecordedGuider, architecture_of, edit_recorded
from prompt_to_prompt.p2p_core.hosts.comfy.recording_size import expected_bytes
from prompt_to_prompt.p2p_core.layers import parse_blocks
from prompt_to_prompt.p2p_core.recording import Kept
from prompt_to_prompt.p2p_core.run import Run
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

from support.recording import KINDS, SMALL, assert_as_beside, edited, free, picture, recording_of, with_lora
from support.sampling import assert_same, latent, plain, run, sampling
from support.small_joint_models import joint_edit, settings, small_joint_model
from support.small_models import NEGATIVE, edit_of, prompt, small_model


def other_patch():
    model = small_model("sd1").clone()
    model.set_model_attn2_patch(lambda q, k, v, extra_options: (q, k, v))
    return model


def other_sampling():
    model = small_model("sd1").clone()
    model.add_object_patch("model_sampling", comfy.model_sampling.ModelSamplingDiscrete(model.model.model_config))
    return model


LATE = InjectSchedule(Window(0, 0.8, "cross"), Window(0, 0.4, "self"))


@pytest.mark.parametrize(
    ("how", "edit", "given", "said"),
    [
        ({}, edit_of("a fox", "a dog"), {}, r"recording: .*another text than the edit's source prompt, 'a fox'"),
        ({}, edit_of(), {"model": "sd2"}, r"model: .*its checkpoint is another"),
        ({}, edit_of(), {"model": lambda: with_lora(0.5)}, r"model: .*its LoRA is another"),
        ({}, edit_of(), {"model": other_patch}, r"model: .*other nodes"),
        ({}, edit_of(), {"model": other_sampling}, r"model: .*its sampling is another"),
        ({}, edit_of(), {"negative": prompt("sharp").encoding}, r"negative: .*recorded with"),
        ({"until": 0.5}, edit_of().schedule(LATE), {}, r"first 2 of 4 steps, but the edit takes it until step 4"),
        ({"until": 0.5}, edit_of().schedule(LATE), {}, r"until at 1 or more"),
        (
            {"until": 0.5},
            edit_of().schedule(InjectSchedule(Window(0, 0.5), Window(0, 0.5))).local_blend("cat", "dog"),
            {},
            r"maps of words are made of all steps",
        ),
        ({}, edit_of().schedule(InjectSchedule(self_layers="all")), {}, r"\d layers that were not kept, such as block"),
        ({}, edit_of().schedule(InjectSchedule(self_mode="key_value")), {}, r"self_mode: 'key_value' takes the source"),
        ({}, edit_of().schedule(InjectSchedule(self_mode="output")), {}, r"self_mode: 'output' takes the source"),
        ({}, edit_of().real_picture(), {}, r"edit: it is one of a real picture"),
        ({"picture": "fresh"}, edit_of(), {}, r"edit: the recorded source is a real picture"),
        ({"picture": "fresh"}, edit_of().real_picture(noise="fixed"), {}, r"noise: .*picture 'fresh'"),
        ({"picture": "fresh"}, edit_of().real_picture(release=0.5), {}, r"in step 3, .*not held to the picture"),
        ({"picture": "fresh", "cfg": 1.0}, edit_of().real_picture(source_cfg=3.0), {}, r"source_cfg: 3 needs"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_sampled(how, edit, given, said, monkeypatch):
    recording, _ = recording_of(edit_of(), image=picture(), **how)
    monkeypatch.setattr(Run, "attention", lambda *_: pytest.fail("it was sampled"))
    model = given.get("model", "sd1")
    with pytest.raises(EditError, match=said):
        edited(edit, recording, model() if callable(model) else model, given.get("negative", NEGATIVE))


def test_a_model_that_was_made_anew_is_the_same():
    """As after a loader has run again: nothing but what is in it counts."""
    recording, source = recording_of(edit_of(), model=with_lora(0.5))
    made, _ = edited(edit_of(), recording, with_lora(0.5))
    assert_same(torch.cat([source, made]), run(edit_of(), model=with_lora(0.5), image=SMALL)[0], 1e-4)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ({"sampled": sampling("dpm_adaptive")}, "sampler_name: dpm_adaptive chooses its steps"),
        ({"keep": "maps"}, "keep: 'maps' is not one of"),
        ({"until": 1.5}, "until: 1.5 is out of range"),
        ({"self_layers": "some"}, "self_layers: 'some' is not one of"),
        ({"picture": "fresh"}, "latent_image: it is empty"),
        ({"image": {"samples": torch.zeros(1, 4, 2, 8, 8)}}, "latent_image: it is a video"),
        ({"model": small_model("sd1"), "source": prompt("a cat", width=32).encoding}, "width 32"),
    ],
)
def test_what_cannot_be_recorded_is_said(kept, said):
    with pytest.raises(EditError, match=said):
        recording_of(edit_of(), **kept)


def test_blocks_that_were_left_out_are_not_missed():
    schedule = InjectSchedule(self_layers="all", blocks=parse_blocks("middle"))
    assert_as_beside(edit_of().schedule(schedule))


# --- memory ---


@pytest.mark.parametrize("kept", [{}, {"until": 0.5}, {"self_layers": "all"}, {"keep": "predictions"}])
@pytest.mark.parametrize("of", ["sd1", "sdxl", "flux"])
def test_a_recording_takes_what_was_computed(of, kept):
    unet = of.startswith("sd1") or of == "sdxl"
    model = small_model(of) if unet else small_joint_model(of)
    how = {"image": latent(2, 16, 16)} if unet else settings(of, batch=2, size=(16, 16))
    how = {name: value for name, value in how.items() if name != "model"}
    edit = edit_of() if unet else joint_edit(of)
    recording, _ = recording_of(edit, model, **how, **kept)
    of_what = Kept.of(architecture_of(model).layers, **kept)
    sampled = how.get("sampled", sampling())
    expected = expected_bytes(model, of_what, edit.source.encoding, how["image"], sampled)
    assert recording.recording.nbytes == pytest.approx(expected, rel=0.1)
    assert sum(s.nbytes() for s in storages(recording).values()) == recording.recording.nbytes


def storages(recording) -> dict[int, torch.UntypedStorage]:
    """What a recording's tensors hold, each once."""
    of = recording.recording
    tensors = [of.final, *(tensor for one in of.rounds for tensor in (one.latents, *one.predictions))]
    tensors += [t for one in of.rounds for kept in one.attention.values() for t in (kept.queries, kept.keys)]
    return {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors if t is not None}


def test_too_large_a_recording_is_refused_before_sampling(monkeypatch):
    monkeypatch.setattr(Run, "attention", lambda *_: pytest.fail("it was sampled"))
    expected = expected_bytes(
        small_model("sd1"),
        Kept.of(architecture_of(small_model("sd1")).layers),
        edit_of().source.encoding,
        SMALL,
        sampling(),
    )
    free(monkeypatch, expected)
    with pytest.raises(EditError, match=r"keep: .*takes \d+ MiB, .*set until to 0\.\d+, make a smaller picture"):
        recording_of(edit_of())
    monkeypatch.undo()
    free(monkeypatch, 2 * expected)
    recording_of(edit_of())


def test_a_dropped_recording_frees_its_memory():
    recording, _ = recording_of(edit_of())
    edited(edit_of(), recording)
    kept = [
        weakref.ref(attention.queries) for one in recording.recording.rounds for attention in one.attention.values()
    ]
    kept += [weakref.ref(one.latents) for one in recording.recording.rounds]
    del recording
    gc.collect()
    assert len(kept) > 40 and not any(ref() is not None for ref in kept)


def test_two_hundred_edits_of_one_recording_leave_nothing_behind():
    recording, _ = recording_of(edit_of(), sampled=sampling(steps=1))
    digest = [round_.latents.clone() for round_ in recording.recording.rounds]
    first, _ = edited(edit_of(), recording)

    def held() -> tuple[int, int]:
        gc.collect()
        tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
        return len(tensors), sum(
            s.nbytes() for s in {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors}.values()
        )

    before = None
    for number in range(200):
        last, _ = edited(edit_of(), recording)
        if number == 20:
            before = held()
    assert held() == before
    assert torch.equal(first, last)
    assert all(torch.equal(was, one.latents) for was, one in zip(digest, recording.recording.rounds))


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()])
@pytest.mark.parametrize("keep", ["attention", "predictions"])
def test_a_run_that_fails_leaves_nothing_behind(error, keep, monkeypatch):
    model = small_model("sd1")
    before, reference = repr(model.model_options), plain(edit_of().source.encoding, image=SMALL)
    recording, _ = recording_of(edit_of(), keep=keep)
    guider = RecordedGuider(model, KINDS["blend"], NEGATIVE, recording)
    mine = set(vars(guider))
    for place in ("predictions", "attention"):
        with monkeypatch.context() as broken:
            broken.setattr(Run, place, lambda *_, **__: (_ for _ in ()).throw(error))
            with pytest.raises(type(error)):
                edit_recorded(guider, recording)
            with pytest.raises(type(error)):
                recording_of(KINDS["blend"].real_picture(), image=picture(), picture="fresh")
    assert set(vars(guider)) == mine
    assert repr(model.model_options) == before
    assert torch.equal(plain(edit_of().source.encoding, image=SMALL), reference)
    assert not torch.overrides._get_current_function_mode_stack()
    assert_same(edit_recorded(guider, recording)[0], run(KINDS["blend"], image=SMALL)[0][1:], 1e-4)
