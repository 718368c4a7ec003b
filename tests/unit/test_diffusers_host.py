"""The diffusers host on stock pipelines around small random networks, in float64: equal means equal to 1e-9."""

from __future__ import annotations

import copy

import diffusers
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.diffusers import align, prompt_to_prompt
from prompt_to_prompt.p2p_core.hosts.diffusers.prompts import read_prompt
from prompt_to_prompt.p2p_core.hosts.diffusers.unet import attention_layers
from prompt_to_prompt.p2p_core.layers import parse_blocks
from prompt_to_prompt.p2p_core.schedule import InjectSchedule

from support.sampling import EVERYTHING, NOTHING
from support.small_pipelines import SCHEDULERS, inputs, small_pipeline

SOURCE, EDIT = "a cat sitting on a car", "a dog sitting on a red car"
KINDS = ("text", "image", "inpaint", "inpaint9", "control", "xl", "xl-image")


@pytest.fixture(scope="module")
def pipes():
    made = {}

    def pipe(kind: str = "text", scheduler: str = ""):
        if kind not in made:
            made[kind] = small_pipeline(kind, torch.float64)
            made[kind].stock = made[kind].scheduler
        made[kind].scheduler = copy.deepcopy(made[kind].stock)
        if scheduler:
            config = made[kind].stock.config
            made[kind].scheduler = getattr(diffusers, scheduler).from_config(config, **SCHEDULERS[scheduler])
        return made[kind]

    return pipe


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def call(pipe, prompts, kind="text", **more):
    return pipe(prompts, **inputs(kind, seeded()) | more).images


def edited(pipe, edit, kind="text", trajectory="dual", **more):
    with prompt_to_prompt(pipe, edit, trajectory) as run:
        images = call(pipe, run.prompts, kind, **more)
    return images, run


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-9)


def test_a_prompt_is_read_as_the_pipeline_encodes_it(pipes):
    prompt = read_prompt(pipes(), "A cat, sitting")
    assert len(prompt) == 77
    assert [t.kind for t in prompt.tokens[:7]] == ["start", *["text"] * 4, "end", "pad"]
    assert [word.text for word in prompt.words] == ["a", "cat", "<unknown>", "sitting"]
    assert prompt.find("cat") == [(2,)]


@pytest.mark.parametrize("kind", KINDS)
def test_no_edit_gives_the_pipelines_own_pictures(pipes, kind):
    pipe = pipes(kind)
    images, _ = edited(pipe, align(pipe, SOURCE, EDIT).schedule(NOTHING), kind)
    for image, prompt in zip(images, (SOURCE, EDIT), strict=True):
        assert close(image, call(pipe, [prompt], kind)[0])


@pytest.mark.parametrize("trajectory", ["dual", "shared"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_source_is_the_pipelines_own_picture_and_the_edit_is_not(pipes, kind, trajectory):
    pipe = pipes(kind)
    images, run = edited(pipe, align(pipe, SOURCE, EDIT), kind, trajectory)
    assert run.engine.edited
    assert close(images[0], call(pipe, [SOURCE], kind)[0])
    assert (images[1] - call(pipe, [EDIT], kind)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_gives_its_own_source_and_a_blend_that_ends_on_it(pipes, scheduler):
    pipe = pipes("text", scheduler)
    edit = align(pipe, SOURCE, EDIT).local_blend("", "", mask=torch.eye(2).repeat_interleave(4, 0), start=0.0)
    images, run = edited(pipe, edit)
    assert close(images[0], call(pipe, [SOURCE])[0])
    assert len(run._levels) == 5
    outside = run.masks()[0] == 0
    assert outside.any()
    assert (images[1] - images[0])[:, outside].abs().max() < 1e-9
    assert (images[1] - images[0]).abs().max() > 1e-2


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_a_late_blend_is_exact_for_every_kind_of_prediction(pipes, scheduler, prediction_type):
    pipe = pipes("text", scheduler)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, prediction_type=prediction_type)
    edit = align(pipe, SOURCE, EDIT).local_blend("", "", mask=torch.eye(2), start=0.5)
    images, run = edited(pipe, edit)
    assert (images[1] - images[0])[:, run.masks()[0] == 0].abs().max() < 1e-5  # sigmas are kept in float32


def test_identical_prompts_under_full_injection_stay_identical(pipes):
    pipe = pipes()
    images, _ = edited(pipe, align(pipe, SOURCE, "").schedule(EVERYTHING))
    assert close(images[0], images[1])


def test_a_shared_trajectory_of_one_step_is_the_dual_one(pipes):
    pipe = pipes()
    edit = align(pipe, SOURCE, EDIT).reweight("red", 3)
    one = [edited(pipe, edit, trajectory=trajectory, num_inference_steps=1)[0] for trajectory in ("dual", "shared")]
    assert close(*one)


def test_several_edits_and_images_lie_prompt_after_prompt(pipes):
    pipe = pipes()
    prompts = [EDIT, "a fox on a car"]
    together, _ = edited(pipe, align(pipe, SOURCE, prompts), num_images_per_prompt=2)
    assert len(together) == 6
    for i, prompt in enumerate(prompts):
        alone, _ = edited(pipe, align(pipe, SOURCE, prompt), num_images_per_prompt=2)
        assert close(together[:2], alone[:2])
        assert close(together[2 + 2 * i : 4 + 2 * i], alone[2:])


def test_without_guidance_there_is_one_evaluation(pipes):
    pipe = pipes()
    images, _ = edited(pipe, align(pipe, SOURCE, EDIT), guidance_scale=1.0, trajectory="shared")
    assert close(images[0], call(pipe, [SOURCE], guidance_scale=1.0)[0])


def test_a_second_call_in_one_context_begins_anew(pipes):
    pipe = pipes()
    edit = align(pipe, SOURCE, EDIT).local_blend("cat", "dog", threshold=0.6)
    with prompt_to_prompt(pipe, edit) as run:
        first, second = call(pipe, run.prompts), call(pipe, run.prompts)
        other = call(pipe, run.prompts, height=32, width=96)
    assert torch.equal(first, second)
    assert other.shape[-2:] == (4, 12)


def test_maps_of_all_words_can_be_kept(pipes):
    pipe = pipes()
    with prompt_to_prompt(pipe, align(pipe, SOURCE, EDIT), keep_maps=True) as run:
        call(pipe, run.prompts)
    maps = run.maps()
    assert maps.source.of(maps.source.prompt.find("cat")[0]).shape == (1, 8, 8)
    every_word = sum(maps.source.of([i]) for i in maps.source.positions)
    assert (every_word < 1).all()  # what is left is the padding's


@pytest.mark.parametrize("change", ["unfused", "sliced"])
def test_the_edit_is_added_to_what_other_processors_do(pipes, change):
    pipe = pipes()
    expected, _ = edited(pipe, align(pipe, SOURCE, EDIT))
    before = pipe.unet.attn_processors
    try:
        if change == "sliced":
            pipe.enable_attention_slicing(1)
        else:
            pipe.unet.set_attn_processor(AttnProcessor())
        images, _ = edited(pipe, align(pipe, SOURCE, EDIT))
    finally:
        pipe.unet.set_attn_processor(before)
    assert close(images, expected)


def test_projections_that_are_wrapped_as_lora_does_are_used(pipes):
    class Wrapped(torch.nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base
            self.low = torch.nn.Linear(base.in_features, base.out_features, bias=False, dtype=torch.float64)

        def forward(self, x):
            return self.base(x) + self.low(x)

    pipe = small_pipeline("text", torch.float64)
    for _, attention in attention_layers(pipe.unet):
        attention.to_q, attention.to_out[0] = Wrapped(attention.to_q), Wrapped(attention.to_out[0])
    images, _ = edited(pipe, align(pipe, SOURCE, EDIT))
    assert close(images[0], call(pipe, [SOURCE])[0])
    assert not close(images[0], call(pipes(), [SOURCE])[0])


def hooks(pipe):
    unet = pipe.unet
    return dict(unet.attn_processors), len(unet._forward_hooks), len(unet._forward_pre_hooks)


@pytest.mark.parametrize("where", ["nowhere", "callback", "unet"])
def test_the_pipeline_is_put_back(pipes, where, monkeypatch):
    pipe = pipes()
    before, expected = hooks(pipe), call(pipe, [SOURCE])

    def fail(*args, **kwargs):
        raise RuntimeError("stop")

    def run_it():
        return edited(
            pipe, align(pipe, SOURCE, EDIT), **({"callback_on_step_end": fail} if where == "callback" else {})
        )

    if where == "nowhere":
        run_it()
    else:
        with monkeypatch.context() as patch:
            if where == "unet":
                patch.setattr(pipe.unet.mid_block, "forward", fail)
            with pytest.raises(RuntimeError, match="stop"):
                run_it()
    assert hooks(pipe) == before
    assert torch.overrides._get_current_function_mode() is None
    assert torch.equal(call(pipe, [SOURCE]), expected)


def test_what_cannot_be_edited_is_said(pipes):
    pipe = pipes()
    edit = align(pipe, SOURCE, EDIT)
    with pytest.raises(EditError, match=r"run\.prompts"), prompt_to_prompt(pipe, edit):
        call(pipe, [SOURCE])
    with pytest.raises(EditError, match="not called"), prompt_to_prompt(pipe, edit):
        pass
    with pytest.raises(EditError, match="another"), prompt_to_prompt(pipe, edit), prompt_to_prompt(pipe, edit):
        pass
    with pytest.raises(EditError, match="trajectory"), prompt_to_prompt(pipe, edit, "both"):
        pass
    with pytest.raises(EditError, match="guidance_rescale"):
        edited(pipe, edit.local_blend("cat", "dog", start=0.0), guidance_rescale=0.7)
    with (
        pytest.raises(EditError, match="output:9"),
        prompt_to_prompt(pipe, edit.schedule(InjectSchedule(blocks=parse_blocks("output:9")))),
    ):
        pass
    pipe.scheduler = diffusers.EDMEulerScheduler()
    with pytest.raises(EditError, match="EDMEulerScheduler"):
        edited(pipe, edit.local_blend("cat", "dog", start=0.0))


def test_a_call_that_edits_nothing_is_logged_with_the_reason(pipes, caplog):
    pipe = pipes()
    edit = align(pipe, SOURCE, EDIT)
    _, run = edited(pipe, edit.schedule(InjectSchedule(cross_strength=0.0, self_strength=0.0)))
    assert "Nothing was edited: cross_strength and self_strength are 0" in caplog.text
    assert run.note() in caplog.messages
    caplog.clear()
    _, run = edited(pipe, edit)
    assert run.note() is None and not caplog.messages


def test_a_compiled_unet_is_refused(pipes):
    pipe = copy.copy(pipes())
    edit = align(pipe, SOURCE, EDIT)
    compiled = torch.compile(pipe.unet, backend="eager")
    pipe.__dict__["unet"] = compiled
    with pytest.raises(EditError, match=r"torch\.compile"), prompt_to_prompt(pipe, edit):
        pass


def test_models_without_a_unet_are_refused():
    with pytest.raises(EditError, match="Flux"):
        attention_layers(torch.nn.Linear(2, 2))
    with pytest.raises(EditError, match="SDXL"):
        read_prompt(object(), SOURCE)
