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
from prompt_to_prompt.p2p_core.hosts.comfy.joint_models import MODELS
from prompt_to_prompt.p2p_core.hosts.comfy.joint_row import JointModel
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token

from support.sampling import sampling
from support.small_joint_models import FLUX, SD3, draw_weights, flux_sizes
from support.small_sizes import (
    AURA,
    CHROMA,
    COSMOS,
    FLUX_2,
    HIDREAM,
    KREA,
    LENS,
    LUMINA,
    OMNIGEN,
    POOLED,
    QWEN,
    WAN,
    WIDTH,
    ZIMAGE,
)


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


SMALL = {
    "sd3": Small("SD 3.x", "SD3", SD3, length=10),
    "flux": Small("Flux.1", "Flux", FLUX, length=10, refers=True),
    "flux2": Small("Flux.2", "Flux2", FLUX_2, channels=128, refers=True),
    "qwen": Small(
        "Qwen-Image",
        "QwenImage",
        QWEN,
        frames=True,
        refers=True,
    ),
    "chroma": Small(
        "Chroma",
        "Chroma",
        CHROMA,
    ),
    "lumina": Small("Lumina 2", "Lumina2", LUMINA),
    "zimage": Small(
        "Z-Image",
        "ZImage",
        ZIMAGE,
    ),
    "wan": Small("Wan 2.1", "WAN21_T2V", WAN, frames=True, length=10),
    "wan22": Small(
        "Wan 2.2 5B", "WAN22_T2V", {**WAN, "in_dim": 48, "out_dim": 48}, channels=48, frames=True, length=10
    ),
    "cosmos": Small("Cosmos Predict 2", "CosmosT2IPredict2", COSMOS, frames=True, length=10),
    "anima": Small("Anima", "Anima", {**COSMOS, "image_model": "anima", "crossattn_emb_channels": 1024}, 1024),
    "hidream": Small("HiDream I1", "HiDream", HIDREAM, length=10),
    "krea2": Small("Krea 2", "Krea2", KREA, context=2 * WIDTH, frames=True, refers=True),
    "lens": Small(
        "Lens",
        "Lens",
        LENS,
        context=2 * WIDTH,
        channels=128,
    ),
    "omnigen": Small("OmniGen 2", "Omnigen2", OMNIGEN, refers=True),
    "aura": Small(
        "AuraFlow",
        "AuraFlow",
        AURA,
        channels=4,
        length=10,
    ),
}


def row_of(name: str) -> JointModel:
    return next(row for row in MODELS if row.name == SMALL[name].row)


def known(sizes: dict) -> dict:
    """Those sizes that this ComfyUI's network has: some classes take no others."""
    if sizes.get("image_model") == "chroma":
        return {
            name: size for name, size in sizes.items() if name in [*signature(ChromaParams).parameters, "image_model"]
        }
    return flux_sizes(sizes) if "flux" in sizes.get("image_model", "") else dict(sizes)


@cache
def small_transformer(name: str, dtype: torch.dtype = torch.float32):
    """A ModelPatcher. Shared between tests: they must not change it. Skips the test where this ComfyUI has no such."""
    small = SMALL[name]
    config_class = getattr(comfy.supported_models, small.config, None)
    if config_class is None:
        pytest.skip(f"this ComfyUI has no {small.config}")
    config = config_class(known(small.sizes))
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
