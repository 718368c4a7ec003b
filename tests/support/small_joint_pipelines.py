"""diffusers' pipelines for SD 3.x and Flux.1 around few channels and random weights, that know some words."""

from __future__ import annotations

import tokenizers
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from prompt_to_prompt.p2p_core.demo.pipeline import tokenizer
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

WORDS = ("a", "cat", "dog", "car", "red", "on", "sitting", "big")
T5_LENGTH = 12
WIDTH = 32
_CLIP = {
    "hidden_size": WIDTH // 2,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "vocab_size": 49408,
    "projection_dim": WIDTH // 2,
}
_SD3 = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": WIDTH,
    "caption_projection_dim": 32,
    "pooled_projection_dim": WIDTH,
    "pos_embed_max_size": 8,
}


def t5_tokenizer() -> PreTrainedTokenizerFast:
    """Sentencepiece's way of spelling, with a few words; others it spells by letters."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -3.0)]
    pieces += [(f"\u2581{word}", -1.0) for word in WORDS] + [(letter, -5.0) for letter in letters]
    own = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=2))
    own.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    own.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    specials = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=own, **specials)


def small_joint_pipeline(name: str, dtype: torch.dtype = torch.float64):
    """name: "sd3", "sd35m" (with its second attention, and norms), "sd3-without-t5" or "flux"."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        pipe = _flux() if name == "flux" else _sd3(name)
        for network in (pipe.transformer, pipe.text_encoder, pipe.text_encoder_2):
            for parameter in network.parameters():  # far from 0, or a wrong map would hardly show
                if parameter.ndim > 1:
                    parameter.data = torch.randn(parameter.shape) * 0.15
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.to(dtype).eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def small_vae(channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        norm_num_groups=4,
        shift_factor=0.0,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )


def _t5() -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=64, d_model=WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2))


def _sd3(name: str) -> StableDiffusion3Pipeline:
    more = {"dual_attention_layers": (0, 1), "qk_norm": "rms_norm"} if name == "sd35m" else {}
    with_t5 = name != "sd3-without-t5"
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(**_SD3, **more),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=small_vae(4),
        text_encoder=CLIPTextModelWithProjection(CLIPTextConfig(**_CLIP)),
        tokenizer=tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(**_CLIP)),
        tokenizer_2=tokenizer(),
        text_encoder_3=_t5() if with_t5 else None,
        tokenizer_3=t5_tokenizer() if with_t5 else None,
    )


def _flux() -> FluxPipeline:
    return FluxPipeline(
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=2,
            num_single_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH // 2,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=small_vae(4),
        text_encoder=CLIPTextModel(CLIPTextConfig(**_CLIP)),
        tokenizer=tokenizer(),
        text_encoder_2=_t5(),
        tokenizer_2=t5_tokenizer(),
    )


def joint_inputs(name: str, steps: int = 3) -> dict:
    """What such a pipeline is given besides prompts. Latents are 8 x 8."""
    guidance = {"guidance_scale": 3.0} if name != "flux" else {"guidance_scale": 2.0}
    return {
        "num_inference_steps": steps,
        "generator": torch.Generator().manual_seed(3),
        "output_type": "latent",
        "height": 64,
        "width": 64,
        "max_sequence_length": T5_LENGTH,
        **guidance,
    }
