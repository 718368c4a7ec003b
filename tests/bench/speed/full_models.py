"""Stable Diffusion 1.5 and SDXL in full size with random weights, as ComfyUI loads them."""

from __future__ import annotations

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch

from support.small_models import COMMON

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
WIDTHS = {name: sizes["context_dim"] for name, (_, sizes) in _SIZES.items()}


def full_model(name: str, dtype: torch.dtype):
    """A ModelPatcher with weights of unit gain, so that nothing overflows and no number is denormal."""
    config_class, sizes = _SIZES[name]
    config = config_class({**_COMMON, **sizes})
    config.set_inference_dtype(dtype, None)
    device = comfy.model_management.get_torch_device()
    model = config.get_model({}, device=device)
    for module in model.diffusion_model.modules():
        for kind, parameter in module.named_parameters(recurse=False):
            if isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
                parameter.data.fill_(kind == "weight")
            elif parameter.ndim > 1:
                reach = (3 / parameter[0].numel()) ** 0.5
                parameter.data.uniform_(-reach, reach)
            else:
                parameter.data.zero_()
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=device)
