"""Transformers as models: their layers, the calls that are left alone, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import comfy.model_base
import comfy.model_detection
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, architecture_of
from prompt_to_prompt.p2p_core.hosts.comfy.joint_calls import Asked, Forward, reason
from prompt_to_prompt.p2p_core.layers import parse_blocks
from prompt_to_prompt.p2p_core.rows import Evaluation
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window
from prompt_to_prompt.p2p_core.show.report import model_report
from prompt_to_prompt.p2p_core.trials.study import group_layers

from support.sampling import run
from support.small_joint_models import (
    BLOCKS,
    JOINT_MODELS,
    POOLED,
    WIDTH,
    joint_edit,
    joint_prompt,
    settings,
    small_joint_model,
)
from support.small_models import edit_of, small_model

MODES = ("map", "layout", "key_value", "output")
CLIP_AND_T5 = ("sd3", "sd35m")
FRACTIONS = {"cross_strength": 0.7, "self_strength": 0.6}
ALWAYS = {"cross_window": Window(0, 1, "cross"), "self_window": Window(0, 1, "self")}


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


def loaded(config, device: str = "cpu"):
    """A ModelPatcher of such a model, with whatever weights."""
    config.set_inference_dtype(torch.float32, None)
    where, network = torch.device(device), config.get_model({}, device=device)
    return comfy.model_patcher.ModelPatcher(network, load_device=where, offload_device=where)


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


@pytest.mark.parametrize(("guidance", "config"), [(True, "Flux"), (False, "FluxSchnell")])
def test_flux_is_known_from_its_weights(guidance, config):
    """At its own width: ComfyUI before 0.9 gives every Flux 24 heads of 128. So nothing of it is allocated."""
    weights = {
        "img_in.weight": (3072, 64),
        "txt_in.weight": (3072, 4096),
        "vector_in.in_layer.weight": (3072, 768),
        "double_blocks.0.img_attn.norm.key_norm.scale": (128,),
        "double_blocks.1.img_attn.norm.key_norm.scale": (128,),
        "single_blocks.0.norm.key_norm.scale": (128,),
    }
    weights |= {"guidance_in.in_layer.weight": (3072, 256)} if guidance else {}
    weights = {name: torch.zeros(shape, device="meta") for name, shape in weights.items()}
    known = comfy.model_detection.model_config_from_unet(weights, "")
    assert type(known).__name__ == config
    architecture = architecture_of(loaded(known, "meta"))
    assert architecture.name == "Flux.1"
    assert [layer.name for layer in architecture.layers] == ["double:0", "double:1", "single:0"]
    assert {(layer.heads, layer.head_dim, layer.level) for layer in architecture.layers} == {(24, 128, 1)}
    assert (architecture.context_width, architecture.pooled_width) == (4096, 768)


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


def test_a_run_in_which_every_call_was_left_alone_says_why():
    """As with a node that gives the network more words than the model was asked with."""
    how = settings("flux")
    model = how["model"].clone()

    def with_more_words(executor, x, timestep, context, *more, **options):
        return executor(x, timestep, torch.cat([context, context[:, :3]], 1), *more, **options)

    model.add_wrapper(WrappersMP.DIFFUSION_MODEL, with_more_words)
    with pytest.raises(
        EditError,
        match=r"^model: none of its attention could be edited: it has \d+ queries .* 10 pos[^;]*\. Take out nodes",
    ):
        run(joint_edit("flux"), **{**how, "model": model})


# --- bad input ---


class Unheard(comfy.model_base.Flux):
    """A transformer without a row."""


class NunchakuFlux(torch.nn.Module):
    """A network of another's in Flux's place."""


def as_class(kind) -> object:
    model = small_joint_model("flux").clone()
    model.model = object.__new__(kind)
    torch.nn.Module.__init__(model.model)
    model.model.__dict__.update(small_joint_model("flux").model.__dict__)
    return model


def test_models_that_can_t_be_edited_are_refused_by_name():
    with pytest.raises(EditError, match=r"^model: Unheard .*SD 3.x, Flux.1.*joint_models.py.*tests/README.md"):
        architecture_of(as_class(Unheard))
    for name in ("PixArtSigma", "HunyuanDiT1", "ErnieImage"):
        with pytest.raises(EditError, match=rf"^model: {name} computes its attention where no node can reach it"):
            architecture_of(as_class(type(name, (comfy.model_base.Flux,), {})))
    for name in ("QwenImage21", "HunyuanImage21", "ChromaRadiance", "WAN21_Vace"):
        with pytest.raises(EditError, match=rf"^model: {name} .*no transformer that prompt-to-prompt knows"):
            architecture_of(as_class(type(name, (comfy.model_base.Flux,), {})))
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
