"""Prompts as the text encoders of the newer transformers see them: their real tokenizers, with encodings of nothing."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import comfy.text_encoders.spiece_tokenizer as spiece
import pytest
import torch
from prompt_to_prompt.p2p_core.alignment import align
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import encode, encodings
from prompt_to_prompt.p2p_core.spelling import byte_level, sentencepiece
from prompt_to_prompt.p2p_core.spelling.clip import Piece
from prompt_to_prompt.p2p_core.tokens import Stream
from transformers import CLIPTokenizer, Qwen2Tokenizer, T5TokenizerFast

# What comes with checkpoints in place of ComfyUI, for which another vocabulary of the kind stands here.
PIECES = Path(spiece.__file__).parent / "t5_pile_tokenizer" / "tokenizer.model"


class Clip:
    """ComfyUI's CLIP of one of the models; its encodings are as long as theirs: some cut the front off."""

    def __init__(self, module: str, tokenizer: str, of_context: str, cut_to: str | None = None, llama: str = ""):
        try:
            made = getattr(importlib.import_module(f"comfy.text_encoders.{module}"), tokenizer)
        except (ImportError, AttributeError):
            pytest.skip(f"this ComfyUI has no {tokenizer}")
        self.tokenizer = made(
            tokenizer_data={"spiece_model": torch.frombuffer(bytearray(PIECES.read_bytes()), dtype=torch.uint8)}
        )
        self.cond_stage_model = SimpleNamespace()
        self.of_context, self.cut_to, self.llama = of_context, cut_to, llama

    def tokenize(self, text, **how):
        return self.tokenizer.tokenize_with_weights(text, **how)

    def llama_of(self, text: str) -> list[int]:
        return [token for chunk in self.tokenizer.llama.tokenize_with_weights(text) for token, _ in chunk]

    def encode_from_tokens_scheduled(self, tokens):
        ids = [token for chunk in tokens[self.of_context] for token, _ in chunk]
        if self.cut_to:  # the template, up to the second time that somebody speaks
            ids = ids[[i for i, one in enumerate(ids) if one == 151644][1] + 3 :]
        options = {"pooled_output": torch.zeros(1, 4)}
        if self.llama:
            options["conditioning_llama3"] = torch.zeros(1, 2, sum(map(len, tokens[self.llama])), 8)
        if "qwen3_06b" in tokens:
            t5 = tokens["t5xxl"][0]
            options |= {
                "t5xxl_ids": torch.tensor([one for one, _ in t5]),
                "t5xxl_weights": torch.tensor([w for _, w in t5]),
            }
        return [[torch.zeros(1, len(ids), 8), options]]


CLIPS = {
    "Chroma": ("pixart_t5", "PixArtTokenizer", "t5xxl"),
    "Cosmos": ("cosmos", "CosmosT5Tokenizer", "t5xxl"),
    "AuraFlow": ("aura_t5", "AuraT5Tokenizer", "pile_t5xl"),
    "Wan": ("wan", "WanT5Tokenizer", "umt5xxl"),
    "Lumina": ("lumina2", "LuminaTokenizer", "gemma2_2b"),
    "Qwen-Image": ("qwen_image", "QwenImageTokenizer", "qwen25_7b", "user"),
    "Z-Image": ("z_image", "ZImageTokenizer", "qwen3_4b"),
    "Klein": ("flux", "KleinTokenizer", "qwen3_4b"),
    "OmniGen2": ("omnigen2", "Omnigen2Tokenizer", "qwen25_3b"),
    "Krea2": ("krea2", "Krea2Tokenizer", "qwen3vl_4b", "user"),
    "HiDream": ("hidream", "HiDreamTokenizer", "t5xxl", None, "llama"),
    "Anima": ("anima", "AnimaTokenizer", "qwen3_06b"),
}
SCRIPTS = ["cream", "don't", "1990", "lovely-dog"]


@cache
def clip_of(model: str) -> Clip:
    return Clip(*CLIPS[model])


@pytest.fixture(scope="module", autouse=True)
def read_once():
    """Vocabularies take long to read, and many models have the same."""
    with pytest.MonkeyPatch.context() as patch:
        for tokenizer in (Qwen2Tokenizer, T5TokenizerFast, CLIPTokenizer):
            patch.setattr(tokenizer, "from_pretrained", cache(tokenizer.from_pretrained))
        yield
    clip_of.cache_clear()


@pytest.fixture(params=CLIPS)
def clip(request):
    made = clip_of(request.param)
    if made.llama and "\u0120cat" not in (made.tokenizer.llama.inv_vocab[i] for i in made.llama_of("a cat")):
        pytest.skip("this transformers drops the blanks between Llama's words, and each would be another's")
    return made


def words(prompt):
    return [word.text for word in prompt.words]


def test_words_are_those_of_the_prompt(clip):
    prompt = encode(clip, "a lovely-dog, sitting on a Car")
    assert "".join(words(prompt)) == "alovely-dog,sittingonaCar"
    assert [word for word in words(prompt) if word.isalpha()][-4:] == ["sitting", "on", "a", "Car"]
    (car,) = prompt.find("car")
    assert "".join(prompt.tokens[i].text for i in car) == "Car" * len(prompt.streams)
    for stream in prompt.streams:
        assert len(stream.places("dog")) == 1 == len(stream.places("lovely-dog"))


def test_positions_are_those_that_the_model_attends_to(clip):
    prompt = encode(clip, "a cat on a car")
    ((embeddings, options),) = prompt.encoding
    more = 2 * options["conditioning_llama3"].shape[-2] if clip.llama else 0
    if "t5xxl_ids" in options:
        assert [token.id for token in prompt.tokens] == options["t5xxl_ids"].tolist()
    else:
        assert len(prompt) == embeddings.shape[1] + more
        ids = [token for chunk in clip.tokenize("a cat on a car")[clip.of_context] for token, _ in chunk]
        mine = prompt.streams[0].tokens
        assert [token.id for token in mine] == ids[len(ids) - len(mine) :]


@pytest.mark.parametrize("text", SCRIPTS)
def test_words_are_found_wherever_they_are(clip, text):
    prompt = encode(clip, f"in {text} car")
    (found,) = prompt.find(text)
    assert found and not set(found) & set(prompt.find("car")[0])


def test_templates_and_ends_are_aligned_each_with_its_own(clip):
    source, edit = encode(clip, "a cat on a car"), encode(clip, "a big dog on a car")
    made = align(source, edit)
    (cat, *_), (dog, *_) = source.find("cat")[0], edit.find("dog")[0]
    assert made.matrix[cat, dog] > 0
    for kind in ("start", "end"):
        mine, theirs = source.positions(kind), edit.positions(kind)
        assert len(mine) == len(theirs)
        assert all(made.matrix[i, j] == 1 for i, j in zip(mine, theirs))
    assert not made.taken[list(edit.find("big")[0])].any()


def test_encodings_of_several_edits_are_one_conditioning(clip):
    edit = Edit(encode(clip, "a cat")).add(encode(clip, "a dog")).add(encode(clip, "a very big dog on a car"))
    ((embeddings, _),) = encodings([variant.prompt for variant in edit.variants])
    assert len(embeddings) == 2


def test_a_prompt_with_a_template_of_its_own_is_all_words(monkeypatch):
    qwen = clip_of("Qwen-Image")
    monkeypatch.setattr(qwen, "cut_to", None)
    prompt = encode(qwen, "<|im_start|>user\na cat<|im_end|>\n")
    assert not prompt.positions("start") and prompt.find("cat")


@pytest.mark.parametrize(
    "text", ["crème café", "一只猫坐在红色的汽车上", "a 🐈 and a 🐕", "ประเทศไทย", "a\n\nb", "  a   b  "]
)
def test_byte_level_words_of_any_script(text):
    prompt = encode(clip_of("Z-Image"), text)
    assert "".join(words(prompt)) == "".join(text.split())


def test_a_letter_in_bytes_is_one_piece():
    pieces = [
        Piece(i, spelling, 1) for i, spelling in enumerate(["▁a", "▁", "<0xF0>", "<0x9F>", "<0x90>", "<0x88>", "▁b"])
    ]
    tokens = sentencepiece.spell(pieces)
    assert [word.text for word in Stream(tuple(tokens), 7).words] == ["a", "🐈", "b"]


def test_an_embedding_among_byte_level_s_is_a_word():
    pieces = [Piece(0, "a", 1), Piece("x", None, 2, "style"), Piece("y", None, 2), Piece(1, "Ġb", 3)]
    tokens = byte_level.spell(pieces)
    assert [word.text for word in Stream(tuple(tokens), 4).words] == ["a", "style", "b"]
