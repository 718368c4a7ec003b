"""Prompts as the text encoders of SD 3 and Flux see them: their real tokenizers, with encodings of nothing."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from comfy.text_encoders.flux import FluxTokenizer
from comfy.text_encoders.sd3_clip import SD3Tokenizer
from prompt_to_prompt.p2p_core.alignment import align
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import encode, encodings

SCRIPTS = ["crème café", "o'clock don't", "1990 x2", "t-shirt (red)", "a,b;c"]
LONG = "a fox sitting on a red car in the snow, " * 12


class Clip:
    """ComfyUI's CLIP of SD 3 or Flux, some of whose encoders may be missing; its encodings are as long as theirs."""

    def __init__(self, tokenizer, *encoders: str):
        self.tokenizer = tokenizer()
        every = ("clip_l", "clip_g", "t5xxl") if tokenizer is SD3Tokenizer else ("clip_l", "t5xxl")
        self.cond_stage_model = SimpleNamespace(**{name: name if name in encoders else None for name in every})
        self.in_context = [("g", "clip_g"), ("t5xxl", "t5xxl")] if tokenizer is SD3Tokenizer else [("t5xxl", "t5xxl")]

    def tokenize(self, text, **how):
        return self.tokenizer.tokenize_with_weights(text, **how)

    def encode_from_tokens_scheduled(self, tokens):
        lengths = [sum(map(len, tokens[key])) for key, name in self.in_context if getattr(self.cond_stage_model, name)]
        return [[torch.zeros(1, sum(lengths), 8), {"pooled_output": torch.zeros(1, 4)}]]


@pytest.fixture(scope="module")
def sd3():
    return Clip(SD3Tokenizer, "clip_l", "clip_g", "t5xxl")


@pytest.fixture(scope="module")
def flux():
    return Clip(FluxTokenizer, "clip_l", "t5xxl")


def words(prompt):
    return [word.text for word in prompt.words]


def test_sd3_has_clip_s_positions_and_then_t5_s(sd3):
    prompt = encode(sd3, "a (cat:1.3), sitting on a Car")
    assert list(map(len, prompt.streams)) == [77, 77]
    assert len(prompt) == prompt.encoding[0][0].shape[1]
    assert words(prompt) == ["a", "cat", ",", "sitting", "on", "a", "car"]
    (cat,) = prompt.find("cat")
    assert cat[0] < 77 <= cat[1]
    clip, t5 = prompt.streams
    assert [len(clip.positions(kind)) for kind in ("start", "end")] == [1, 1]
    assert [len(t5.positions(kind)) for kind in ("start", "end")] == [0, 1]


def test_without_t5_sd3_has_clip_s_positions_alone():
    prompt = encode(Clip(SD3Tokenizer, "clip_l", "clip_g"), "a cat")
    assert list(map(len, prompt.streams)) == [77] and len(prompt) == prompt.encoding[0][0].shape[1]


def test_without_clip_sd3_has_t5_s_positions_alone():
    prompt = encode(Clip(SD3Tokenizer, "t5xxl"), "a cat")
    assert list(map(len, prompt.streams)) == [77] and not prompt.positions("start")


def test_flux_has_t5_s_positions_alone(flux):
    prompt = encode(flux, "a cat, on a Car")
    assert list(map(len, prompt.streams)) == [256] == [prompt.encoding[0][0].shape[1]]
    assert words(prompt) == ["a", "cat", ",", "on", "a", "Car"]
    assert prompt.find("car") == [tuple(i for i, t in enumerate(prompt.tokens) if t.text == "Car")]


@pytest.mark.parametrize("text", SCRIPTS)
def test_words_are_found_in_each_stream(sd3, flux, text):
    for clip, streams in ((sd3, 2), (flux, 1)):
        prompt = encode(clip, f"in {text} car")
        (found,) = prompt.find(text)
        starts = [*prompt.offsets, len(prompt)]
        assert all(any(a <= i < b for i in found) for a, b in pairwise(starts)), words(prompt)
        assert len(prompt.streams) == streams


def test_long_prompts_are_longer(sd3, flux):
    assert len(encode(sd3, LONG).streams[0]) == 154
    prompt = encode(flux, LONG * 3)
    assert len(prompt) == prompt.encoding[0][0].shape[1] > 256
    assert len(prompt.find("fox")) == 36


def test_words_and_pads_are_aligned_in_each_stream(sd3):
    source, edit = encode(sd3, "a cat on a car"), encode(sd3, "a big dog on a car")
    matrix = align(source, edit).matrix
    assert not matrix[:77, 77:].any() and not matrix[77:, :77].any(), "no word of one encoder is another's"
    for start in (0, 77):
        words_of = ((source, "cat"), (edit, "dog"))
        cat, dog = (next(i for i in p.find(word)[0] if start <= i < start + 77) for p, word in words_of)
        assert matrix[cat, dog] == 1
    pads = [j for j in edit.positions("pad") if source.tokens[j].kind == "pad" and j >= 77]
    assert len(pads) > 60 and all(matrix[j, j] > 0 for j in pads), "each pad's is the one in its place"
    (end,) = (p for p in edit.streams[1].positions("end"))
    assert matrix[77 + source.streams[1].positions("end")[0], 77 + end] == 1


def test_encoders_of_other_models_are_refused(flux):
    class Other(Clip):
        def tokenize(self, text, **how):
            return {"hydit_clip": [[(0, 1.0, 0)]], "mt5xl": [[(0, 1.0, 0)]]}

    with pytest.raises(EditError, match=r"^clip: this is a text encoder of hydit_clip, mt5xl.*SD 3.x, Flux.1"):
        encode(Other(FluxTokenizer, "t5xxl"), "a cat")


def test_encodings_of_different_lengths_are_filled_up_but_clip_s_are_tiled(sd3, flux):
    """A node that aligns prompts knows no model; the least common length of T5's would be enormous."""
    for clip in (sd3, flux):
        short, long = encode(clip, "a cat"), encode(clip, LONG * 3)
        assert len(short) < len(long)
        ((embeddings, options),) = encodings([short, long])
        assert embeddings.shape[:2] == (2, len(long)) and options["pooled_output"].shape[0] == 2
    clip = Clip(SD3Tokenizer, "clip_l", "clip_g")  # as SDXL's
    prompts = [encode(clip, "a cat"), encode(clip, LONG), encode(clip, LONG * 2)]
    ((embeddings, _),) = encodings(prompts)
    assert [embeddings.shape[1] % len(prompt) for prompt in prompts] == [0, 0, 0]
