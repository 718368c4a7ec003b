"""The demo model as a stock StableDiffusionPipeline. Needs diffusers and transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from diffusers.utils import logging
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from . import layout, modules
from .words import END, PADDED, START, TOKENS

SCHEDULE = {"num_train_timesteps": 1000, "timestep_spacing": "linspace", "steps_offset": 1}


def load_pipeline(device="cpu", dtype: torch.dtype = torch.float32) -> StableDiffusionPipeline:
    """The model that ships with the pack: 128 x 128 pixels, some 30 steps, guidance_scale 4."""
    with _errors_only():
        unet, text, vae = modules.load(layout.FILE, device, dtype)
    pipe = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=DPMSolverMultistepScheduler(**modules.BETAS, **SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(leave=False)
    return pipe


@contextmanager
def _errors_only() -> Iterator[None]:
    """diffusers warns of every cast to another type, also where no part has to be kept in float32."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def tokenizer() -> PreTrainedTokenizerFast:
    """CLIP's ids for the words the model knows; any other word is the unknown one, which it has no vector for."""
    words = {"<|startoftext|>": START, "<|endoftext|>": END, "<unknown>": 0, **TOKENS}
    core = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))  # noqa: S106
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"), "removed", invert=True)
    ends = [("<|startoftext|>", START), ("<|endoftext|>", END)]
    core.post_processor = processors.TemplateProcessing(single="<|startoftext|> $A <|endoftext|>", special_tokens=ends)
    special = {"bos": "<|startoftext|>", "eos": "<|endoftext|>", "pad": "<|endoftext|>", "unk": "<unknown>"}
    named = {f"{name}_token": token for name, token in special.items()}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=PADDED, **named)
