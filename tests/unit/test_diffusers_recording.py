"""Sources recorded by stock pipelines, in float64: their edits are those that are sampled beside the source."""

from __future__ import annotations

import copy
from functools import cache

import diffusers
import psutil
import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.diffusers import PipelineRecording, align, prompt_to_prompt, record
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

from support.small_joint_pipelines import T5_LENGTH, joint_inputs, small_joint_pipeline
from support.small_pipelines import SCHEDULERS, inputs, small_pipeline

SOURCE, EDIT = "a cat sitting on a car", "a dog sitting on a red car"
EVERYWHERE = InjectSchedule(Window(0, 1, "cross"), Window(0, 1, "self"), self_layers="all")
EDITS = {
    "swap": lambda pipe: align(pipe, SOURCE, "a dog sitting on a car", "replace"),
    "refine with weights": lambda pipe: align(pipe, SOURCE, EDIT, "refine").reweight("red", 2.5),
    "self all": lambda pipe: align(pipe, SOURCE, EDIT).schedule(EVERYWHERE),
    "blend": lambda pipe: align(pipe, SOURCE, EDIT).local_blend("cat", "dog", start=0.0),
    "blend from half": lambda pipe: align(pipe, SOURCE, EDIT).local_blend("cat", "dog", start=0.5),
    "several": lambda pipe: align(pipe, SOURCE, [EDIT, "a fox on a car"]),
}
JOINT = ("sd3", "sd35m", "flux")


@cache
def unet(kind: str):
    return small_pipeline(kind, torch.float64)


def pipeline(kind: str, scheduler: str = ""):
    """Of networks that are shared by all tests, with a scheduler of its own."""
    if kind in JOINT:
        return small_joint_pipeline(kind)
    pipe = copy.copy(unet(kind))
    config = unet(kind).scheduler.config
    named = getattr(diffusers, scheduler) if scheduler else type(unet(kind).scheduler)
    pipe.scheduler = named.from_config(config, **SCHEDULERS.get(scheduler, {}))
    return pipe


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def call(pipe, prompts, kind="text", seed=3, **more) -> torch.Tensor:
    given = joint_inputs(kind) if kind in JOINT else inputs(kind, None)
    return pipe(prompts, **given | {"generator": torch.Generator().manual_seed(seed)} | more).images


def recorded(pipe, kind="text", kept=None, source=SOURCE, **more):
    length = {"max_sequence_length": T5_LENGTH} if kind in JOINT else {}
    with record(pipe, source, **{"self_layers": "all", **length, **(kept or {})}) as recorder:
        images = call(pipe, recorder.prompts, kind, **more)
    return recorder.recording, images


def edited(pipe, edit, recording, kind="text", keep_maps=False, **more):
    with prompt_to_prompt(pipe, edit, keep_maps=keep_maps, recording=recording) as run:
        images = call(pipe, run.prompts, kind, **more)
    return images, run


def assert_as_beside(pipe, edit, kind="text", **more) -> None:
    recording, source = recorded(pipe, kind, **more)
    made, finished = edited(pipe, edit, recording, kind, **more)
    with prompt_to_prompt(pipe, edit) as beside:
        expected = call(pipe, beside.prompts, kind, **more)
    batch = more.get("num_images_per_prompt", 1)
    assert torch.equal(source, call(pipe, [SOURCE], kind, **more))
    plain = torch.cat([call(pipe, [variant.prompt.text], kind, **more) for variant in edit.variants])
    assert off(plain, expected[batch:]) > 1e-3  # the edit is one
    assert off(torch.cat([source, made]), expected) < 1e-6
    assert off(finished.masks(), beside.masks()) < 1e-6


def off(a: torch.Tensor, b: torch.Tensor) -> float:
    """Relative to the larger's greatest number."""
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("text", name) for name in EDITS),
        ("image", "blend"),
        ("xl", "self all"),
        ("xl", "blend"),
        ("xl-image", "blend"),
    ],
)
def test_an_edit_of_a_recorded_source_is_the_one_beside_it(kind, name):
    pipe = pipeline(kind)
    assert_as_beside(pipe, EDITS[name](pipe), kind)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_schedulers_that_ask_twice_a_step_and_those_that_draw_noise(scheduler):
    pipe = pipeline("text", scheduler)
    assert_as_beside(pipe, EDITS["blend"](pipe))


def test_batches_negative_prompts_and_no_guidance():
    pipe = pipeline("text")
    assert_as_beside(pipe, EDITS["several"](pipe), num_images_per_prompt=2)
    assert_as_beside(pipe, EDITS["blend"](pipe), guidance_scale=1.0)


@pytest.mark.parametrize("kind", JOINT)
@pytest.mark.parametrize("blend", [False, True])
def test_transformers(kind, blend):
    pipe = pipeline(kind)
    edit = align(pipe, SOURCE, EDIT, max_sequence_length=T5_LENGTH)
    assert_as_beside(pipe, edit.local_blend("cat", "dog", start=0.0) if blend else edit, kind)


def test_maps_are_those_of_source_and_edit():
    pipe = pipeline("text")
    recording, _ = recorded(pipe)
    _, run = edited(pipe, EDITS["swap"](pipe), recording, keep_maps=True)
    with prompt_to_prompt(pipe, EDITS["swap"](pipe), keep_maps=True) as beside:
        call(pipe, beside.prompts)
    mine, theirs = run.maps(), beside.maps()
    assert off(mine.source.of([1, 2]), theirs.source.of([1, 2])) < 1e-6
    assert off(mine.variants[0].of([1, 2]), theirs.variants[0].of([1, 2])) < 1e-6


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 4}, "begins with other noise"),
        ({"num_inference_steps": 6}, "another number of steps"),
        ({"height": 128}, "another picture size"),
        ({"guidance_scale": 5.0}, "another guidance"),
        ({"guidance_scale": 1.0}, "another guidance"),
        ({"num_images_per_prompt": 2}, "another number of pictures"),
        ({"negative_prompt": ["a red car"]}, "another negative prompt"),
    ],
)
def test_a_call_that_differs_from_the_recorded_one_is_refused(changed, said):
    pipe = pipeline("text")
    recording, _ = recorded(pipe)
    with pytest.raises(EditError, match=said):
        edited(pipe, EDITS["swap"](pipe), recording, **changed)


def test_another_scheduler_model_or_source_prompt_is_refused():
    pipe = pipeline("text")
    recording, _ = recorded(pipe)
    with pytest.raises(EditError, match="another scheduler"):
        edited(pipeline("text", "EulerDiscreteScheduler"), EDITS["swap"](pipe), recording)
    with pytest.raises(EditError, match="recorded with 'a cat sitting on a car', but the edit's is 'a fox'"):
        edited(pipe, align(pipe, "a fox", "a cat"), recording)
    weight = next(module.to_q.weight for _, module in _attention(pipe))
    before = weight.clone()
    try:
        weight.mul_(1.01)
        with pytest.raises(EditError, match="another model"):
            edited(pipe, EDITS["swap"](pipe), recording)
    finally:
        weight.copy_(before)
    edited(pipe, EDITS["swap"](pipe), recording)


def _attention(pipe):
    from prompt_to_prompt.p2p_core.hosts.diffusers.unet import attention_layers

    return attention_layers(pipe.unet)


def test_what_was_not_kept_is_asked_for_in_a_sentence():
    pipe = pipeline("text")
    recording, _ = recorded(pipe, kept={"self_layers": "half", "until": 0.4})
    with pytest.raises(EditError, match="until at 1 or more"):
        edited(pipe, align(pipe, SOURCE, EDIT).schedule(InjectSchedule(Window(0, 1, "cross"))), recording)
    with pytest.raises(EditError, match="self_layers 'all'"):
        edited(pipe, align(pipe, SOURCE, EDIT).schedule(EVERYWHERE), recording)


def test_what_can_t_be_recorded_is_refused():
    pipe = pipeline("text")
    recording, _ = recorded(pipe)
    with pytest.raises(EditError, match="real picture is not recorded"), record(pipe, SOURCE, picture=object()):
        pass
    with pytest.raises(EditError, match="real picture is not recorded"):
        edited(pipe, EDITS["swap"](pipe).real_picture(), recording)
    with (
        pytest.raises(EditError, match="Choose 'dual'"),
        prompt_to_prompt(pipe, EDITS["swap"](pipe), "shared", recording=recording),
    ):
        pass
    for kind in ("control", "inpaint"):
        with pytest.raises(EditError, match="could not compare"), record(pipeline(kind), SOURCE):
            pass


def test_a_sampling_that_was_stopped_is_no_recording():
    pipe = pipeline("text")

    def stop(pipe, step, timestep, given):
        pipe._interrupt = step >= 1
        return given

    with pytest.raises(EditError, match="stopped after 2 of 5 rounds"):
        recorded(pipe, callback_on_step_end=stop)


def test_more_than_half_of_the_free_memory_is_refused_before_the_network_is_asked(monkeypatch):
    pipe = pipeline("text")
    whole = recorded(pipe)[0].recording.nbytes
    asked = []
    watched = pipe.unet.register_forward_hook(lambda *given: asked.append(given))
    try:
        _free(monkeypatch, int(2 * whole * 0.98))
        with pytest.raises(EditError, match="which is more than half of the"):
            recorded(pipe)
        assert not asked
        _free(monkeypatch, int(2 * whole * 1.02))
        recorded(pipe)
        assert asked
    finally:
        watched.remove()


def _free(monkeypatch, memory: int) -> None:
    known = psutil.virtual_memory()._replace(available=memory)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: known)


@pytest.mark.parametrize("kind", ["text", "flux"])
def test_a_file_gives_the_recording_back(tmp_path, kind):
    pipe = pipeline(kind)
    recording, _ = recorded(pipe, kind)
    recording.save(tmp_path / "source.safetensors", {"seed": 3})
    read, more = PipelineRecording.load(tmp_path / "source.safetensors")
    assert more == {"seed": 3}
    length = {"max_sequence_length": T5_LENGTH} if kind == "flux" else {}
    edit = align(pipe, SOURCE, EDIT, **length)
    assert torch.equal(edited(pipe, edit, read, kind)[0], edited(pipe, edit, recording, kind)[0])
