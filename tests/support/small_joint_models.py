"""Transformers with joint attention, with few channels and random weights, as ComfyUI loads them."""

from __future__ import annotations

import inspect
from functools import cache

import comfy.ldm.flux.model as flux
import comfy.model_patcher
import comfy.supported_models
import torch
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token

from support.sampling import sampling

WIDTH, POOLED = 32, 24
CLIP_LENGTH, T5_LENGTH = 12, 10
SD3 = {
    "in_channels": 16,
    "input_size": None,
    "patch_size": 2,
    "depth": 2,
    "num_blocks": 3,
    "adm_in_channels": POOLED,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": WIDTH, "out_features": 128}},
    "pos_embed_max_size": 16,
    "num_patches": 256,
    "pos_embed_scaling_factor": None,
}
FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": POOLED,
    "context_in_dim": WIDTH,
    "hidden_size": 64,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 2,
    "depth_single_blocks": 2,
    "axes_dim": [8, 12, 12],
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
JOINT_MODELS = {
    "sd3": (comfy.supported_models.SD3, SD3),
    "sd35m": (comfy.supported_models.SD3, {**SD3, "qk_norm": "rms", "x_block_self_attn_layers": [0, 1]}),
    "flux": (comfy.supported_models.Flux, FLUX),
    "schnell": (comfy.supported_models.FluxSchnell, {**FLUX, "guidance_embed": False}),
}
BLOCKS = {
    "sd3": ["joint:0", "joint:1", "joint:2"],
    "sd35m": ["joint:0", "joint:1", "joint:2"],
    "flux": ["double:0", "double:1", "single:0", "single:1"],
    "schnell": ["double:0", "double:1", "single:0", "single:1"],
}


def flux_sizes(sizes: dict) -> dict:
    """Those of them that this ComfyUI's Flux knows."""
    known = inspect.signature(flux.FluxParams).parameters
    return {name: size for name, size in sizes.items() if name in known or name == "image_model"}


@cache
def small_joint_model(name: str, dtype: torch.dtype = torch.float32):
    """A ModelPatcher of "sd3", "sd35m" (with its second attention), "flux" (dev) or "schnell".

    Shared between tests: they must not change it.
    """
    return made(*JOINT_MODELS[name], dtype)


def made(config_class: type, sizes: dict, dtype: torch.dtype):
    """A ModelPatcher of a class of comfy.supported_models with random weights."""
    config = config_class(flux_sizes(sizes) if "flux" in sizes.get("image_model", "") else sizes)
    config.set_inference_dtype(dtype, None)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = config.get_model({}, device="cpu")
        draw_weights(model.diffusion_model, dtype)
    return comfy.model_patcher.ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


def draw_weights(network: torch.nn.Module, dtype: torch.dtype = torch.float32) -> None:
    """Random weights: far from 0, or a wrong map would hardly show. ComfyUI leaves them as memory had them.

    Those of queries and keys are half of the others: SD 3 has no norm of them, and float32 rounds a logit of 80 by as
    much as the tests allow.
    """
    for name, parameter in [*network.named_parameters(), *network.named_buffers()]:
        drawn = torch.randn(parameter.shape) * (0.075 if ".qkv." in name else 0.15)
        is_norm = parameter.ndim == 1 and not name.endswith("bias")
        parameter.data = (1 + drawn if is_norm else drawn).to(dtype)


def long_prompt(words: str, lengths: tuple[int, ...], width: int, pooled: int) -> Prompt:
    """A prompt of one token a word in each of some text encoders, of so many positions, as joint_prompt's."""
    spelled = [Token(1, "start"), *(Token(w, "text", w, i) for i, w in enumerate(words.split())), Token(2, "end")]
    streams = tuple(Stream((*spelled, *[Token(0, "pad")] * (n - len(spelled))), n) for n in lengths)
    generator = torch.Generator().manual_seed(sum(ord(c) * (i + 1) for i, c in enumerate(words)))
    embeddings = torch.randn(1, sum(lengths), width, generator=generator)
    return Prompt(words, streams, [[embeddings, {"pooled_output": torch.randn(1, pooled, generator=generator)}]])


def joint_prompt(words: str, model: str = "sd3", more: int = 0) -> Prompt:
    """A prompt of one token a word with an encoding drawn from the words; `more` T5 positions than usual.

    SD 3 attends to CLIP's positions and then to T5's, Flux to T5's.
    """
    spelled = [Token(word, "text", word, i) for i, word in enumerate(words.split())]
    clip = [Token(1, "start"), *spelled, Token(2, "end")]
    t5 = [*spelled, Token(1, "end")]
    length = T5_LENGTH + more
    streams = [Stream((*clip, *[Token(2, "pad")] * (CLIP_LENGTH - len(clip))), CLIP_LENGTH)] if "sd3" in model else []
    streams.append(Stream((*t5, *[Token(0, "pad")] * (length - len(t5))), length))
    generator = torch.Generator().manual_seed(sum(ord(c) * (i + 1) for i, c in enumerate(words)) + more)
    embeddings = torch.randn(1, sum(map(len, streams)), WIDTH, generator=generator)
    pooled = torch.randn(1, POOLED, generator=generator)
    return Prompt(words, tuple(streams), [[embeddings, {"pooled_output": pooled}]])


def joint_edit(model: str = "sd3", source: str = "a cat on a car", *edits: str, more: tuple[int, ...] = ()) -> Edit:
    """An Edit of plain words. `more`: T5 positions beyond the usual, of the source and each edit."""
    edits = edits or ("a big dog on a car",)
    more = more or (0,) * (1 + len(edits))
    edit = Edit(joint_prompt(source, model, more[0]))
    for words, longer in zip(edits, more[1:]):
        edit = edit.add(joint_prompt(words, model, longer))
    return edit


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
