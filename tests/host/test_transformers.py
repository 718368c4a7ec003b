"""Every transformer of the table, through ComfyUI's real sampling: a row is tested by being there."""

from __future__ import annotations

import sys
from copy import copy

import comfy.model_management
import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import architecture_of
from prompt_to_prompt.p2p_core.hosts.comfy.joint_attention import FORWARD, JointAttention
from prompt_to_prompt.p2p_core.hosts.comfy.joint_calls import Asked, reason
from prompt_to_prompt.p2p_core.hosts.comfy.joint_models import MODELS
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows

from support.joint_oracle import Seen, assert_literal
from support.sampling import NOTHING, assert_same, plain, run
from support.small_transformers import SMALL, edit_for, row_of, settings_for, small_transformer
from tools import export_models

ALWAYS = InjectSchedule(Window(0, 1, "cross"), Window(0, 1, "self"), self_layers="all")
PARTLY = InjectSchedule(
    Window(0, 0.7),
    Window(0, 0.5),
    cross_strength=0.7,
    self_strength=0.6,
    self_layers="all",
    word_windows=parse_word_windows("car: 0.0-0.4"),
)
SOURCE, EQUAL, LONGER = "a cat on a car", "a dog on a car", "a very big dog on a car"

every = pytest.mark.parametrize("name", SMALL)


def edits_for(name: str) -> tuple[str, ...]:
    return (EQUAL, "a fox on a car") if row_of(name).pad == "none" else (LONGER, "a cat on a car at night")


def test_every_row_is_tested():
    assert {row.name for row in MODELS} == {small.row for small in SMALL.values()}


@pytest.fixture
def double(monkeypatch) -> torch.dtype:
    """Double precision: newer hosts' own kernels have none, but they have others, for training; all but one."""
    if hasattr(comfy.model_management, "in_training"):
        monkeypatch.setattr(comfy.model_management, "in_training", True)
    kernels = getattr(sys.modules.get("comfy.quant_ops"), "ck", None)
    if single := getattr(kernels, "rms_rope_split_half", None):

        def rotate(q, *given):
            return [x.to(q) for x in single(*(x.float() if isinstance(x, torch.Tensor) else x for x in (q, *given)))]

        monkeypatch.setattr(kernels, "rms_rope_split_half", rotate)
    return torch.float64


@pytest.fixture
def contexts(monkeypatch) -> list[torch.Tensor]:
    """The prompts [rows, tokens, width] of every pass of the runs in this test."""
    given: list[torch.Tensor] = []
    original = JointAttention._forward

    def watched(self, x, context, *args):
        forward = original(self, x, context, *args)
        if forward is not None:
            given.append(context[forward.evaluations[0].base :])
        return forward

    monkeypatch.setattr(JointAttention, "_forward", watched)
    return given


@pytest.fixture
def seen(monkeypatch) -> list[Seen]:
    """Every attention call of the runs in this test, in order."""
    calls: list[Seen] = []
    original = JointAttention.__call__

    def watched(self, func, *args, **kwargs):
        forward = copy(kwargs["transformer_options"].get(FORWARD))
        out = original(self, func, *args, **kwargs)
        run = self.session.run
        calls.append(Seen(Asked.of(args, kwargs), forward, run.step, run.steps, out, func(*args, **kwargs)))
        return out

    monkeypatch.setattr(JointAttention, "__call__", watched)
    return calls


@every
@pytest.mark.parametrize("mode", ["map", "layout"])
def test_each_call_is_what_its_maps_would_give(name, mode, seen):
    """With windows, of a word too, strengths, a weight, and prompts of different lengths where the model takes them."""
    edit, how = edit_for(name, SOURCE, *edits_for(name)).reweight("dog", 2.5), settings_for(name)
    edit = edit.schedule(InjectSchedule(**{**vars(PARTLY), "self_mode": mode}))
    latents, finished = run(edit, **how)
    assert finished.edited
    assert_literal(seen, edit, how["model"], 1e-5)
    mine = [call for call in seen if reason(call.asked, call.forward) is None]
    layers = architecture_of(how["model"]).layers
    assert len(mine) == 2 * len(layers), "every layer at both steps"
    for call in mine:
        source = call.forward.evaluations[0].base
        if call.forward.hidden is None:
            assert torch.equal(call.out[source], call.plain[source]), "the source is moved by exactly nothing"
    assert_same(latents[:1], plain(edit.source.encoding, **how))


@every
def test_prompts_of_any_length_are_what_each_is_alone(name, double, contexts):
    """In double precision, where what is moved by a hair, as by a place too far, can't pass for rounding."""
    edit, how = edit_for(name, SOURCE, *edits_for(name)).schedule(NOTHING), settings_for(name, dtype=double)
    latents, finished = run(edit, **how)
    assert not finished.edited
    for row, prompt in enumerate((edit.source, *(variant.prompt for variant in edit.variants))):
        assert_same(latents[row : row + 1], plain(prompt.encoding, **how), 1e-6)
        laid_out = [finished.edit.source, *(variant.prompt for variant in finished.edit.variants)][row]
        for word in () if row_of(name).adapter else prompt.words:
            (here, *_), (there, *_) = (some.find(word.text + "#1")[0] for some in (prompt, laid_out))
            given = contexts[0][row, there - row_of(name).registers]
            assert torch.equal(given.double(), prompt.encoding[0][0][0, here].double()), (
                "words are where they should be"
            )


@every
def test_the_same_words_under_full_injection_give_the_same_picture(name):
    edit = edit_for(name, SOURCE, SOURCE).schedule(ALWAYS)
    latents, finished = run(edit, **settings_for(name))
    assert finished.edited
    assert_same(latents[1], latents[0])


@every
def test_words_have_maps_and_limit_the_edit(name):
    edit = edit_for(name, SOURCE, edits_for(name)[0]).local_blend("cat", "dog", threshold=0.98, start=0.0)
    latents, finished = run(edit, keep_maps=True, **settings_for(name, size=(12, 12)))
    maps, mask = finished.maps(), finished.masks()[0]
    (dog,) = maps.variants[0].prompt.find("dog")
    assert maps.variants[0].prompt.tokens[dog[0]].text == "dog"
    of_dog = maps.variants[0].of(dog)
    assert of_dog.shape[0] == 1 and of_dog.std() > 0
    assert 0 < mask.mean() < 1, "or the test says nothing"
    outside = (mask == 0).expand_as(latents[0])
    assert_same(latents[1][outside], latents[0][outside], 1e-6)
    assert (latents[1] - latents[0]).abs().max() > 1e-3


MUCH_LONGER = f"{LONGER} {' '.join(f'word{i}' for i in range(30))}"


def test_prompts_of_different_multiples_of_32_tokens_are_what_each_is_alone(double):
    """Z-Image's picture fills itself up as well, and that counts from the start: only whole ones can be moved."""
    edit = edit_for("zimage", SOURCE, MUCH_LONGER).schedule(NOTHING)
    how = settings_for("zimage", size=(16, 8), dtype=double)
    latents, _ = run(edit, **how)
    for row, prompt in enumerate((edit.source, edit.variants[0].prompt)):
        assert_same(latents[row : row + 1], plain(prompt.encoding, **how), 1e-6)
    with pytest.raises(EditError, match=r"^source and edited: .*different multiples of 32 tokens.*such as 512 x 512"):
        run(edit, **settings_for("zimage"))


@pytest.mark.parametrize("name", [name for name, small in SMALL.items() if small.refers])
@pytest.mark.parametrize("method", [None, "index"])
def test_pictures_that_are_referred_to_keep_their_own_attention(name, method, seen):
    """As Kontext, Qwen-Image-Edit and others have them: the same for source and edits."""
    if method is not None and not hasattr(small_transformer(name).model.diffusion_model, "default_ref_method"):
        pytest.skip("it knows but one way")
    frames = [1] * SMALL[name].frames
    more = {"reference_latents": [torch.randn(1, SMALL[name].channels, *frames, *size) for size in ((4, 4), (2, 4))]}
    more |= {"reference_latents_method": method} if method else {}

    def referring(conditioning):
        return [[embeddings, {**options, **more}] for embeddings, options in conditioning]

    edit, how = edit_for(name, SOURCE, edits_for(name)[0]).schedule(PARTLY), settings_for(name)
    source, edited = referring(edit.source.encoding), referring(edit.variants[0].prompt.encoding)
    latents, _ = run(edit, source=source, edited=edited, **how)
    assert_same(latents[:1], plain(source, **how))
    level = architecture_of(how["model"]).layers[0].level
    mine = [call for call in seen if reason(call.asked, call.forward) is None]
    left_out = name == "krea2" and method is None
    assert mine and {call.forward.references for call in mine} == {0 if left_out else 24 // 4**level}
    assert_literal(seen, edit.schedule(PARTLY), how["model"], 1e-5)


@pytest.mark.parametrize("name", ["chroma", "lumina", "zimage"])
def test_pictures_that_a_model_can_t_be_edited_with_are_refused(name):
    more = {"reference_latents": [torch.randn(1, SMALL[name].channels, 4, 4)]}
    if "ref_latents" not in small_transformer(name).model.memory_usage_factor_conds:
        pytest.skip("this ComfyUI doesn't hand them to it")
    edit = edit_for(name, SOURCE, EQUAL)
    source, edited = (
        [[c[0][0], {**c[0][1], **more}]] for c in (edit.source.encoding, edit.variants[0].prompt.encoding)
    )
    with pytest.raises(EditError, match=r"^source and edited: they have reference pictures"):
        run(edit, source=source, edited=edited, **settings_for(name))


def test_the_page_of_models_is_what_the_table_says():
    assert export_models.PAGE.read_text(encoding="utf-8") == export_models.page(MODELS), (
        "run tests/tools/export_models.py"
    )


@pytest.mark.parametrize(("name", "size"), [("lumina", (8, 4)), ("wan", (10, 4)), ("cosmos", (10, 4))])
def test_a_prompt_with_as_many_positions_as_the_picture(name, size, double, seen):
    """The lengths of a call say nothing then: calls are told apart by their order."""
    edit, how = edit_for(name, SOURCE, LONGER), settings_for(name, size=size, dtype=double)
    latents, finished = run(edit.schedule(NOTHING), **how)
    forward = next(call.forward for call in seen if call.forward is not None)
    assert forward.text == forward.image
    for row, prompt in enumerate((edit.source, edit.variants[0].prompt)):
        assert_same(latents[row : row + 1], plain(prompt.encoding, **how), 1e-6)
    assert not finished.edited
    seen.clear()
    run(edit.schedule(PARTLY), **how)
    assert_literal(seen, edit.schedule(PARTLY), how["model"], 1e-6)
