"""Prompts as a real text encoder sees them: weights, embeddings, long texts, other scripts."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import pytest
import torch
from comfy.sdxl_clip import SDXLTokenizer
from prompt_to_prompt.nodes import AttentionReweight, PromptPairAlign
from prompt_to_prompt.p2p_core.alignment import MODES
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import encode, load_demo
from safetensors.torch import save_file

from support.sampling import NOTHING, assert_same, plain, run, sampling

SCRIPTS = ["猫坐在汽车上", "кот на машине", "🦊🐻", "naïve café", "o'clock don't", "1990 x2", "mañana"]
LONG = "a fox sitting on a red car in the snow, " * 12


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    save_file({"emb_params": torch.randn(3, 128) * 0.1}, folder / "style.safetensors")
    folder_paths.add_model_folder_path("embeddings", str(folder))
    return load_demo()


def words(prompt):
    return [word.text for word in prompt.words]


def test_a_prompt_is_read_as_the_encoder_reads_it(demo):
    _, clip, _ = demo
    prompt = encode(clip, "a (cat:1.3), sitting on a [red] Car. embedding:style end")
    assert words(prompt) == ["a", "cat", ",", "sitting", "on", "a", "[", "red", "]", "car", ".", "style", "end"]
    assert len(prompt.find("style")[0]) == 3
    assert [token.kind for token in prompt.tokens].count("end") == 1
    assert prompt.encoding[0][0].shape == (1, len(prompt), 128)
    assert prompt.find("CAR") == prompt.find("car.") == prompt.find("Car")
    assert torch.equal(prompt.encoding[0][0], clip.encode_from_tokens_scheduled(clip.tokenize(prompt.text))[0][0])


@pytest.mark.parametrize("text", SCRIPTS)
def test_words_of_any_script_are_found(demo, text):
    prompt = encode(demo[1], f"a {text} car")
    found = prompt.find(text)
    assert len(found) == 1 and found[0], words(prompt)
    assert "".join(words(prompt)).replace(" ", "") == f"a{text}car".replace(" ", "").lower()


def test_a_long_prompt_has_as_many_tokens_as_its_encoding(demo):
    prompt = encode(demo[1], LONG)
    assert len(prompt) == prompt.encoding[0][0].shape[1] == 154
    assert len(prompt.find("fox")) == 12
    assert prompt.find("fox#12")[0][0] > 77
    assert [token.kind for token in prompt.tokens].count("start") == 2


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "replace"])
@pytest.mark.parametrize(
    "texts",
    [
        ("a cat sitting on a car", LONG),
        (LONG, "a cat sitting on a car"),
        ("a cat", "a (cat:1.4) embedding:style, in the snow"),
        ("", "a cat"),
        ("a cat", ""),
        ("a cat next to a cat", "a cat next to a supercalifragilistic dog"),
    ],
)
def test_any_pair_of_prompts_is_edited(demo, texts, mode):
    model, clip, _ = demo
    edit, source, edited = PromptPairAlign.execute(clip, *texts, mode)
    negative = clip.encode_from_tokens_scheduled(clip.tokenize(""))

    how = {"model": model, "negative": negative, "cfg": 4.0, "sampled": sampling(steps=3)}
    latents, _ = run(edit.schedule(NOTHING), **how)
    for row, conditioning in zip(latents, (source, edited)):
        assert_same(row[None], plain(conditioning, **how))
    injected, _ = run(edit, **how)
    assert torch.isfinite(injected).all()
    assert_same(injected[:1], latents[:1])


def test_an_empty_edit_prompt_means_the_source_s(demo):
    edit, source, edited = PromptPairAlign.execute(demo[1], "a cat on a car", "  ", "auto")
    assert torch.equal(source[0][0], edited[0][0])
    assert edit.variants[0].prompt.text == "a cat on a car"
    AttentionReweight.execute(edit, "car", 3.0, 0.0, 1.0)


def test_several_edits_share_one_source(demo):
    edit, *_ = PromptPairAlign.execute(demo[1], "a cat on a car", "a dog on a car", "auto")
    both, _, edited = PromptPairAlign.execute(demo[1], "a cat on a car", LONG, "auto", edit=edit)
    assert len(both.variants) == 2 and edited[0][0].shape[:2] == (2, 154)
    with pytest.raises(EditError, match="source_prompt"):
        PromptPairAlign.execute(demo[1], "a lion on a car", "a dog on a car", "auto", edit=edit)


def test_the_demo_model_warns_of_words_it_does_not_know(demo, caplog):
    encode(demo[1], "a giraffe sitting on a car, and a zebra")
    assert "giraffe" in caplog.text and "zebra" in caplog.text
    caplog.clear()
    encode(demo[1], "a fox sitting on a red car in the snow")
    assert not caplog.text


WORDS = {
    "a lovely-dog is eating an apple": ["a", "lovely-dog", "is", "eating", "an", "apple"],
    "a photo from 1990": ["a", "photo", "from", "1990"],
    "don't, o'clock": ["don't", ",", "o'clock"],
    "a (lovely-dog:1.2) (weights:1.2)": ["a", "lovely-dog", "weights"],
    "3.5 m at 16:9, 1,000 cats.": ["3.5", "m", "at", "16:9", ",", "1,000", "cats", "."],
    "猫坐在汽车上": ["猫", "坐", "在", "汽", "车", "上"],
    "猫が車に乗っている": ["猫", "が", "車", "に", "乗", "っている"],
    "テレビとラーメン": ["テレビ", "と", "ラーメン"],
    "고양이가 차에": ["고양이가", "차에"],
    "🦊🐻 👨‍👩‍👧, 🇩🇪🇫🇷 👍🏽": ["🦊", "🐻", "👨‍👩‍👧", ",", "🇩🇪", "🇫🇷", "👍🏽"],
    "हिन्दी में बिल्ली": ["हिन्दी", "में", "बिल्ली"],
    "the 2nd car of the 1990s, $5.00": ["the", "2nd", "car", "of", "the", "1990s", ",", "$5.00"],
    "it's O'Brien’s state-of-the-art e-bike": ["it's", "o'brien’s", "state-of-the-art", "e-bike"],
    "❤️ 1️⃣ 👩🏽‍🚀 🏳️‍🌈": ["❤️", "1️⃣", "👩🏽‍🚀", "🏳️‍🌈"],
    "a 猫cat на 日本のcafé": ["a", "猫", "cat", "на", "日", "本", "の", "café"],
    "ไทย cat": ["ไ", "ท", "ย", "cat"],
    "a cat—a dog... f/1.8": ["a", "cat", "—", "a", "dog", "...", "f", "/", "1.8"],
}


@pytest.mark.parametrize("text", WORDS)
def test_a_word_is_what_a_person_calls_a_word(demo, text):
    prompt = encode(demo[1], text)
    assert words(prompt) == WORDS[text]
    assert sorted(i for word in prompt.words for i in word.positions) == prompt.positions("text")


@pytest.mark.parametrize(
    ("source", "edit", "old", "new"),
    [
        ("a lion is eating an apple", "a lovely-dog is eating an apple", "lion", "lovely-dog"),
        ("a photo from 1990", "a photo from yesterday", "1990", "yesterday"),
        ("I don't know", "I do know", "don't", "do"),
        ("猫坐在汽车上", "狗坐在汽车上", "猫", "狗"),
        ("猫が車に乗っている", "犬が車に乗っている", "猫", "犬"),
        ("고양이가 차에 앉아", "강아지가 차에 앉아", "고양이가", "강아지가"),
        ("a 🐱 on a car", "a 🐶 on a car", "🐱", "🐶"),
        ("a 3.5 m boat", "a small m boat", "3.5", "small"),
        ("1,000 cats", "two cats", "1,000", "two"),
        ("O'Brien on a car", "a on a car", "O'Brien", "a#1"),
        ("a state-of-the-art car", "a (red:1.2) car", "state-of-the-art", "red"),
        ("the 2nd car", "the 👨‍👩‍👧 car", "2nd", "👨‍👩‍👧"),
        ("кот на машине", "собака на машине", "кот", "собака"),
        ("a 猫 on a car", "a cat on a car", "猫", "cat"),
    ],
)
@pytest.mark.parametrize("mode", ["replace", "auto"])
def test_a_word_for_a_word_is_swapped_and_what_stays_keeps_its_tokens(demo, source, edit, old, new, mode):
    pair, *_ = PromptPairAlign.execute(demo[1], source, edit, mode)
    links = pair.variants[0].alignment.links
    before, after = pair.source, pair.variants[0].prompt
    (swapped,) = [link for link in links if link.swapped]
    assert (swapped.sources, swapped.edits) == (before.find(old)[0], after.find(new)[0])
    kept = [link for link in links if not link.swapped and before.tokens[link.sources[0]].kind == "text"]
    assert all(len(link.sources) == len(link.edits) == 1 for link in kept)
    assert len(kept) == len(before.positions("text")) - len(swapped.sources)


@pytest.mark.parametrize(
    ("text", "phrase", "letters"),
    [
        ("a lovely-dog", "dog", "dog"),
        ("blue_hair, red eyes", "hair", "hair"),
        ("고양이가 차에", "고양이", "고양이"),
        ("猫が車に乗っている", "車に", "車に"),
        ("白猫坐着", "猫坐", "猫坐"),
    ],
)
def test_a_part_of_a_word_can_be_named(demo, text, phrase, letters):
    (place,) = encode(demo[1], text).find(phrase)
    whole = encode(demo[1], text)
    parts = [part for part in whole.streams[0].parts if set(part.positions) <= set(place)]
    assert "".join(part.text for part in parts) == letters


def test_part_of_a_tokenizer_s_piece_is_no_word(demo):
    assert encode(demo[1], "a catalog of dogs").find("cat") == []
    assert [len(place) for place in encode(demo[1], "a dog and a dog-house").find("dog")] == [1]


EMBEDDINGS = {
    "a cat embedding:missing, embedding:style in snow": ["a", "cat", "style", "in", "snow"],
    "embedding:style,red car, embedding:style": ["car", ",", "style"],
    "embedding:style, a cat": ["style", ",", "a", "cat"],
    "(embedding:style:1.2) embedding:none here": ["style", "here"],
    "a cat\nembedding:style": ["a", "cat", "style"],
    "(a embedding:style cat:0.8), embedding:style:": ["a", "style", "cat", ","],
    "embedding:STYLE, embedding:style(cat)": ["style", "cat"],
}


@pytest.mark.parametrize("text", EMBEDDINGS)
def test_embeddings_are_called_as_those_that_load(demo, text):
    prompt = encode(demo[1], text)
    spoken = [word for word in words(prompt) if word != "," or "," in EMBEDDINGS[text]]
    assert spoken == EMBEDDINGS[text]
    (place,) = prompt.find("style")
    assert len(place) == 3 and all(isinstance(prompt.tokens[i].id, str) for i in place)


@pytest.mark.parametrize("text", ["embedding:", "a cat embedding: ", "a (embedding:) cat", "(embedding::1.2)"])
def test_an_embedding_without_a_name_is_refused(text, demo):
    with pytest.raises(EditError, match="edit_prompt: there is no name after 'embedding:'"):
        encode(demo[1], text, "edit_prompt")


@pytest.mark.parametrize("text", ["a cat embedding:other in snow", "embedding:other a cat embedding:style"])
def test_an_embedding_of_another_model_has_no_place_as_it_has_none_in_the_encoding(demo, text):
    folder = Path(demo[1].tokenizer.clip_l.embedding_directory[-1])
    save_file({"emb_params": torch.randn(2, 768)}, folder / "other.safetensors")
    prompt, without = (
        encode(demo[1], text),
        encode(demo[1], text.replace("embedding:other", "").replace("  ", " ").strip()),
    )
    assert words(prompt) == words(without)
    assert [token.id for token in prompt.tokens] == [token.id for token in without.tokens]
    assert torch.equal(prompt.encoding[0][0], without.encoding[0][0])


class Both:
    """SDXL's pair of text encoders, as far as a prompt is read: the real tokenizers, and no encoding."""

    def __init__(self, folder):
        self.tokenizer = SDXLTokenizer(embedding_directory=str(folder))

    def tokenize(self, text, return_word_ids=False):
        return self.tokenizer.tokenize_with_weights(text, return_word_ids)

    def encode_from_tokens_scheduled(self, tokens):
        return [[torch.zeros(1, 77, 8), {}]]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdxl")
    save_file({"clip_l": torch.randn(2, 768), "clip_g": torch.randn(2, 1280)}, folder / "both.safetensors")
    save_file({"emb_params": torch.randn(2, 768)}, folder / "small.safetensors")
    return Both(folder)


def test_an_embedding_of_both_encoders_moves_words_in_both(both):
    assert words(encode(both, "a cat embedding:both in snow")) == ["a", "cat", "both", "in", "snow"]


@pytest.mark.parametrize("text", ["a cat embedding:small in snow", "embedding:small a cat embedding:both"])
def test_an_embedding_of_one_encoder_that_moves_words_apart_is_refused_by_name(both, text):
    with pytest.raises(EditError, match=r"^source_prompt: the embedding 'small'.*at the end"):
        encode(both, text, "source_prompt")


@pytest.mark.parametrize("text", ["a cat embedding:small", "a cat embedding:both embedding:small"])
def test_an_embedding_of_one_encoder_at_the_end_is_no_trouble(both, text):
    assert words(encode(both, text))[-1] == "small"
