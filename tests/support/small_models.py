"""Stable Diffusion's architectures with few channels and random weights, as ComfyUI loads them."""

from __future__ import annotations

from functools import cache

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_base
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import torch
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token

COMMON = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "use_spatial_transformer": True,
    "legacy": False,
}
_SD1 = {
    "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 2, 2],
    "transformer_depth": [1, 1, 0],
    "transformer_depth_output": [1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "context_dim": 64,
    "num_heads": 4,
}
ARCHITECTURES = {
    "sd1": (comfy.supported_models.SD15, _SD1),
    "sd1_blocks": (
        comfy.supported_models.SD15,
        {
            **_SD1,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": [1, 2, 2, 2],
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
        },
    ),
    "sd1_inpaint": (comfy.supported_models.SD15, {**_SD1, "in_channels": 9}),
    "sd1_pix2pix": (comfy.supported_models.SD15_instructpix2pix, {**_SD1, "in_channels": 8}),
    "sd2": (comfy.supported_models.SD20, {**_SD1, "use_linear_in_transformer": True, "num_head_channels": 16}),
    "sdxl": (
        comfy.supported_models.SDXL,
        {
            "num_res_blocks": [1, 1, 1],
            "channel_mult": [1, 2, 4],
            "transformer_depth": [0, 2, 3],  # the real one's last is 10
            "transformer_depth_output": [0, 0, 2, 2, 3, 3],
            "transformer_depth_middle": 3,
            "context_dim": 64,
            "num_head_channels": 16,
            "use_linear_in_transformer": True,
            "num_classes": "sequential",
            "adm_in_channels": 2816,
        },
    ),
}


class _VPrediction(comfy.supported_models.SD20):
    def model_type(self, state_dict, prefix=""):
        return comfy.model_base.ModelType.V_PREDICTION


@cache
def small_model(name: str, dtype: torch.dtype = torch.float32):
    """A ModelPatcher of one of ARCHITECTURES: "sd1_blocks" has all blocks, "sd2" v-prediction.

    Shared between tests: they must not change it.
    """
    config_class, sizes = ARCHITECTURES[name]
    config = (_VPrediction if name == "sd2" else config_class)({**COMMON, **sizes})
    for key in ("num_heads", "num_head_channels"):
        config.unet_config[key] = sizes.get(key, -1)
    if "num_head_channels" in sizes:
        config.unet_config["num_heads"] = -1
    config.set_inference_dtype(dtype, None)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = config.get_model({}, device="cpu")
        for parameter in model.diffusion_model.parameters():
            # ComfyUI leaves weights as memory had them, since it always loads some.
            scale = 1 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.0
            parameter.data = torch.randn(parameter.shape).mul(scale).to(dtype)
        for module in model.diffusion_model.modules():
            if isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
                module.weight.data.fill_(1)
        # A tame prediction: dpm_adaptive would take hundreds of steps on a wild one.
        model.diffusion_model.out[-1].weight.data.mul_(0.3)
    return comfy.model_patcher.ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


@cache
def small_controlnet() -> comfy.controlnet.ControlNet:
    """Of "sd1", with random weights. Shared between tests, as small_model's."""
    _, sizes = ARCHITECTURES["sd1"]
    sizes = {key: value for key, value in sizes.items() if key != "transformer_depth_output"}
    model = comfy.cldm.cldm.ControlNet(
        image_size=32,
        in_channels=4,
        model_channels=32,
        hint_channels=3,
        use_spatial_transformer=True,
        legacy=False,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
        **sizes,
    )
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        scale = 0.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.0
        parameter.data = torch.randn(parameter.shape, generator=generator) * scale
    for module in model.modules():
        if isinstance(module, (torch.nn.GroupNorm, torch.nn.LayerNorm)):
            module.weight.data.fill_(1)
    device = torch.device("cpu")
    return comfy.controlnet.ControlNet(model, load_device=device, manual_cast_dtype=torch.float32)


def prompt(words: str, chunks: int = 1, width: int = 64) -> Prompt:
    """A prompt of one token a word with an encoding drawn from the words, as a text encoder would give it."""
    spelled = words.split()
    tokens = [Token(1, "start"), *(Token(w, "text", w, i) for i, w in enumerate(spelled)), Token(2, "end")]
    tokens += [Token(2, "pad")] * (77 - len(tokens))
    tokens += ([Token(1, "start"), Token(2, "end")] + [Token(2, "pad")] * 75) * (chunks - 1)
    generator = torch.Generator().manual_seed(sum(ord(c) * (i + 1) for i, c in enumerate(words)))
    embeddings = torch.randn(1, 77 * chunks, width, generator=generator)
    pooled = torch.randn(1, 1280, generator=generator)
    return Prompt(words, (Stream(tuple(tokens), 77),), [[embeddings, {"pooled_output": pooled}]])


NEGATIVE = prompt("blurry").encoding


def edit_of(source: str = "a cat on a car", *edits: str, mode: str = "auto", chunks: tuple[int, ...] = ()) -> Edit:
    """An Edit of plain words. `chunks`: of 77 tokens, for the source and each edit."""
    edits = edits or ("a big dog on a car",)
    chunks = chunks or (1,) * (1 + len(edits))
    edit = Edit(prompt(source, chunks[0]))
    for words, count in zip(edits, chunks[1:]):
        edit = edit.add(prompt(words, count), mode)
    return edit
