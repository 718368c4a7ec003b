"""One small network for both hosts: diffusers' pipeline around the weights of a small model of ComfyUI's."""

from __future__ import annotations

import comfy.supported_models
import comfy.utils
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)

from support.small_joint_models import FLUX, JOINT_MODELS, POOLED, SD3, WIDTH, made
from support.small_joint_pipelines import small_vae

CHANNELS = 16
_BLOCKS = {"num_blocks": SD3["depth"]}  # as many as heads, by which ComfyUI's table of names counts both
_MORE = {
    "sd3": _BLOCKS,
    "sd35m": {**_BLOCKS, "x_block_self_attn_layers": [0]},
    "flux": {"mlp_ratio": 4.0},  # diffusers' Flux has no other
}


def comfy_model(name: str):
    """A ModelPatcher in float64 of "sd3", "sd35m" or "flux"."""
    config_class, sizes = JOINT_MODELS[name]
    return made(config_class, {**sizes, **_MORE[name]}, torch.float64)


def pipeline_of(model, name: str):
    """The pipeline whose transformer has the weights of `comfy_model(name)`. It has no text encoders."""
    transformer = _flux() if name == "flux" else _sd3(name)
    convert = comfy.utils.flux_to_diffusers if name == "flux" else comfy.utils.mmdit_to_diffusers
    sizes = JOINT_MODELS[name][1] | _MORE[name]
    theirs = model.model.diffusion_model.state_dict()
    own = transformer.state_dict()
    weights = {new: _taken(theirs, old) for new, old in convert(sizes).items() if new in own}
    transformer.load_state_dict(weights)
    parts = {
        "transformer": transformer.double().eval().requires_grad_(False),
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=1.0),
        "vae": small_vae(CHANNELS),
        **dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")),
    }
    if name == "flux":
        pipe = FluxPipeline(**parts)
    else:
        pipe = StableDiffusion3Pipeline(**parts, text_encoder_3=None, tokenizer_3=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _taken(theirs: dict[str, torch.Tensor], old) -> torch.Tensor:
    """A weight by an entry of the host's table: a name, and maybe the part of it and how its halves are swapped."""
    name, part, swapped = (*old, None, None)[:3] if isinstance(old, tuple) else (old, None, None)
    name = name if name in theirs else name.replace(".scale", ".weight")  # as a newer ComfyUI calls a norm's
    weight = theirs[name] if part is None else theirs[name].narrow(*part)
    return weight if swapped is None else swapped(weight)


def _flux() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(
        in_channels=CHANNELS * 4,
        num_layers=FLUX["depth"],
        num_single_layers=FLUX["depth_single_blocks"],
        attention_head_dim=FLUX["hidden_size"] // FLUX["num_heads"],
        num_attention_heads=FLUX["num_heads"],
        joint_attention_dim=WIDTH,
        pooled_projection_dim=POOLED,
        guidance_embeds=True,
        axes_dims_rope=tuple(FLUX["axes_dim"]),
    )


def _sd3(name: str) -> SD3Transformer2DModel:
    more = {"dual_attention_layers": (0,), "qk_norm": "rms_norm"} if name == "sd35m" else {}
    return SD3Transformer2DModel(
        sample_size=SD3["pos_embed_max_size"],
        patch_size=SD3["patch_size"],
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_layers=SD3["depth"],
        attention_head_dim=64,
        num_attention_heads=SD3["depth"],
        joint_attention_dim=WIDTH,
        caption_projection_dim=64 * SD3["depth"],
        pooled_projection_dim=POOLED,
        pos_embed_max_size=SD3["pos_embed_max_size"],
        **more,
    )
