"""diffusers' pipelines around few channels and random weights, that know the demo model's words."""

from __future__ import annotations

import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from prompt_to_prompt.p2p_core.demo.modules import BETAS
from prompt_to_prompt.p2p_core.demo.pipeline import SCHEDULE, tokenizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

SCHEDULERS = {
    "DDIMScheduler": {},
    "DDPMScheduler": {},
    "PNDMScheduler": {"skip_prk_steps": True},
    "LMSDiscreteScheduler": {},
    "EulerDiscreteScheduler": {"use_karras_sigmas": True},
    "EulerAncestralDiscreteScheduler": {},
    "HeunDiscreteScheduler": {},
    "KDPM2DiscreteScheduler": {},
    "KDPM2AncestralDiscreteScheduler": {},
    "DPMSolverMultistepScheduler": {"algorithm_type": "sde-dpmsolver++"},
    "DPMSolverSinglestepScheduler": {},
    "DPMSolverSDEScheduler": {"noise_sampler_seed": 3},
    "UniPCMultistepScheduler": {},
    "DEISMultistepScheduler": {},
    "LCMScheduler": {},
}
SIZE = 64  # pixels: latents of 8 x 8
SD1 = {
    "sample_size": 8,
    "block_out_channels": (32, 64, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 64,
    "attention_head_dim": 4,
    "norm_num_groups": 32,
}
SDXL = {
    "sample_size": 8,
    "block_out_channels": (32, 64, 128),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3),
    "cross_attention_dim": 64,
    "attention_head_dim": (2, 4, 8),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 1280 + 6 * 256,
    "norm_num_groups": 32,
}
_TEXT = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 77, "vocab_size": 49408}
_NO_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def small_pipeline(kind: str = "text", dtype: torch.dtype = torch.float32):
    """kind: "text", "image", "inpaint", "inpaint9" (a UNet of 9 channels), "control", "xl" or "xl-image"."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        pipe = _sdxl(kind) if kind.startswith("xl") else _sd1(kind)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(dtype).eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _shared() -> dict:
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    )
    schedule = SCHEDULE | {"set_alpha_to_one": True, "clip_sample": False}
    return {"vae": vae, "tokenizer": tokenizer(), "scheduler": DDIMScheduler(**BETAS, **schedule)}


def _sd1(kind: str):
    unet = UNet2DConditionModel(**SD1, in_channels=9 if kind == "inpaint9" else 4)
    text = CLIPTextModel(CLIPTextConfig(hidden_size=64, intermediate_size=64, **_TEXT))
    parts = {**_shared(), "unet": unet, "text_encoder": text, **_NO_CHECKER}
    if kind == "control":
        control = ControlNetModel.from_unet(unet)
        for parameter in control.parameters():  # they start at zero, and would do nothing
            parameter.data += 0.05 * torch.randn_like(parameter)
        return StableDiffusionControlNetPipeline(controlnet=control, **parts)
    pipeline = {
        "text": StableDiffusionPipeline,
        "image": StableDiffusionImg2ImgPipeline,
        "inpaint": StableDiffusionInpaintPipeline,
        "inpaint9": StableDiffusionInpaintPipeline,
    }[kind]
    return pipeline(**parts)


def _sdxl(kind: str):
    first = CLIPTextModel(CLIPTextConfig(hidden_size=32, intermediate_size=64, **_TEXT))
    second = CLIPTextModelWithProjection(
        CLIPTextConfig(hidden_size=32, intermediate_size=64, projection_dim=1280, **_TEXT)
    )
    parts = {**_shared(), "unet": UNet2DConditionModel(**SDXL), "text_encoder": first, "text_encoder_2": second}
    pipeline = StableDiffusionXLImg2ImgPipeline if kind == "xl-image" else StableDiffusionXLPipeline
    return pipeline(**parts, tokenizer_2=tokenizer(), add_watermarker=False)


def inputs(kind: str, generator: torch.Generator) -> dict:
    """What a pipeline of that kind is given besides prompts."""
    image = torch.linspace(0, 1, 3 * SIZE * SIZE).reshape(1, 3, SIZE, SIZE)
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., SIZE // 2 :] = 1
    given = {"num_inference_steps": 5, "generator": generator, "output_type": "latent", "guidance_scale": 3.0}
    if kind in ("text", "xl"):
        return {**given, "height": SIZE, "width": SIZE}
    if kind.startswith("inpaint"):
        return {**given, "image": image, "mask_image": mask, "height": SIZE, "width": SIZE, "strength": 0.8}
    return {**given, "image": image, **({} if kind == "control" else {"strength": 0.8})}
