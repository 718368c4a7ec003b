"""The demo model's three networks as diffusers and transformers build them; no hub is touched.

    unet, text, vae = load()                                            # the file that ships with the pack
    pictures = generate(unet, text, vae, ["a cat sitting on a car"], seeds=[1])

and the transformer that can stand in the UNet's place (transformer.py):

    transformer, metadata = load_transformer()
    pictures = flow(transformer, text, vae, ["a cat sitting on a car"], seeds=[1], scale=metadata["latent_scale"])

Needs diffusers and transformers. Nodes do not: in ComfyUI the host's own classes are filled from the same file.
"""

from __future__ import annotations

import itertools

import torch
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from . import layout
from .words import END, PADDED, token_ids, tokenize

UNET_CONFIG = {  # in ComfyUI's words
    "image_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 64,
    "num_res_blocks": [1, 1, 1],
    "channel_mult": [1, 2, 3],
    "transformer_depth": [1, 1, 1],
    "transformer_depth_output": [1, 1, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 128,
    "num_heads": 4,
}
CLIP_CONFIG = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}  # Stable Diffusion's
PIXELS_PER_LATENT = 8


def build(unet_config: dict = UNET_CONFIG, clip_config: dict = CLIP_CONFIG):
    """-> UNet2DConditionModel, CLIPTextModel, AutoencoderTiny with random weights."""
    levels = len(unet_config["channel_mult"])
    unet = UNet2DConditionModel(
        sample_size=unet_config["image_size"],
        in_channels=unet_config["in_channels"],
        out_channels=unet_config["out_channels"],
        layers_per_block=unet_config["num_res_blocks"][0],
        block_out_channels=[unet_config["model_channels"] * mult for mult in unet_config["channel_mult"]],
        down_block_types=["CrossAttnDownBlock2D"] * levels,
        up_block_types=["CrossAttnUpBlock2D"] * levels,
        cross_attention_dim=unet_config["context_dim"],
        attention_head_dim=unet_config["num_heads"],
        norm_num_groups=32,
    )  # attention_head_dim is diffusers' name for the number of heads here
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=layout.VOCABULARY,
            max_position_embeddings=PADDED,
            bos_token_id=49406,
            eos_token_id=49407,
            pad_token_id=49407,
            **clip_config,
        )
    )
    vae = AutoencoderTiny(
        encoder_block_out_channels=(64,) * 4,
        decoder_block_out_channels=(64,) * 4,
        num_encoder_blocks=(1, 3, 3, 3),
        num_decoder_blocks=(3, 3, 3, 1),
        scaling_factor=1.0,
    )
    return unet, text, vae


def text_core(text: CLIPTextModel) -> torch.nn.Module:
    """The part whose weights the file holds: `text_model` up to transformers 4, the model itself since."""
    return getattr(text, "text_model", text)


def load(path=layout.FILE, device="cpu", dtype=torch.float32):
    """-> UNet2DConditionModel, CLIPTextModel, AutoencoderTiny from a file in `layout`'s form, ready to run."""
    tensors, metadata = layout.read(path)
    unet, text, vae = build(metadata["unet_config"], metadata["clip_config"])
    resnets = metadata["unet_config"]["num_res_blocks"][0]
    weights = layout.unpack(tensors, list(unet.state_dict()), list(vae.state_dict()), resnets)
    for module, state in zip((unet, text_core(text), vae), weights):
        module.load_state_dict(state)
    return tuple(module.to(device).to(dtype).eval().requires_grad_(False) for module in (unet, text, vae))


def compact(text: CLIPTextModel) -> CLIPTextModel:
    """Keeps only the token rows that captions use, in the order of `token_ids`: training updates 44 rows, not 49,408.

    Rows that are zero, words that an older model lacks, start at random with the size of the others.
    """
    rows = text_core(text).embeddings.token_embedding.weight.detach()[token_ids()].clone()
    missing = rows.abs().sum(1) == 0
    rows[missing] = rows[~missing].std() * torch.randn(rows[missing].shape, generator=torch.Generator().manual_seed(0))
    text_core(text).embeddings.token_embedding = torch.nn.Embedding.from_pretrained(rows, freeze=False)
    return text


def encode(text: CLIPTextModel, captions: list[str]) -> torch.Tensor:
    """-> [captions, 77, width], after the final layer norm, as Stable Diffusion 1.x takes it."""
    return text(torch.tensor([tokenize(caption) for caption in captions], device=text.device)).last_hidden_state


@torch.no_grad()
def generate(
    unet, text, vae, captions: list[str], seeds: list[int], steps: int = 30, cfg: float = 5.0, size: int = 128
) -> torch.Tensor:
    """-> [captions, 3, size, size] in [0, 1], by DPM-Solver++(2M). Noise is drawn on the CPU, a seed a picture."""
    scheduler = DPMSolverMultistepScheduler(**BETAS, num_train_timesteps=1000, timestep_spacing="linspace")
    scheduler.set_timesteps(steps)
    side = size // PIXELS_PER_LATENT
    x = torch.cat([torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    x = (x * scheduler.init_noise_sigma).to(unet.device, unet.dtype)
    context = torch.cat([encode(text, [""] * len(captions)), encode(text, captions)])
    for t in scheduler.timesteps:
        without, given = unet(scheduler.scale_model_input(torch.cat([x, x]), t), t, context).sample.chunk(2)
        x = scheduler.step(without + cfg * (given - without), t, x).prev_sample
    return vae.decode(x).sample.div(2).add(0.5).clamp(0, 1).float()


def pooled(hidden: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The state of the first end token, as a transformer takes it beside all states. [B, T, D] -> [B, D]"""
    ends = (tokens == END).int().argmax(1)
    return hidden[torch.arange(len(hidden), device=hidden.device), ends.to(hidden.device)]


@torch.no_grad()
def flow(
    transformer,
    text,
    vae,
    captions: list[str],
    seeds: list[int],
    *,
    scale: float,
    shift: float = 1.5,
    steps: int = 25,
    cfg: float = 4.0,
    size: int = 128,
) -> torch.Tensor:
    """-> [captions, 3, size, size] in [0, 1], by Euler's method. Noise is drawn on the CPU, a seed a picture.

    scale: `latent_scale` of the transformer's file: latents times it are what the transformer draws.
    shift: of the times, as Stable Diffusion 3 counts it: from t to shift t / (1 + (shift - 1) t).
    """
    side = size // PIXELS_PER_LATENT
    x = torch.cat([torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    x = x.to(text.device, text.dtype)
    tokens = torch.tensor([tokenize(caption) for caption in [""] * len(captions) + captions], device=text.device)
    context = text(tokens).last_hidden_state
    words = pooled(context, tokens)
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    times = (shift * times / (1 + (shift - 1) * times)).tolist()
    for t, after in itertools.pairwise(times):
        without, given = transformer(torch.cat([x, x]), x.new_full((2 * len(x),), t), context, words).chunk(2)
        x = x + (after - t) * (without + cfg * (given - without))
    return vae.decode(x / scale).sample.div(2).add(0.5).clamp(0, 1).float()
