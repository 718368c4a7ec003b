"""A source that is recorded once: its edits are those that are sampled beside it, through ComfyUI's own samplers."""

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
from prompt_to_prompt.p2p_core.hosts.comfy import (
    RecordedGuider,
    SourceRecording,
    architecture_of,
    edit_recorded,
    record,
)
from prompt_to_prompt.p2p_core.hosts.comfy.recording_size import expected_bytes, rounds_of
from prompt_to_prompt.p2p_core.hosts.comfy.sampling import sigmas_of
from prompt_to_prompt.p2p_core.layers import parse_blocks
from prompt_to_prompt.p2p_core.recording import Kept
from prompt_to_prompt.p2p_core.run import Run
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

import nodes
from support.sampling import CFG, assert_same, latent, plain, run, sampling
from support.small_joint_models import joint_edit, settings, small_joint_model
from support.small_models import NEGATIVE, edit_of, prompt, small_controlnet, small_model

SMALL = latent(1, 8, 8)
EVERYWHERE = InjectSchedule(Window(0, 1, "cross"), Window(0, 1, "self"), self_layers="all")
KINDS = {
    "swap": edit_of("a cat on a car", "a dog on a car"),
    "refine": edit_of("a cat on a car", "a big cat on a red car", mode="refine").reweight("red", 2.5),
    "self all": edit_of().schedule(EVERYWHERE),
    "blend": edit_of().local_blend("cat", "dog", start=0.0),
}
SAMPLERS = ("euler", "heun", "dpmpp_2m", "euler_ancestral", "dpmpp_2m_sde", "uni_pc")
OTHERS = sorted(set(comfy.samplers.SAMPLER_NAMES) - {*SAMPLERS, "dpm_adaptive"})
WORDS = ("a big dog on a car", "a cat on a blue bus")


def recording_of(
    edit, model="sd1", *, source=None, image=None, cfg=CFG, negative=NEGATIVE, sampled=None, **kept
) -> tuple[SourceRecording, torch.Tensor]:
    model = small_model(model) if isinstance(model, str) else model
    source = edit.source.encoding if source is None else source
    return record(model, source, negative, cfg, image or SMALL, sampled or sampling(), **kept)


def edited(edit, recording, model="sd1", negative=NEGATIVE, **guider) -> tuple[torch.Tensor, Run]:
    model = small_model(model) if isinstance(model, str) else model
    return edit_recorded(RecordedGuider(model, edit, negative, recording, **guider), recording)


def assert_as_beside(edit, tolerance=1e-4, edits=None, kept=None, **how) -> tuple[torch.Tensor, Run]:
    """The edit of a recorded source is the one beside it. `kept`: how it is recorded; `edits`: of RecordedGuider."""
    model, negative = how.get("model", "sd1"), how.get("negative", NEGATIVE)
    more = {name: how.pop(name) for name in ("edited", "keep_maps") if name in how}
    recording, source = recording_of(edit, **how, **(kept or {}))
    made, finished = edited(edit, recording, model, negative, **more)
    expected, beside = run(edit, **{"image": SMALL, **how}, **more)
    assert_same(torch.cat([source, made]), expected, tolerance)
    assert finished.edited == beside.edited
    assert_same(finished.masks() + 1, beside.masks() + 1, tolerance)
    return torch.cat([source, made]), finished


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_edit_is_the_one_beside_its_source_and_the_source_is_ksampler_s(kind, sampler):
    kept = {"self_layers": "all"} if kind == "self all" else {}
    latents, finished = assert_as_beside(KINDS[kind], sampled=sampling(sampler), kept=kept)
    assert_rounds_were_known(finished, small_model("sd1"), sampling(sampler))
    assert torch.equal(latents[:1], plain(KINDS[kind].source.encoding, image=SMALL, sampled=sampling(sampler)))


@pytest.mark.parametrize("sampler", OTHERS)
def test_every_other_sampler_and_how_often_it_asks_is_known_beforehand(sampler):
    how, model = sampling(sampler, steps=3), small_model("sd1")
    _, finished = assert_as_beside(KINDS["blend"], sampled=how)
    assert_rounds_were_known(finished, model, how)


def assert_rounds_were_known(finished, model, how) -> None:
    made = torch.tensor([one.sigma for one in finished.recorded.recording.rounds])
    torch.testing.assert_close(torch.tensor(rounds_of(model, how, sigmas_of(model, how))), made, rtol=1e-4, atol=0)


@pytest.mark.parametrize("sampler", ["euler", "heun", "euler_cfg_pp"])
@pytest.mark.parametrize("kind", KINDS)
def test_with_predictions_alone_the_source_is_evaluated_where_an_edit_takes_from_it(kind, sampler):
    assert_as_beside(KINDS[kind], sampled=sampling(sampler), kept={"keep": "predictions"})


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize("model", ["sd2", "sdxl", "sd1_blocks"])
def test_models(model, keep):
    edit = edit_of().schedule(InjectSchedule(self_strength=0.5, cross_strength=0.7)).reweight("dog", -2.0)
    assert_as_beside(edit, model=model, image=latent(1, 16, 16), kept={"keep": keep})


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize("mode", ["map", "layout"])
@pytest.mark.parametrize(
    ("model", "more"), [("sd3", (0, 0)), ("sd35m", (0, 3)), ("flux", (0, 5)), ("flux", (4, 0)), ("schnell", (0, 0))]
)
def test_transformers_whose_prompts_may_be_of_different_lengths(model, more, mode, keep):
    """`more`: tokens of the source and of the edit beyond the usual."""
    schedule = InjectSchedule(Window(0, 0.7), Window(0, 0.5), cross_strength=0.6, self_strength=0.5, self_mode=mode)
    edit = joint_edit(model, "a cat on a car", "a big dog on a car", more=more).schedule(schedule)
    how = settings(model)
    assert_as_beside(edit.local_blend("cat", "dog", start=0.0), kept={"keep": keep}, **how)


@pytest.mark.parametrize("sampler", ["euler_ancestral", "dpmpp_2m_sde"])
@pytest.mark.parametrize("keep", ["attention", "predictions"])
def test_a_batch_and_several_edits(sampler, keep):
    edit = edit_of("a cat on a car", *WORDS).local_blend("cat, car", "dog, bus", start=0.0)
    image = latent(2, 8, 8, batch_index=[3, 5])
    assert_as_beside(edit, image=image, sampled=sampling(sampler), kept={"keep": keep})


@pytest.mark.parametrize(("source", "edit", "negative"), [(1, 2, 1), (2, 1, 1), (2, 3, 1), (1, 1, 2), (2, 1, 3)])
def test_prompts_of_different_lengths_are_tiled(source, edit, negative):
    """In chunks of 77 tokens."""
    of = edit_of("a cat on a car", "a dog on a car", chunks=(source, edit)).local_blend("cat", "dog", start=0.0)
    assert_as_beside(of, negative=prompt("blurry", negative).encoding, keep_maps=True)


def picture(batch=1) -> dict:
    return {"samples": torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(5)) * 1.5}


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize(("noise", "sampler"), [("fresh", "euler"), ("fresh", "heun"), ("fixed", "uni_pc")])
def test_a_real_picture(noise, sampler, keep):
    edit = edit_of("a cat on a car", *WORDS).local_blend("cat, car", "dog, bus", threshold=0.6)
    edit = edit.real_picture(noise=noise, fidelity=0.8, source_cfg=3.0)
    kept = {"picture": noise, "keep": keep}
    latents, finished = assert_as_beside(edit, image=picture(2), sampled=sampling(sampler), kept=kept)
    assert torch.equal(latents[:2], picture(2)["samples"])
    assert finished.note() is None


def test_a_real_picture_is_released_and_hardly_moved_as_beside():
    edit = edit_of().schedule(InjectSchedule(Window(0, 0.5), Window(0, 0.5))).real_picture(release=0.5)
    assert_as_beside(edit, image=picture(), kept={"picture": "fresh"})
    edit = edit_of("a cat on a car", "a cat on a car").real_picture()
    _, finished = assert_as_beside(edit, image=picture(), cfg=1.5, kept={"picture": "fresh"})
    assert "hardly moved" in finished.note()
    assert_as_beside(edit_of().real_picture(fidelity=0.0), image=picture(), kept={"picture": "fixed"})


def test_a_part_of_the_steps_within_a_mask():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    image = picture()
    assert_as_beside(edit_of(), image={**image, "noise_mask": mask}, sampled=sampling("dpmpp_2m", denoise=0.6))
    recording, source = recording_of(edit_of(), image=image, sampled=sampling(denoise=0.0))
    assert torch.equal(source, image["samples"])
    assert torch.equal(edited(edit_of(), recording)[0], image["samples"])


@pytest.mark.parametrize("sampler", ["euler", "euler_cfg_pp"])
def test_without_guidance(sampler):
    assert_as_beside(KINDS["blend"], cfg=1.0, sampled=sampling(sampler))


def test_maps_are_those_of_an_edit_beside_its_source():
    _, finished = assert_as_beside(edit_of(), keep_maps=True)
    _, beside = run(edit_of(), image=SMALL, keep_maps=True)
    for made, expected in zip((finished.maps().source, *finished.maps().variants), _prompts(beside.maps())):
        for name, maps in expected.blocks.items():
            assert_same(made.blocks[name], maps, 1e-4)


def _prompts(maps):
    return (maps.source, *maps.variants)


# --- other nodes ---

COMMON = prompt("a photo of the sea").encoding
CONDITIONINGS = {
    "combine": lambda c: nodes.ConditioningCombine().combine(c, COMMON)[0],
    "area": lambda c: nodes.ConditioningSetArea().append(c, 32, 64, 32, 0, 1.0)[0] + COMMON,
    "time range": lambda c: (
        nodes.ConditioningSetTimestepRange().set_range(c, 0.0, 0.6)[0]
        + nodes.ConditioningSetTimestepRange().set_range(COMMON, 0.6, 1.0)[0]
    ),
    "controlnet": lambda c: nodes.ControlNetApplyAdvanced().apply_controlnet(
        c, [], small_controlnet(), HINT, 1.0, 0.0, 1.0
    )[0],
}
HINT = torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("keep", ["attention", "predictions"])
@pytest.mark.parametrize("change", CONDITIONINGS)
def test_conditioning_nodes_on_source_and_edited(change, keep):
    edit, change = edit_of(), CONDITIONINGS[change]
    source, conditioning = change(edit.source.encoding), change(edit.variants[0].prompt.encoding)
    recording, before = recording_of(edit, source=source, image=latent(2, 8, 8), keep=keep)
    made, _ = edited(edit, recording, edited=conditioning)
    expected, _ = run(edit, image=latent(2, 8, 8), source=source, edited=conditioning)
    assert_same(torch.cat([before, made]), expected, 1e-4)


def test_a_negative_area():
    """The host then copies positive entries under the negative's name."""
    negative = nodes.ConditioningSetArea().append(NEGATIVE, 32, 64, 32, 0, 1.0)[0] + NEGATIVE
    assert_as_beside(edit_of(), negative=negative)


def with_lora(strength: float):
    """A model with its weights patched, as LoRA loaders do."""
    model = small_model("sd1").clone()
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.model.state_dict().items():
        if name.endswith("attn2.to_k.weight") or name.endswith("norm1.bias"):
            model.add_patches({name: (torch.randn(weight.shape, generator=generator) * 0.1,)}, strength)
    return model


def test_a_lora():
    latents, _ = assert_as_beside(edit_of(), model=with_lora(1.0))
    assert (latents - assert_as_beside(edit_of())[0]).abs().max() > 1e-3


def evaluates_again(scale: float):
    """A model with guidance as PAG's: it evaluates the prompts once more, with less in one place."""
    model = small_model("sd1").clone()

    def guided(args):
        weak = comfy.model_patcher.set_model_options_patch_replace(
            comfy.model_patcher.create_model_options_clone(args["model_options"]),
            lambda q, k, v, extra_options, mask=None: v * 0.5,
            "attn1",
            "middle",
            0,
        )
        (again,) = comfy.samplers.calc_cond_batch(args["model"], [args["cond"]], args["input"], args["sigma"], weak)
        return args["denoised"] + scale * (args["cond_denoised"] - again)

    model.set_model_sampler_post_cfg_function(guided)
    return model


@pytest.mark.parametrize("keep", ["attention", "predictions"])
def test_guidance_that_evaluates_the_prompts_again(keep):
    model = evaluates_again(2.0)
    if keep == "attention":
        latents, _ = assert_as_beside(edit_of().schedule(EVERYWHERE), model=model, kept={"self_layers": "all"})
        assert (latents - run(edit_of().schedule(EVERYWHERE), image=SMALL)[0]).abs().max() > 1e-3
    else:
        with pytest.raises(EditError, match=r"recording: .*another node evaluates the prompts again"):
            assert_as_beside(edit_of().schedule(EVERYWHERE), model=model, kept={"keep": keep})


def free(monkeypatch, memory: int) -> None:
    """What ComfyUI takes to be free; attention kernels, which ask for more than one number, find enough."""

    def known(device=None, torch_free_too=False):
        return (10**9, 10**9) if torch_free_too else memory

    monkeypatch.setattr(comfy.model_management, "get_free_memory", known)


def test_prompts_that_the_host_evaluates_one_by_one(monkeypatch):
    """As it does where memory is short, at any moment."""
    recording, source = recording_of(edit_of())
    free(monkeypatch, 0)
    made, _ = edited(edit_of(), recording)
    monkeypatch.undo()
    assert_same(torch.cat([source, made]), run(edit_of(), image=SMALL)[0], 1e-4)


# --- what differs is named ---


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


def test_controlnet_on_one_side_alone_is_said():
    edit = edit_of()
    recording, _ = recording_of(edit, source=CONDITIONINGS["controlnet"](edit.source.encoding))
    with pytest.raises(EditError, match="they differ in their ControlNet"):
        edited(edit, recording)


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
