"""A small model with random weights for each row of the table of transformers, and prompts as long as any."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from inspect import signature

import comfy.model_patcher
import comfy.supported_models
import pytest
import torch
from comfy.ldm.chroma.model import ChromaParams
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy.joint_models import MODELS, JointModel
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token

from support.sampling import sampling
from support.small_joint_models import FLUX, SD3, draw_weights, flux_sizes

WIDTH, POOLED = 32, 24


@dataclass(frozen=True)
class Small:
    """How a model of a row is made small.

    Attributes:
        row: the row's name.
        config: its class in comfy.supported_models.
        sizes: those of its network.
        context: numbers per token of its prompts.
        channels: of its latents; frames: whether they have an axis of them.
        length: positions that its text encoder fills prompts up to.
        refers: whether it takes reference pictures.
    """

    row: str
    config: str
    sizes: dict = field(hash=False)
    context: int = WIDTH
    channels: int = 16
    frames: bool = False
    length: int = 1
    refers: bool = False


_FLUX_2 = {
    **FLUX,
    "image_model": "flux2",
    "in_channels": 128,
    "out_channels": 128,
    "vec_in_dim": None,
    "axes_dim": [8, 8, 8, 8],
    "theta": 2000,
    "patch_size": 1,
    "qkv_bias": False,
    "txt_ids_dims": [3],
    "global_modulation": True,
    "mlp_silu_act": True,
    "ops_bias": False,
    "default_ref_method": "index",
    "ref_index_scale": 10.0,
}
_LUMINA = {
    "image_model": "lumina2",
    "patch_size": 2,
    "in_channels": 16,
    "dim": 64,
    "n_layers": 3,
    "n_refiner_layers": 1,
    "n_heads": 2,
    "n_kv_heads": 1,
    "multiple_of": 16,
    "ffn_dim_multiplier": 1.0,
    "qk_norm": True,
    "cap_feat_dim": WIDTH,
    "axes_dims": [8, 12, 12],
    "axes_lens": [300, 512, 512],
}
_WAN = {
    "image_model": "wan2.1",
    "model_type": "t2v",
    "patch_size": (1, 2, 2),
    "in_dim": 16,
    "out_dim": 16,
    "dim": 64,
    "ffn_dim": 64,
    "freq_dim": 32,
    "text_dim": WIDTH,
    "num_heads": 2,
    "num_layers": 3,
}
_COSMOS = {
    "image_model": "cosmos_predict2",
    "max_img_h": 32,
    "max_img_w": 32,
    "max_frames": 4,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "model_channels": 64,
    "num_blocks": 3,
    "num_heads": 2,
    "crossattn_emb_channels": WIDTH,
    "pos_emb_cls": "rope3d",
    "use_adaln_lora": True,
    "adaln_lora_dim": 8,
}
_HIDREAM = {
    "image_model": "hidream",
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 2,
    "num_single_layers": 2,
    "attention_head_dim": 32,
    "num_attention_heads": 2,
    "caption_channels": [WIDTH, WIDTH],
    "text_emb_dim": POOLED,
    "axes_dims_rope": (16, 8, 8),
    "max_resolution": (64, 64),
    "llama_layers": [0, 1, 1, 1],
}
_KREA = {
    "image_model": "krea2",
    "features": 128,
    "tdim": 32,
    "txtdim": WIDTH,
    "heads": 4,
    "kvheads": 2,
    "multiplier": 2,
    "layers": 3,
    "txtlayers": 2,
    "txtheads": 2,
    "txtkvheads": 2,
}
_OMNIGEN = {
    "image_model": "omnigen2",
    "patch_size": 2,
    "in_channels": 16,
    "hidden_size": 96,
    "num_layers": 3,
    "num_refiner_layers": 1,
    "num_attention_heads": 4,
    "num_kv_heads": 2,
    "multiple_of": 16,
    "axes_dim_rope": (8, 8, 8),
    "text_feat_dim": WIDTH,
    "timestep_scale": 1000.0,
}
SMALL = {
    "sd3": Small("SD 3.x", "SD3", SD3, length=10),
    "flux": Small("Flux.1", "Flux", FLUX, length=10, refers=True),
    "flux2": Small("Flux.2", "Flux2", _FLUX_2, channels=128, refers=True),
    "qwen": Small(
        "Qwen-Image",
        "QwenImage",
        {
            "image_model": "qwen_image",
            "in_channels": 64,
            "out_channels": 16,
            "num_layers": 3,
            "attention_head_dim": 32,
            "num_attention_heads": 2,
            "joint_attention_dim": WIDTH,
            "axes_dims_rope": (8, 12, 12),
        },
        frames=True,
        refers=True,
    ),
    "chroma": Small(
        "Chroma",
        "Chroma",
        {
            "image_model": "chroma",
            "in_channels": 64,
            "out_channels": 64,
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
            "in_dim": 64,
            "out_dim": 64,
            "hidden_dim": 64,
            "n_layers": 1,
            "txt_ids_dims": [],
            "vec_in_dim": None,
        },
    ),
    "lumina": Small("Lumina 2", "Lumina2", _LUMINA),
    "zimage": Small(
        "Z-Image",
        "ZImage",
        {
            **_LUMINA,
            "dim": 256,
            "n_heads": 8,
            "n_kv_heads": 8,
            "z_image_modulation": True,
            "time_scale": 1000.0,
            "pad_tokens_multiple": 32,
        },
    ),
    "wan": Small("Wan 2.1", "WAN21_T2V", _WAN, frames=True, length=10),
    "wan22": Small(
        "Wan 2.2 5B", "WAN22_T2V", {**_WAN, "in_dim": 48, "out_dim": 48}, channels=48, frames=True, length=10
    ),
    "cosmos": Small("Cosmos Predict 2", "CosmosT2IPredict2", _COSMOS, frames=True, length=10),
    "anima": Small("Anima", "Anima", {**_COSMOS, "image_model": "anima", "crossattn_emb_channels": 1024}, 1024),
    "hidream": Small("HiDream I1", "HiDream", _HIDREAM, length=10),
    "krea2": Small("Krea 2", "Krea2", _KREA, context=2 * WIDTH, frames=True, refers=True),
    "lens": Small(
        "Lens",
        "Lens",
        {
            "image_model": "lens",
            "in_channels": 128,
            "out_channels": 32,
            "num_layers": 3,
            "attention_head_dim": 64,
            "num_attention_heads": 2,
            "enc_hidden_dim": WIDTH,
            "selected_layer_index": (0, 1),
        },
        context=2 * WIDTH,
        channels=128,
    ),
    "omnigen": Small("OmniGen 2", "Omnigen2", _OMNIGEN, refers=True),
    "aura": Small(
        "AuraFlow",
        "AuraFlow",
        {
            "in_channels": 4,
            "out_channels": 4,
            "dim": 64,
            "n_layers": 4,
            "n_double_layers": 2,
            "n_heads": 2,
            "global_conddim": 64,
            "cond_seq_dim": WIDTH,
            "max_seq": 16,
        },
        channels=4,
        length=10,
    ),
}


def row_of(name: str) -> JointModel:
    return next(row for row in MODELS if row.name == SMALL[name].row)


def _known(sizes: dict) -> dict:
    """Those sizes that this ComfyUI's network has: some classes take no others."""
    if sizes.get("image_model") == "chroma":
        return {name: size for name, size in sizes.items() if name in [*signature(ChromaParams).parameters, "image_model"]}
    return flux_sizes(sizes) if "flux" in sizes.get("image_model", "") else dict(sizes)


@cache
def small_transformer(name: str, dtype: torch.dtype = torch.float32):
    """A ModelPatcher. Shared between tests: they must not change it. Skips the test where this ComfyUI has no such."""
    small = SMALL[name]
    config_class = getattr(comfy.supported_models, small.config, None)
    if config_class is None:
        pytest.skip(f"this ComfyUI has no {small.config}")
    config = config_class(_known(small.sizes))
    config.set_inference_dtype(dtype, None)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = config.get_model({}, device="cpu")
        draw_weights(model.diffusion_model, dtype)
    if small.sizes.get("image_model") == "wan2.1":
        model.diffusion_model.patch_embedding.float()  # it is given nothing else, whatever the dtype
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def prompt_for(name: str, words: str) -> Prompt:
    """A prompt of one token a word, and one for its end, with an encoding drawn from the words."""
    small = SMALL[name]
    spelled = [*(Token(word, "text", word, i) for i, word in enumerate(words.split())), Token(1, "end")]
    tokens = (*spelled, *[Token(0, "pad")] * (small.length - len(spelled)))
    generator = torch.Generator().manual_seed(sum(ord(c) * (i + 1) for i, c in enumerate(words)))
    embeddings = torch.randn(1, len(tokens), small.context, generator=generator)
    options = {"pooled_output": torch.randn(1, POOLED, generator=generator)}
    streams = (Stream(tokens, len(tokens)),)
    if name in ("lumina", "zimage", "omnigen", "lens"):
        options["attention_mask"] = torch.ones(1, len(tokens), dtype=torch.int64)
    if name == "hidream":
        streams *= 3
        options["conditioning_llama3"] = torch.randn(1, 2, len(tokens), WIDTH, generator=generator)
    if name == "anima":  # of which one encoder makes embeddings of its own tokens
        embeddings = torch.randn(1, 2 * len(tokens) + 1, small.context, generator=generator)
        options["t5xxl_ids"] = torch.randint(0, 32128, (len(tokens),), generator=generator)
        options["t5xxl_weights"] = torch.ones(len(tokens))
    return Prompt(words, streams, [[embeddings, options]])


def edit_for(name: str, source: str, *edits: str) -> Edit:
    edit = Edit(prompt_for(name, source))
    for words in edits:
        edit = edit.add(prompt_for(name, words))
    return edit


def settings_for(name: str, size: tuple[int, int] = (6, 4), dtype: torch.dtype = torch.float32) -> dict:
    """For `run` and `plain`: two steps with guidance."""
    small = SMALL[name]
    return {
        "model": small_transformer(name, dtype),
        "negative": prompt_for(name, "blurry").encoding,
        "image": {"samples": torch.zeros(1, small.channels, *[1] * small.frames, *size)},
        "sampled": sampling(scheduler="simple", steps=2),
        "cfg": 3.0,
    }
