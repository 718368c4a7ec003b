"""Stable Diffusion 1.5, SDXL, 3 and other transformers in full width with random weights, as ComfyUI loads them."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch

from support.small_joint_models import FLUX, SD3
from support.small_models import COMMON
from support.small_sizes import CHROMA, LUMINA, QWEN, ZIMAGE
from support.small_transformers import known

_COMMON = {**COMMON, "model_channels": 320}
_SIZES = {
    "sd15": (
        comfy.supported_models.SD15,
        {
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": [1, 2, 4, 4],
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
            "transformer_depth_middle": 1,
            "context_dim": 768,
        },
    ),
    "sdxl": (
        comfy.supported_models.SDXL,
        {
            "num_res_blocks": [2, 2, 2],
            "channel_mult": [1, 2, 4],
            "transformer_depth": [0, 0, 2, 2, 10, 10],
            "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
            "transformer_depth_middle": 10,
            "context_dim": 2048,
            "use_linear_in_transformer": True,
            "num_classes": "sequential",
            "adm_in_channels": 2816,
        },
    ),
}
_CONTEXT = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 1536}}
_LUMINA = {"cap_feat_dim": 2560, "n_refiner_layers": 2, "multiple_of": 256, "ffn_dim_multiplier": 8 / 3}
_JOINT_SIZES = {
    "sd3": (
        comfy.supported_models.SD3,
        {
            **SD3,
            "depth": 24,
            "num_blocks": 24,
            "adm_in_channels": 2048,
            "context_embedder_config": _CONTEXT,
            "pos_embed_max_size": 192,
            "num_patches": 192 * 192,
        },
    ),
    "flux": (
        comfy.supported_models.Flux,
        {
            **FLUX,
            "vec_in_dim": 768,
            "context_in_dim": 4096,
            "hidden_size": 3072,
            "mlp_ratio": 4.0,
            "num_heads": 24,
            "depth": 19,
            "depth_single_blocks": 38,
            "axes_dim": [16, 56, 56],
        },
    ),
    "chroma": (
        comfy.supported_models.Chroma,
        {
            **CHROMA,
            "context_in_dim": 4096,
            "hidden_size": 3072,
            "mlp_ratio": 4.0,
            "num_heads": 24,
            "axes_dim": [16, 56, 56],
            "out_dim": 3072,
            "hidden_dim": 5120,
            "n_layers": 5,
        },
    ),
    "qwen": (
        comfy.supported_models.QwenImage,
        {
            **QWEN,
            "num_layers": 60,
            "attention_head_dim": 128,
            "num_attention_heads": 24,
            "joint_attention_dim": 3584,
            "axes_dims_rope": (16, 56, 56),
        },
    ),
    "lumina2": (
        comfy.supported_models.Lumina2,
        {**LUMINA, **_LUMINA, "dim": 2304, "n_heads": 24, "n_kv_heads": 8, "axes_dims": [32, 32, 32], "n_layers": 26},
    ),
    "zimage": (
        comfy.supported_models.ZImage,
        {**ZIMAGE, **_LUMINA, "dim": 3840, "n_heads": 30, "n_kv_heads": 30, "axes_dims": [32, 48, 48], "n_layers": 30},
    ),
}
JOINT_TEXT = {"sd3": (77, 77), "flux": (256,), "chroma": (), "qwen": (), "lumina2": (), "zimage": ()}
"""Positions of a prompt, by text encoder; none where it is as long as its words, and prompts are filled up."""
POOLED = {"sd3": 2048, "flux": 768, "chroma": 768, "qwen": 768, "lumina2": 768, "zimage": 768}
WIDTHS = {name: sizes["context_dim"] for name, (_, sizes) in _SIZES.items()} | dict.fromkeys(JOINT_TEXT, 4096)
WIDTHS |= {"qwen": 3584, "lumina2": 2560, "zimage": 2560}
_COUNTED = {"sd3": "num_blocks", "qwen": "num_layers", "lumina2": "n_layers", "zimage": "n_layers"}
FRAMES = {"qwen": (1,)}
"""Latents' axis of frames, where they have one."""
CHANNELS = dict.fromkeys(_SIZES, 4) | dict.fromkeys(JOINT_TEXT, 16)


def _shallower(depths, blocks: int):
    """Depths of transformers, in a list or alone, with `blocks` in place of the deepest."""
    if isinstance(depths, list):
        return [_shallower(depth, blocks) for depth in depths]
    return blocks if depths == 10 else depths


def full_model(name: str, dtype: torch.dtype, blocks: int | None = None):
    """A ModelPatcher with weights of unit gain, so that nothing overflows and no number is denormal.

    `blocks`: of a transformer, in place of all; of those of Flux's kind, a third are double blocks.
    Of SDXL's deepest parts.
    """
    if name in _SIZES:
        config_class, sizes = _SIZES[name]
        if blocks and name == "sdxl":
            sizes = {key: _shallower(value, blocks) for key, value in sizes.items()}
        config = config_class({**_COMMON, **sizes})
    else:
        config_class, sizes = _JOINT_SIZES[name]
        if blocks and (counted := _COUNTED.get(name)):
            sizes = {**sizes, counted: blocks}
        elif blocks:
            sizes = {**sizes, "depth": max(blocks // 3, 1), "depth_single_blocks": blocks - max(blocks // 3, 1)}
        config = config_class(known(sizes))
    config.set_inference_dtype(dtype, None)
    device = comfy.model_management.get_torch_device()
    model = config.get_model({}, device=device)
    for module in model.diffusion_model.modules():
        for kind, parameter in module.named_parameters(recurse=False):
            if isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
                parameter.data.fill_(kind == "weight")
            elif parameter.ndim == 1 and kind in ("scale", "weight"):
                parameter.data.fill_(1)
            elif parameter.ndim > 1:
                reach = (3 / parameter[0].numel()) ** 0.5
                parameter.data.uniform_(-reach, reach)
            else:
                parameter.data.zero_()
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)
