"""SD 3.x and Flux.1 on the diffusers host: stock pipelines around small random networks, each call as its maps say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.diffusers import align, prompt_to_prompt
from prompt_to_prompt.p2p_core.hosts.diffusers.networks import network_of
from prompt_to_prompt.p2p_core.hosts.diffusers.transformer import JointProcessor
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows
from reference import joint_maps

from support.sampling import EVERYTHING, NOTHING
from support.small_joint_pipelines import T5_LENGTH, joint_inputs, small_joint_pipeline

MODELS = ("sd3", "sd35m", "sd3-without-t5", "flux")
MODES = ("map", "layout", "key_value", "output")
SOURCE, EDIT = "a cat sitting on a car", "a big dog sitting on a car"
FRACTIONS = {"cross_strength": 0.7, "self_strength": 0.6}
ALL_ALONG = {"cross_window": Window(0, 1, "cross"), "self_window": Window(0, 1, "self")}

pipeline = cache(small_joint_pipeline)


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def aligned(name: str, *edits: str):
    return align(pipeline(name), SOURCE, list(edits or (EDIT,)), max_sequence_length=T5_LENGTH)


def call(name: str, prompts, **more) -> torch.Tensor:
    return pipeline(name)(prompts, **joint_inputs(name) | more).images


def edited(name: str, edit, trajectory: str = "dual", **more):
    with prompt_to_prompt(pipeline(name), edit, trajectory) as run:
        return call(name, run.prompts, **more), run


@dataclass(frozen=True)
class Seen:
    """An attention call of a run: what was asked [rows, heads, n, head_dim], and what came back."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    step: int
    out: torch.Tensor
    base: int
    text: slice
    image: slice

    def row(self, number: int) -> joint_maps.Row:
        q, k, v = (x[number].transpose(0, 1).flatten(1).double() for x in (self.q, self.k, self.v))
        return joint_maps.Row(q, k, v, torch.zeros(len(k), dtype=torch.bool))


@pytest.fixture
def seen(monkeypatch) -> list[Seen]:
    """Every call of joint attention in this test, in order."""
    calls: list[Seen] = []
    original = JointProcessor.attention

    def watched(self, query, key, value, attn_mask=None, **more):
        out = original(self, query, key, value, attn_mask, **more)
        made = self.network.call(query, key, value, self.layer, self.run, attn_mask)
        for evaluation in made.evaluations if made else ():
            step = self.run.engine.step
            calls.append(Seen(query, key, value, step, out, evaluation.base, made.text, made.image))
        return out

    monkeypatch.setattr(JointProcessor, "attention", watched)
    return calls


def assert_as_its_maps_say(call: Seen, edit, tolerance: float) -> None:
    def output(number: int) -> torch.Tensor:
        return call.out[number].transpose(0, 1).flatten(1).double()

    plain = F.scaled_dot_product_attention(call.q, call.k, call.v)
    assert torch.equal(call.out[call.base], plain[call.base]), "the source is moved by exactly nothing"
    for i, variant in enumerate(edit.variants):
        schedule, at = variant.schedule, (call.step, 3)
        share = torch.tensor(schedule.cross_strengths(len(variant.prompt), *at), dtype=torch.float64)
        number = call.base + 1 + i
        expected = joint_maps.edited(
            call.row(call.base),
            call.row(number),
            call.q.shape[1],
            call.text,
            call.image,
            variant.alignment.matrix,
            variant.alignment.taken * share,
            torch.tensor(variant.weights(*at), dtype=torch.float64),
            schedule.self_strength_at(*at),
            schedule.self_mode,
        )
        assert (output(number) - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("mode", MODES)
def test_each_call_is_what_its_maps_would_give(name, mode, seen):
    edit = aligned(name, EDIT, "a cat sitting on a red car").reweight("car", 2.5)
    windows = parse_word_windows("car: 0.0-0.4")
    schedule = InjectSchedule(Window(0, 0.7), Window(0, 0.7), self_mode=mode, word_windows=windows, **FRACTIONS)
    edit = edit.schedule(schedule)
    latents, run = edited(name, edit)
    assert run.engine.edited
    blocks = 4 if name == "flux" else 3
    assert len(seen) == 3 * blocks
    for one in seen:
        assert_as_its_maps_say(one, edit.on(network_of(pipeline(name)).architecture), 1e-9)
    torch.testing.assert_close(latents[:1], call(name, [SOURCE]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["sd35m", "flux"])
def test_in_single_precision(name, seen):
    pipe = small_joint_pipeline(name, torch.float32)
    edit = align(pipe, SOURCE, EDIT, max_sequence_length=T5_LENGTH).schedule(
        InjectSchedule(**ALL_ALONG, self_mode="map", **FRACTIONS)
    )
    with prompt_to_prompt(pipe, edit) as run:
        pipe(run.prompts, **joint_inputs(name))
    for one in seen:
        assert_as_its_maps_say(one, edit.on(network_of(pipe).architecture), 1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_without_injection_rows_are_ordinary_calls(name, trajectory):
    latents, run = edited(name, aligned(name).schedule(NOTHING), trajectory)
    assert not run.engine.edited
    both = torch.cat([call(name, [SOURCE]), call(name, [EDIT])])
    torch.testing.assert_close(latents, both, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["sd35m", "flux"])
@pytest.mark.parametrize("mode", MODES)
def test_the_same_prompt_under_full_injection_is_the_source(name, mode):
    edit = aligned(name, SOURCE).schedule(InjectSchedule(**ALL_ALONG, self_mode=mode))
    latents, run = edited(name, edit)
    assert run.engine.edited
    torch.testing.assert_close(latents[1:], latents[:1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_several_pictures_and_edits_are_what_each_gives_alone(name):
    edits = (EDIT, "a cat sitting on a red car")
    both, _ = edited(name, aligned(name, *edits), num_images_per_prompt=2)
    for i, prompt in enumerate(edits):
        alone, _ = edited(name, aligned(name, prompt), num_images_per_prompt=2)
        torch.testing.assert_close(both[2 * (1 + i) :][:2], alone[2:], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(both[:2], alone[:2], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_outside_of_the_mask_the_edit_is_the_source(name):
    mask = torch.zeros(8, 8)
    mask[:, 4:] = 1
    edit = aligned(name).schedule(InjectSchedule(**ALL_ALONG)).local_blend("", "", start=0.0, mask=mask)
    latents, _ = edited(name, edit)
    if name == "flux":
        latents = latents.transpose(1, 2).unflatten(-1, (4, 4))
    quarter = latents.shape[-1] // 4  # a mask's edge is soft
    torch.testing.assert_close(latents[1, ..., :quarter], latents[0, ..., :quarter], rtol=1e-9, atol=1e-9)
    assert (latents[1, ..., -quarter:] - latents[0, ..., -quarter:]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_maps_are_the_columns_of_the_words(name, seen):
    with prompt_to_prompt(pipeline(name), aligned(name), keep_maps=True) as run:
        call(name, run.prompts, num_inference_steps=1)
    maps, first, side = run.maps(), seen[0], 4
    cat = maps.source.prompt.find("cat")[0]
    assert len(cat) == (2 if name == "sd3" else 1)
    row = first.row(first.base)
    expected = joint_maps.attention_map(row.q[first.image], row.k, row.hidden, first.q.shape[1]).mean(0)
    columns = expected[:, first.text][:, list(cat)].sum(-1).reshape(1, side, side)
    made = maps.source.of(cat, run.engine.architecture.layers[0].name)
    torch.testing.assert_close(made.double(), columns, rtol=0, atol=1e-6)


def test_prompts_that_flux_is_guided_away_from_are_left_alone(seen):
    """They come in calls of their own, of the same rows."""
    edit = aligned("flux").schedule(InjectSchedule(**ALL_ALONG, self_mode="map"))
    away = {"true_cfg_scale": 3.0, "negative_prompt": ["a car"] * 2}
    latents, _ = edited("flux", edit, **away)
    assert len(seen) == 3 * 4, "the calls of one evaluation a step"
    plain = call("flux", [SOURCE], true_cfg_scale=3.0, negative_prompt=["a car"])
    torch.testing.assert_close(latents[:1], plain, rtol=1e-9, atol=1e-9)


def test_layers_that_sd3_s_guidance_leaves_out():
    """They are left out in a call of their own, of half the rows, and without what would guide away."""
    skipped = {"skip_guidance_layers": [1], "skip_layer_guidance_start": 0.0, "skip_layer_guidance_stop": 1.0}
    latents, run = edited("sd35m", aligned("sd35m"), **skipped)
    assert run.engine.edited
    torch.testing.assert_close(latents[:1], call("sd35m", [SOURCE], **skipped), rtol=1e-9, atol=1e-9)


def test_a_pipeline_is_left_as_it_was():
    pipe = pipeline("flux")
    before = dict(pipe.transformer.attn_processors)
    edited("flux", aligned("flux"))
    assert pipe.transformer.attn_processors == before
    assert not pipe.transformer._forward_hooks and not pipe.transformer._forward_pre_hooks


def test_blocks_have_the_names_that_comfyui_s_have():
    names = [layer.name for layer in network_of(pipeline("flux")).architecture.layers]
    assert names == ["double:0", "double:1", "single:0", "single:1"]
    assert [layer.name for layer in network_of(pipeline("sd3")).architecture.layers] == [f"joint:{i}" for i in range(3)]


def test_what_can_t_be_edited_is_refused():
    with pytest.raises(EditError, match=r"^pipe: its prompts were encoded to 8 tokens, .* for 12.*max_sequence_len"):
        edited("flux", aligned("flux"), max_sequence_length=8)
    real = prompt_to_prompt(pipeline("flux"), aligned("flux"), picture=torch.zeros(1, 4, 8, 8))
    with pytest.raises(EditError, match=r"^picture: Flux.1 edits no real pictures with diffusers so far"), real:
        pass
    edit = aligned("flux").schedule(EVERYTHING)
    transformer = pipeline("flux").transformer
    before = transformer.attn_processors
    try:
        transformer.set_attn_processor(
            lambda attn, x, encoder_hidden_states=None, **more: (
                x if encoder_hidden_states is None else (x, encoder_hidden_states)
            )
        )  # as one of another attention backend, which never asks torch
        with pytest.raises(EditError, match=r"^pipe: it was sampled without calling the edited attention"):
            edited("flux", edit)
    finally:
        transformer.set_attn_processor(before)
