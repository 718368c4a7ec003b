"""Prompts as a real text encoder sees them: weights, embeddings, long texts, other scripts."""

from __future__ import annotations

import folder_paths
import pytest
import torch
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
