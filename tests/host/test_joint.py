"""Transformers with joint attention through ComfyUI's real sampling: each call as its explicit maps would have it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import comfy.model_base
import comfy.model_detection
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_sd3 import SkipLayerGuidanceSD3
from prompt_to_prompt.p2p_core.demo.transformer import load_transformer
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, architecture_of, encode, load_demo
from prompt_to_prompt.p2p_core.hosts.comfy.joint import FORWARD, Asked, Forward, JointAttention, reason
from prompt_to_prompt.p2p_core.layers import parse_blocks
from prompt_to_prompt.p2p_core.rows import Evaluation
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows
from prompt_to_prompt.p2p_core.show.report import model_report
from prompt_to_prompt.p2p_core.trials.study import group_layers
from reference import joint_maps

from support.sampling import NOTHING, assert_same, plain, run, sampling
from support.small_joint_models import BLOCKS, JOINT_MODELS, POOLED, WIDTH, joint_edit, joint_prompt, small_joint_model
from support.small_models import edit_of, small_model

MODES = ("map", "layout", "key_value", "output")
CLIP_AND_T5 = ("sd3", "sd35m")
FRACTIONS = {"cross_strength": 0.7, "self_strength": 0.6}
ALWAYS = {"cross_window": Window(0, 1, "cross"), "self_window": Window(0, 1, "self")}


def settings(model: str, **more) -> dict:
    """For `run` and `plain`: some steps on a picture that is not square."""
    size = more.pop("size", (6, 4))
    return {
        "model": small_joint_model(model, more.pop("dtype", torch.float32)),
        "negative": joint_prompt("blurry", model).encoding,
        "image": {"samples": torch.zeros(more.pop("batch", 1), 16, *size)},
        "sampled": sampling(scheduler="simple", steps=more.pop("steps", 3)),
        "cfg": 3.0,
        **more,
    }


@dataclass(frozen=True)
class Seen:
    """An attention call of a run: what was asked, what came back, and what it is without any edit."""

    asked: Asked
    forward: Forward | None
    step: int
    steps: int
    out: torch.Tensor
    plain: torch.Tensor


@pytest.fixture
def seen(monkeypatch) -> list[Seen]:
    """Every attention call of the runs in this test, in order."""
    calls: list[Seen] = []
    original = JointAttention.__call__

    def watched(self, func, *args, **kwargs):
        forward = kwargs["transformer_options"].get(FORWARD)
        out = original(self, func, *args, **kwargs)
        made = Seen(Asked.of(args, kwargs), forward, self.run.step, self.run.steps, out, func(*args, **kwargs))
        calls.append(made)
        return out

    monkeypatch.setattr(JointAttention, "__call__", watched)
    return calls


def row(call: Seen, number: int, prompt) -> joint_maps.Row:
    asked = call.asked
    q, k, v = (asked.joined(x)[number].double() for x in (asked.q, asked.k, asked.v))
    hidden = torch.zeros(len(k), dtype=torch.bool)
    hidden[prompt.positions("none")] = True
    return joint_maps.Row(q, k, v, hidden)


def literal(call: Seen, edit, i: int, batch: int = 1) -> torch.Tensor:
    """What the row of edit `i` of the first picture should be, on explicit maps."""
    variant, forward = edit.variants[i], call.forward
    schedule, at = variant.schedule, (call.step, call.steps)
    base = forward.evaluations[0].base
    text = slice(0, forward.text)
    return joint_maps.edited(
        row(call, base, edit.source),
        row(call, base + (1 + i) * batch, variant.prompt),
        call.asked.heads,
        text,
        slice(forward.text, forward.text + forward.image),
        variant.alignment.matrix,
        variant.alignment.taken * torch.tensor(schedule.cross_strengths(len(variant.prompt), *at), dtype=torch.float64),
        torch.tensor(variant.weights(*at), dtype=torch.float64),
        schedule.self_strength_at(*at),
        schedule.self_mode,
    )


def assert_literal(seen: list[Seen], edit, model, tolerance: float, batch: int = 1) -> None:
    edit = edit.on(architecture_of(model))
    edited = [call for call in seen if reason(call.asked, call.forward) is None]
    assert edited
    for call in edited:
        base = call.forward.evaluations[0].base
        for i in range(len(edit.variants)):
            expected, made = literal(call, edit, i, batch), call.out[base + (1 + i) * batch].double()
            assert (made - expected).abs().max() <= tolerance * expected.abs().max()


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
def test_the_same_in_double_precision(model, mode, seen):
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
    model = SkipLayerGuidanceSD3.execute(small_joint_model("sd35m"), "1", 3.0, 0.0, 1.0)[0]
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
def test_without_a_schedule_the_layout_is_taken_in_the_first_fifth(model, seen):
    edit, how = joint_edit(model), settings(model, steps=10)
    latents, _ = run(edit, **how)
    assert_literal(seen, edit, how["model"], 5e-6)
    moved = [not torch.equal(call.out, call.plain) for call in seen]
    assert {call.step for call, one in zip(seen, moved) if one} == {0, 1}
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


# --- what a model is ---


@pytest.mark.parametrize("model", JOINT_MODELS)
def test_layers_have_the_model_s_own_names(model):
    architecture = architecture_of(small_joint_model(model))
    assert [layer.name for layer in architecture.layers] == BLOCKS[model]
    assert {(layer.kind, layer.level) for layer in architecture.layers} == {("joint", 1)}
    assert (architecture.context_width, architecture.pooled_width, architecture.pixels) == (WIDTH, POOLED, 8)
    report = model_report(architecture, model, 64, 64)
    assert BLOCKS[model][-1] in report and "joint-attention" in report
    assert [group.label for group in group_layers(architecture.layers, "block", 64, 64)] == BLOCKS[model]


def loaded(config):
    """A ModelPatcher of such a model, with whatever weights."""
    config.set_inference_dtype(torch.float32, None)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(config.get_model({}, device="cpu"), load_device=cpu, offload_device=cpu)


@pytest.mark.parametrize(("second", "blocks"), [(False, (4, 5, 7, 8, 9)), (True, (5, 7, 8, 9, 10))])
def test_blend_blocks_of_sd3_medium_are_those_of_the_literature(second, blocks):
    config_class, sizes = JOINT_MODELS["sd3"]
    sizes = {**sizes, "num_blocks": 24, "x_block_self_attn_layers": [0] if second else []}
    assert architecture_of(loaded(config_class(sizes))).blend_blocks == tuple(f"joint:{number}" for number in blocks)


def test_sd3_is_known_from_its_weights():
    weights = {
        name: torch.zeros(shape)
        for name, shape in {
            "joint_blocks.0.context_block.attn.qkv.weight": (384, 128),
            "joint_blocks.0.x_block.attn2.qkv.weight": (384, 128),
            "joint_blocks.1.context_block.attn.qkv.weight": (384, 128),
            "x_embedder.proj.weight": (128, 16, 2, 2),
            "pos_embed": (1, 256, 128),
            "context_embedder.weight": (128, 4096),
            "y_embedder.mlp.0.weight": (128, 2048),
            "final_layer.linear.weight": (64, 128),
        }.items()
    }
    architecture = architecture_of(loaded(comfy.model_detection.model_config_from_unet(weights, "")))
    assert architecture.name == "SD 3.x"
    assert [layer.name for layer in architecture.layers] == ["joint:0", "joint:1"]
    assert (architecture.context_width, architecture.pooled_width) == (4096, 2048)


# --- which calls are left alone ---


def call_of(queries: int, keys: int, rows: int = 2, key_rows: int | None = None) -> Asked:
    q, k = torch.zeros(rows, queries, 8), torch.zeros(key_rows or rows, keys, 8)
    return Asked(q, k, k, 2, None, False, False, {})


PASS = Forward((4, 4), 10, 4, 0, 2, (Evaluation(),), None)


@pytest.mark.parametrize(
    ("asked", "forward", "why"),
    [
        (call_of(14, 14), PASS, None),
        (call_of(17, 17), replace(PASS, references=3), None),
        (call_of(14, 14), None, "outside of the passes"),
        (call_of(4, 4), PASS, "the image's alone"),
        (call_of(7, 7), replace(PASS, references=3), "the image's alone"),
        (call_of(10, 10), PASS, "the text's alone"),
        (call_of(14, 14, rows=20), PASS, "20 rows of queries and 20 of keys, not 2"),
        (call_of(14, 14, key_rows=1), PASS, "2 rows of queries and 1 of keys"),
        (call_of(4, 14), PASS, "4 queries and 14 keys"),
        (call_of(15, 15), PASS, "not those of 10 positions of text and 4 of image"),
    ],
)
def test_calls_that_are_left_alone_have_a_reason(asked, forward, why):
    said = reason(asked, forward)
    assert (said is None) if why is None else (why in said)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("split_output", [False, True])
def test_a_call_is_the_same_however_a_model_writes_it(by_name, split, split_output):
    """Fewer heads of keys and values; all arguments by place, or by name."""
    given = torch.randn(2, 4, 14, 6), torch.randn(2, 2, 14, 6), torch.randn(2, 2, 14, 6)
    q, k, v = given if split else (x.transpose(1, 2).flatten(2) for x in given)
    if by_name:
        args = (q, k, v)
        kwargs = {"heads": 4, "mask": None, "skip_reshape": split, "skip_output_reshape": split_output}
    else:
        args, kwargs = (q, k, v, 4, None, None, split, split_output), {}
    asked = Asked.of(args, {**kwargs, "enable_gqa": True})
    assert (asked.heads, asked.queries, asked.keys, asked.split_output) == (4, 14, 14, split_output)
    assert asked.joined(asked.q).shape == (2, 14, 24) and asked.joined(asked.k).shape == (2, 14, 12)

    def host(q, k, v, heads, mask=None, skip_reshape=False, **more):
        assert more == {"attn_precision": None, "enable_gqa": True} or more == {"enable_gqa": True}
        assert skip_reshape == split and heads == 4
        q, k, v = (q, k, v) if split else (x.unflatten(-1, (-1, 6)).transpose(1, 2) for x in (q, k, v))
        out = torch.nn.functional.scaled_dot_product_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
        return out.transpose(1, 2).flatten(2)

    made = asked.attend(host)(*map(asked.joined, (asked.q, asked.k, asked.v)), None)
    q, k, v = given
    expected = torch.nn.functional.scaled_dot_product_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
    torch.testing.assert_close(made, expected.transpose(1, 2).flatten(2))


# --- bad input ---


class Unheard(comfy.model_base.Flux):
    """A transformer without a row."""


class PixArtTau(comfy.model_base.Flux):
    """One of a kind that can't be reached."""


class NunchakuFlux(torch.nn.Module):
    """A network of another's in Flux's place."""


def as_class(kind) -> object:
    model = small_joint_model("flux").clone()
    model.model = object.__new__(kind)
    torch.nn.Module.__init__(model.model)
    model.model.__dict__.update(small_joint_model("flux").model.__dict__)
    return model


def test_models_that_can_t_be_edited_are_refused_by_name():
    with pytest.raises(EditError, match=r"^model: Unheard .*SD 3.x and Flux.1.*joint_models.py"):
        architecture_of(as_class(Unheard))
    with pytest.raises(EditError, match=r"^model: PixArtTau computes its attention where no node can reach it"):
        architecture_of(as_class(PixArtTau))
    model = small_joint_model("flux").clone()
    model.add_object_patch("diffusion_model", NunchakuFlux())
    with pytest.raises(EditError, match=r"^model: this Flux.1 is run by NunchakuFlux.*own loaders"):
        architecture_of(model)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ({"self_layers": "quarter"}, r"^self_layers: 'quarter'.*Choose 'half' or 'all'"),
        (
            {"blocks": parse_blocks("middle")},
            r"^blocks: this model has no attention layer in 'middle'. Its blocks with attention: double:0, d",
        ),
    ],
)
def test_layers_that_the_model_lacks(schedule, message):
    with pytest.raises(EditError, match=message):
        run(joint_edit("flux").schedule(InjectSchedule(**schedule)), **settings("flux"))


def test_conditioning_of_another_model():
    with pytest.raises(
        EditError, match=r"^edit: it has embeddings of width 64, but the model expects 32. Use the CLIP that belongs"
    ):
        EditGuider(small_joint_model("flux"), edit_of(), joint_prompt("", "flux").encoding, 3.0)
    with pytest.raises(EditError, match=r"^edit: it has embeddings of width 32, but the model expects 64"):
        EditGuider(small_model("sd1"), joint_edit("flux"), joint_prompt("", "flux").encoding, 3.0)
    edit = joint_edit("flux")
    other = [[edit.source.encoding[0][0], {"pooled_output": torch.zeros(1, 99)}]]
    with pytest.raises(EditError, match=r"^negative: it has a pooled output of width 99, but the model expects 24"):
        EditGuider(small_joint_model("flux"), edit, other, 3.0)
    tokens = joint_edit("sd3")  # aligned for CLIP and T5, encoded for T5 alone
    flux = joint_edit("flux")
    with pytest.raises(EditError, match=r"^source: it has 10 tokens, but its prompt in the edit has 22"):
        run(tokens, source=flux.source.encoding, edited=flux.variants[0].prompt.encoding, **settings("sd3"))


def test_tiled_conditioning_is_refused():
    edit = joint_edit("flux")
    tiled = [[edit.source.encoding[0][0].repeat(1, 2, 1), edit.source.encoding[0][1]]]
    with pytest.raises(EditError, match=r"^source: it has 20 tokens, but its prompt in the edit has 10"):
        run(edit, source=tiled, **settings("flux"))


# --- the demo's transformer ---


@pytest.fixture(scope="module")
def demo():
    return load_demo("transformer")


def test_the_demo_s_transformer_is_a_flux_that_ksampler_draws_with(demo):
    model, clip, _ = demo
    architecture = architecture_of(model)
    assert (architecture.name, architecture.pixels) == ("Flux.1", 8)
    names = [f"double:{i}" for i in range(2)] + [f"single:{i}" for i in range(6)]
    assert [layer.name for layer in architecture.layers] == names
    edit = Edit(encode(clip, "a cat sitting on a red car")).add(encode(clip, "a dog sitting on a red car"))
    image, how = {"samples": torch.zeros(1, 4, 16, 16)}, sampling(scheduler="simple", steps=6)
    how = {"model": model, "negative": encode(clip, "").encoding, "image": image, "sampled": how, "cfg": 3.5}
    latents, finished = run(edit, **how)
    assert finished.edited and torch.isfinite(latents).all()
    assert_same(latents[:1], plain(edit.source.encoding, **how))
    assert (latents[1:] - plain(edit.variants[0].prompt.encoding, **how)).abs().max() > 1e-3


def test_the_demo_s_transformer_draws_what_its_network_draws(demo):
    """By the steps of its training: from noise to the picture along the velocity, with guidance."""
    model, clip, _ = demo
    network, metadata = load_transformer()
    (context, pooled), (nothing, of_nothing) = (
        (c[0][0], c[0][1]["pooled_output"]) for c in (encode(clip, text).encoding for text in ("a fox on a box", ""))
    )
    image, how = {"samples": torch.zeros(1, 4, 16, 16)}, sampling(scheduler="simple", steps=5)
    positive, negative = ([[c, {"pooled_output": p}]] for c, p in ((context, pooled), (nothing, of_nothing)))
    drawn = plain(positive, model, image=image, cfg=3.0, negative=negative, sampled=how)
    x = comfy.sample.prepare_noise(image["samples"], how.seed)
    times = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 5).tolist()
    for t, following in pairwise(times):
        at = torch.tensor([t])
        given, plainly = network(x, at, context, pooled), network(x, at, nothing, of_nothing)
        x = x + (following - t) * (plainly + 3.0 * (given - plainly))
    assert_same(drawn, x / metadata["latent_scale"], 1e-3)
