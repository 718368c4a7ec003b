"""Qwen-Image-Edit's prompts: its text encoder reads pictures before the words, by ComfyUI's own nodes."""

from __future__ import annotations

import comfy.sd
import comfy.supported_models_base
import comfy.text_encoders.llama
import comfy.text_encoders.qwen_image as qwen
import pytest
import torch
from comfy_extras.nodes_qwen import TextEncodeQwenImageEdit, TextEncodeQwenImageEditPlus
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import encode
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window

from nodes import ConditioningConcat
from support.recording import assert_as_beside
from support.sampling import NOTHING, assert_same, plain, run
from support.small_joint_models import draw_weights
from support.small_sizes import WIDTH
from support.small_transformers import SMALL, settings_for

TEXTS = "a cat on a car", "a very big dog on a car", "a cat at night"
ENCODER = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
SIGHT = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "num_heads": 2, "num_layers": 1}


@pytest.fixture(scope="module")
def clip():
    """ComfyUI's CLIP of Qwen-Image, with its own tokenizer, a small language model and small eyes."""
    module = comfy.text_encoders.llama.qwen_vl
    eyes = module.Qwen2VLVisionTransformer
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(module, "Qwen2VLVisionTransformer", lambda **given: eyes(**{**given, **SIGHT}))
        torch.manual_seed(3)
        made = comfy.sd.CLIP(
            comfy.supported_models_base.ClipTarget(qwen.QwenImageTokenizer, qwen.te()),
            model_options={"qwen25_7b_model_config": ENCODER, "dtype": torch.float32},
        )
        draw_weights(made.cond_stage_model)
    return made


def picture(seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 32, 40, 3, generator=torch.Generator().manual_seed(seed))


def with_one(clip, text: str, seed: int = 0):
    return TextEncodeQwenImageEdit.execute(clip, text, image=picture(seed))[0]


def with_two(clip, text: str, seed: int = 0):
    return TextEncodeQwenImageEditPlus.execute(clip, text, image1=picture(seed), image2=picture(7))[0]


def referring(conditioning):
    """As those nodes do with a VAE: the same pictures as latents."""
    latents = torch.randn(1, SMALL["qwen"].channels, 1, 4, 4, generator=torch.Generator().manual_seed(5))
    return [[embeddings, {**options, "reference_latents": [latents]}] for embeddings, options in conditioning]


def edit_of(clip, *texts: str) -> Edit:
    edit = Edit(encode(clip, texts[0]))
    for text in texts[1:]:
        edit = edit.add(encode(clip, text))
    return edit


@pytest.mark.parametrize(("node", "edited"), [(with_one, TEXTS[1]), (with_two, TEXTS[1]), (with_two, TEXTS[2])])
def test_prompts_of_any_length_are_what_each_is_alone(clip, node, edited):
    edit, how = edit_of(clip, TEXTS[0], edited).schedule(NOTHING), settings_for("qwen")
    texts = [referring(node(clip, text)) for text in (TEXTS[0], edited)]
    latents, _ = run(edit, source=texts[0], edited=texts[1], **how)
    for row, text in enumerate(texts):
        assert_same(latents[row : row + 1], plain(text, **how))


def test_words_are_where_the_encoder_has_them(clip):
    """It looks back only: two prompts part where their words do, and take the source's maps as their words do."""
    edit = edit_of(clip, *TEXTS[:2]).reweight("dog", 3.0).local_blend("cat", "dog", threshold=0.9, start=0.0)
    source, edited = (with_two(clip, text) for text in TEXTS[:2])
    latents, finished = run(edit, source=source, edited=edited, keep_maps=True, **settings_for("qwen", size=(12, 12)))
    (a, _), (b, _) = source[0], edited[0]
    parted = int((a[0, : a.shape[1]] - b[0, : a.shape[1]]).abs().amax(-1).gt(1e-4).nonzero()[0])
    laid_out, variant = finished.edit.source, finished.edit.variants[0]
    assert [laid_out.find("cat")[0], variant.prompt.find("very")[0]] == [(parted,), (parted,)]
    assert variant.alignment.matrix[parted, variant.prompt.find("dog")[0][0]] == 1
    assert all(variant.alignment.matrix[i, i] == 1 for i in range(parted)), "pictures take the pictures' maps"
    assert variant.reweights[0].positions == variant.prompt.find("dog")[0]
    assert finished.maps().variants[0].prompt.tokens[parted].text == "very"
    mask = finished.masks()[0]
    assert 0 < mask.mean() < 1, "or the test says nothing"
    outside = (mask == 0).expand_as(latents[0])
    assert_same(latents[1][outside], latents[0][outside], 1e-6)


def test_the_same_words_under_full_injection_give_the_same_picture(clip):
    edit = edit_of(clip, TEXTS[0], TEXTS[0]).schedule(InjectSchedule(Window(0, 1), Window(0, 1), self_layers="all"))
    text = with_two(clip, TEXTS[0])
    latents, finished = run(edit, source=text, edited=text, **settings_for("qwen"))
    assert finished.edited
    assert_same(latents[1], latents[0])


def test_edits_of_a_recorded_source(clip):
    edit, (source, edited) = edit_of(clip, *TEXTS[:2]), (with_two(clip, text) for text in TEXTS[:2])
    _, finished = assert_as_beside(edit, source=source, edited=edited, **settings_for("qwen"))
    assert finished.edited


@pytest.mark.parametrize(
    ("source", "edited"),
    [
        (lambda clip: with_one(clip, TEXTS[0]), lambda clip: with_one(clip, TEXTS[1], seed=1)),
        (lambda clip: with_one(clip, TEXTS[0]), lambda clip: with_two(clip, TEXTS[1])),
        (lambda clip: with_one(clip, TEXTS[0]), lambda clip: encode(clip, TEXTS[1]).encoding),
        (lambda clip: with_one(clip, TEXTS[0]), lambda clip: with_one(clip, f"{TEXTS[1]} at night")),
    ],
    ids=["another picture", "one more", "none", "other words"],
)
def test_pictures_and_words_have_to_be_the_same(clip, source, edited):
    edit = edit_of(clip, *TEXTS[:2])
    with pytest.raises(EditError, match=r"^source and edited: before the words .*the same pictures for both"):
        run(edit, source=source(clip), edited=edited(clip), **settings_for("qwen"))


def test_what_is_joined_behind_is_no_picture(clip):
    edit, more = edit_of(clip, *TEXTS[:2]), encode(clip, "in a photograph").encoding
    texts = [ConditioningConcat().concat(encode(clip, text).encoding, more)[0] for text in TEXTS[:2]]
    with pytest.raises(EditError, match=r"^source: .*lengthened on the way.*Join the texts in PromptPairAlign"):
        run(edit, source=texts[0], edited=texts[1], **settings_for("qwen"))
