"""Whatever is typed into the nodes, the answer is an edit or a sentence, never an error from inside."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prompt_to_prompt.nodes import AttentionInjectSchedule, AttentionLocalBlend, AttentionReweight, PromptPairAlign
from prompt_to_prompt.p2p_core.alignment import MODES
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, Sampling, load_demo, sample
from prompt_to_prompt.p2p_core.schedule import RAMPS, SELF_LAYERS, SELF_MODES

from support.small_models import NEGATIVE, edit_of, small_model

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.lists(
    st.sampled_from(["a", "cat", "dog", ",", "(red:1.3)", "[5]", "embedding:none", "猫", "🦊", "((", ":", "x" * 40])
)
TEXT = st.one_of(st.text(max_size=80), WORDS.map(" ".join), st.just("a cat " * 900))
NUMBER = st.one_of(st.floats(), st.sampled_from([-1.0, 0.0, 0.3, 1.0, 1e30]))
EDIT = edit_of("a cat on a car", "a dog on a car")


@pytest.fixture(scope="module")
def clip():
    return load_demo()[1]


def answer(node, *args, **kwargs):
    """The node's result, or None where it says what is wrong."""
    try:
        return node.execute(*args, **kwargs)
    except EditError as error:
        message = str(error)
    assert len(message) > 20
    return None


def is_read_by_the_host(clip, text: str) -> bool:
    """False where it stops at "embedding:" without a name."""
    try:
        clip.tokenize(text)
    except IndexError:
        return False
    return True


@MANY
@given(source=TEXT, edit=TEXT, mode=st.sampled_from(MODES))
def test_prompts(clip, source, edit, mode):
    made = answer(PromptPairAlign, clip, source, edit, mode)
    if made is None:
        assert mode == "replace" or not all(is_read_by_the_host(clip, text) for text in (source, edit))
        return
    alignment = made[0].variants[0].alignment
    assert made[1][0][0].shape[1] == alignment.source_length
    assert torch.isfinite(alignment.matrix).all()


@MANY
@given(words=TEXT, scale=NUMBER, start=NUMBER, end=NUMBER)
def test_reweighting(words, scale, start, end):
    made = answer(AttentionReweight, EDIT, words, scale, start, end)
    if made is not None:
        assert math.isfinite(scale)
        assert 0 <= start <= end <= 1


@MANY
@given(
    windows=st.tuples(NUMBER, NUMBER, NUMBER, NUMBER),
    strengths=st.tuples(NUMBER, NUMBER),
    choices=st.tuples(st.sampled_from(RAMPS), st.sampled_from(list(SELF_LAYERS)), st.sampled_from(SELF_MODES)),
    blocks=st.one_of(
        st.text(max_size=20), st.sampled_from(["", "input", "output:3-5", "middle, input:1", "output:9-3"])
    ),
    lines=st.one_of(st.text(max_size=40), st.sampled_from(["dog: 0-0.3", "dog: 1-0", "dog: 0.1.2-3", "dog#7: 0-1"])),
)
def test_schedules(windows, strengths, choices, blocks, lines):
    names = ("cross_strength", "self_strength", "ramp", "self_layers", "self_mode", "blocks", "word_windows")
    optional = dict(zip(names, (*strengths, *choices, blocks, lines), strict=True))
    answer(AttentionInjectSchedule, EDIT, *windows, **optional)


@MANY
@given(words=st.tuples(TEXT, TEXT, TEXT), threshold=NUMBER, start=NUMBER)
def test_local_blends(words, threshold, start):
    source, edited, subtracted = words
    answer(AttentionLocalBlend, EDIT, source, edited, threshold, start, subtracted)


@settings(max_examples=12, deadline=None)
@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    steps=st.integers(1, 3),
    cfg=st.sampled_from([0.0, 1.0, 7.5, 100.0]),
    denoise=st.sampled_from([0.0, 0.01, 0.5, 1.0]),
)
def test_sizes_and_settings(size, steps, cfg, denoise):
    edit = EDIT.local_blend("cat", "dog", start=0.0).reweight("dog", -3.0)
    guider = EditGuider(small_model("sd1"), edit, NEGATIVE, cfg)
    latent = {"samples": torch.zeros(1, 4, *size)}
    latents, run = sample(guider, latent, Sampling(1, steps, "euler", "normal", denoise))
    assert latents.shape == (2, 4, *size)
    assert run.masks().shape == (1, *size)
    assert torch.isfinite(latents).all()
