"""The demo world's words, boxes and file layout, and the judge on drawings it never saw."""

import random
from dataclasses import replace

import pytest
import torch

import bench.judge  # noqa: F401  (makes p2p_core importable)
from p2p_core.demo import layout
from p2p_core.demo.scenes import SUBJECTS, Scene, parse, sample, vocabulary
from p2p_core.demo.words import END, PADDED, START, TOKENS, tokenize

SCENES = [sample(random.Random(seed)) for seed in range(300)]


def test_captions_parse_back():
    for scene in SCENES:
        assert parse(scene.caption) == replace(scene, subject_box=None, object_box=None)


def test_captions_read_as_english():
    assert (
        Scene("owl", worn="hat", relation="next to", object="car", place="at night").caption
        == "an owl wearing a hat next to a car at night"
    )
    assert parse("A smiling  dog sitting on a car") == Scene("dog", "smiling", None, "sitting on", None, "car")


@pytest.mark.parametrize("caption", ["", "a dragon", "a red cat", "a cat sitting on", "sitting on a car"])
def test_other_texts_are_refused(caption):
    with pytest.raises(ValueError, match=r"caption|relation"):
        parse(caption)


def test_every_word_is_one_token():
    assert sorted(TOKENS) == vocabulary()
    ids = tokenize("a cat sitting on a red car")
    assert (
        len(ids) == PADDED and ids[0] == START and ids[8] == END and ids[1:8] == [320, 2368, 4919, 525, 320, 736, 1615]
    )


def test_things_are_in_the_picture_and_stand_as_told():
    for scene in SCENES:
        for box in filter(None, (scene.subject_box, scene.object_box)):
            assert 0 <= box[1] < box[3] <= 1 and -0.15 < box[0] < box[2] < 1.15
        if scene.relation == "sitting on":
            assert scene.object_box[1] < scene.subject_box[3] < scene.object_box[3]
        if scene.relation == "next to":
            assert scene.subject_box[3] == scene.object_box[3]


def test_unet_names_are_one_to_one_and_in_the_file():
    tensors, metadata = layout.read()
    names = {
        layout.unet_name(name, 1)
        for name in (
            "conv_in.weight",
            "time_embedding.linear_2.bias",
            "down_blocks.1.resnets.0.conv_shortcut.weight",
            "down_blocks.0.downsamplers.0.conv.weight",
            "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
            "mid_block.resnets.1.conv2.weight",
            "up_blocks.2.attentions.1.proj_out.bias",
            "up_blocks.1.upsamplers.0.conv.bias",
        )
    }
    assert len(names) == 8 and {layout.UNET + name for name in names} <= set(tensors)
    assert metadata["unet_config"]["model_channels"] == 64


def test_file_comes_back_from_diffusers_modules_unchanged():
    modules = pytest.importorskip("p2p_core.demo.modules", exc_type=ImportError)
    tensors, _ = layout.read()
    unet, text, vae = modules.load()
    table = modules.text_core(text).embeddings.token_embedding.weight
    ids = tensors[layout.TEXT + "embeddings.token_ids"]
    state = modules.text_core(text).state_dict() | {"embeddings.token_embedding.weight": table[ids.long()]}
    again = layout.pack(unet.state_dict(), state, vae.state_dict(), 1, ids)
    assert again.keys() == tensors.keys() and all(torch.equal(again[name], tensors[name]) for name in tensors)


def test_the_judge_reads_drawings():
    pytest.importorskip("diffusers")
    from bench.judge.judge import load
    from bench.judge.train import HELD_OUT, drawings, measure

    try:
        scenes, images = drawings(range(HELD_OUT + 5000, HELD_OUT + 5060))
    except OSError:
        pytest.skip("Noto Color Emoji is not installed")
    report = measure(load(), scenes, images)
    assert report["everything"] > 0.9 and report["subject_box"] > 0.7
    assert {scene.subject for scene in scenes} >= set(SUBJECTS)
