"""Pairs drawn: a model, and batches of samples through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from ..edit import Edit
from ..errors import EditError
from ..hosts.diffusers.loading import generator, sampled_by
from ..hosts.diffusers.networks import network_of
from ..hosts.diffusers.pipeline import align
from ..hosts.diffusers.unet import Unet
from ..schedule import InjectSchedule, Window, parse_word_windows
from ..words import letters, split_words
from .plan import Sample
from .request import Request
from .together import drawn_together

INJECTED = ("self", "cross", "both")
"""Whose window p ends. InstructPix2Pix's code injects self-attention, in all layers."""


@dataclass(frozen=True)
class Settings:
    """How pairs are drawn; with a sample and the pictures in its batch all that a picture depends on.

    Attributes:
        model: a checkpoint or a folder of diffusers'; empty is the demo model.
        inject: one of INJECTED.
        threads: of the processor, for each worker; sums may come out otherwise with another number of them.
    """

    model: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    width: int = 0
    height: int = 0
    steps: int = 30
    cfg: float = 7.5
    sampler_name: str = "dpmpp_2m"
    scheduler: str = "sgm_uniform"
    negative: str = ""
    inject: str = "self"
    self_layers: str = "all"
    compile: bool = False
    threads: int = 1


class Painter:
    """A model with its settings. Draws batches."""

    def __init__(self, settings: Settings):
        torch.set_num_threads(settings.threads)
        pipe = _load(settings)
        network = network_of(pipe)
        side = pipe.unet.config.sample_size if isinstance(network, Unet) else pipe.default_sample_size
        pixels = side * pipe.vae_scale_factor
        self.settings = replace(settings, width=settings.width or pixels, height=settings.height or pixels)
        self.pipe = _sampled(pipe, network, settings)
        self.pipe.set_progress_bar_config(disable=True)
        if settings.compile:
            compile_parts(network.module)
        self.edit = cache(self._edit)

    def _edit(self, request: Request) -> Edit:
        """A request's captions aligned, with all of it but the windows of a sample.

        Raises:
            EditError: words that are not in the captions, and all else that the engine refuses.
        """
        if not self.settings.model:
            _check_words(self.pipe.tokenizer, request)
        edit = align(self.pipe, request.source, request.edit, request.mode)
        for words, scale in request.reweight:
            edit = edit.reweight(words, scale)
        edit = edit.schedule(self._schedule(request, None))
        if request.source_words or request.edit_words:
            edit = edit.local_blend(request.source_words, request.edit_words, request.threshold)
        return edit

    def _schedule(self, request: Request, p: float | None) -> InjectSchedule:
        given, inject = dict(request.windows), self.settings.inject
        default = InjectSchedule()
        if p is not None:
            ends = {
                "cross": p if inject in ("cross", "both") else 0.0,
                "self": p if inject in ("self", "both") else 0.0,
            }
        else:
            ends = {"cross": default.cross_window.end, "self": default.self_window.end}
        windows = {
            f"{kind}_window": Window(given.get(f"{kind}_start", 0.0), given.get(f"{kind}_end", end), kind)
            for kind, end in ends.items()
        }
        word_windows = parse_word_windows(request.word_windows)
        return InjectSchedule(**windows, self_layers=self.settings.self_layers, word_windows=word_windows)

    def sampled(self, group: Sequence[Sample]) -> Edit:
        """The edits of samples with one source, each with its own windows."""
        edits = [self.edit(sample.request).schedule(self._schedule(sample.request, sample.p)) for sample in group]
        return replace(edits[0], variants=tuple(variant for edit in edits for variant in edit.variants))

    def draw(self, batch: Sequence[Sequence[Sample]]) -> list[np.ndarray]:
        """For each group its pictures, [1 + edits, height, width, 3] bytes, the source first; NaN becomes black.

        Raises:
            EditError: it does not fit into memory.
        """
        chosen = self.settings
        seeds = [group[0].seed for group in batch for _ in range(1 + len(group))]
        try:
            with torch.no_grad(), drawn_together(self.pipe, [self.sampled(group) for group in batch]) as together:
                pictures = self.pipe(
                    together.prompts,
                    negative_prompt=[chosen.negative] * len(together.prompts),
                    width=chosen.width,
                    height=chosen.height,
                    num_inference_steps=chosen.steps,
                    guidance_scale=chosen.cfg,
                    generator=[generator(seed) for seed in seeds],
                    output_type="np",
                ).images
        except torch.OutOfMemoryError as error:
            raise EditError(
                "rows",
                f"{len(seeds)} pictures of {chosen.width} x {chosen.height} at once do not fit into the memory of "
                f"{chosen.device} ({error}).",
                f"Try --rows {max(len(seeds) // 2, 2)}, --dtype float16, or a smaller --width and --height.",
            ) from error
        pixels = (np.nan_to_num(np.asarray(pictures)).clip(0, 1) * 255).round().astype(np.uint8)
        return np.split(pixels, np.cumsum(together.counts)[:-1])


def _check_words(tokenizer, request: Request) -> None:
    """The demo model takes every word that it does not know for the same one, and draws anything."""
    known = tokenizer.get_vocab()
    for name in ("source", "edit"):
        words = [letters(word) for word in split_words(getattr(request, name))]
        unknown = sorted({word for word in words if word and word not in known})
        if unknown:
            raise EditError(
                name,
                f"the demo model does not know {', '.join(unknown)}.",
                f"Its words: {', '.join(sorted(word for word in known if word.isalpha()))}.",
            )


def _load(settings: Settings) -> Any:
    from ..hosts.diffusers.loading import demo, load

    dtype = getattr(torch, settings.dtype)
    try:
        if not settings.model:
            return demo(settings.device, dtype)
        return load(settings.model, dtype).to(settings.device)
    except torch.OutOfMemoryError as error:
        raise EditError(
            "model",
            f"it does not fit into the memory of {settings.device} ({error}).",
            "Try --dtype float16, --device cpu, or fewer workers on each GPU (--gpus).",
        ) from error


def _sampled(pipe, network, settings: Settings):
    """The pipeline with the sampler of the settings; SD 3.x and Flux.1 keep the one that they were trained for."""
    if isinstance(network, Unet):
        return sampled_by(pipe, settings.sampler_name, settings.scheduler)
    usual = Settings()
    if (settings.sampler_name, settings.scheduler) != (usual.sampler_name, usual.scheduler):
        raise EditError(
            "sampler_name",
            f"{network.architecture.name} is sampled by its own scheduler.",
            "Leave --sampler_name and --scheduler out.",
        )
    return pipe


def compile_parts(network, backend: str = "inductor") -> None:
    """Compile what lies between the attention layers; these change from step to step and stay as they are."""
    parts = [module for module in network.modules() if type(module).__name__ in ("ResnetBlock2D", "FeedForward")]
    for module in parts:
        module.compile(dynamic=False, backend=backend)
    # All blocks of a kind share one forward. Each block needs a form of its own, for full batches and for the last
    # one, and beyond torch's limit of 8 forms the others would silently be left uncompiled.
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, 4 * len(parts))
    config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, 8 * len(parts))
