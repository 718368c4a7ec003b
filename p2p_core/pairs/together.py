"""Edits of several sources in one call of a pipeline: each with its own source, noise and windows.

The host's own context edits one source. Here each source's rows lie one after another, [source, edits..., source,
edits..., ...], and each has a run of the engine to itself. Their attention is still one call for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch

from ..attention import Attend, Call, edited_attention
from ..edit import Edit
from ..errors import EditError
from ..hosts.diffusers.networks import network_of
from ..hosts.diffusers.predictions import blended
from ..hosts.diffusers.schedulers import denoised_parts, executed_levels
from ..hosts.diffusers.unet import EditProcessor, Unet
from ..layers import Layer
from ..rows import Evaluation
from ..run import Run


@contextmanager
def drawn_together(pipe, edits: Sequence[Edit]) -> Iterator[Together]:
    """While active, `pipe(together.prompts, ...)` samples every source with its edits.

    Args:
        pipe: as for the host's `prompt_to_prompt`; without other attention processors. Its call takes a list of
            generators, one a row: rows of one source have generators of one seed.
        edits: by the host's `align`, any number of variants each.
    """
    together = Together(pipe, edits)
    with ExitStack() as undo:
        for layer, attention in together.layers:
            undo.callback(attention.set_processor, attention.processor)
            attention.set_processor(EditProcessor(together, layer, attention.processor))
        undo.callback(pipe.unet.register_forward_pre_hook(together.before_unet, with_kwargs=True).remove)
        undo.callback(pipe.unet.register_forward_hook(together.after_unet).remove)
        yield together


class Together:
    """The runs of one call of a pipeline. What an EditProcessor asks of a run and its engine, this is for all."""

    def __init__(self, pipe, edits: Sequence[Edit]):
        network = network_of(pipe)
        if not isinstance(network, Unet):
            raise EditError(
                "model",
                f"pairs are drawn by models with a UNet so far, and this is {network.architecture.name}.",
                "Use SD 1.x, SD 2.x or SDXL.",
            )
        self.architecture, self.layers = network.architecture, network.layers
        self.edits = edits
        self.counts = [1 + len(edit.variants) for edit in edits]
        self.prompts = [text for edit in edits for text in (edit.source.text, *(v.prompt.text for v in edit.variants))]
        self.evaluations: tuple[Evaluation, ...] = ()
        self.size = (0, 0)
        self._pipe = pipe
        self._runs: list[Run] = []
        self._timesteps: torch.Tensor | None = None
        self._levels: list[float] = []
        self._asked: tuple[torch.Tensor, float] | None = None

    @property
    def engine(self) -> Together:
        """What an EditProcessor asks for its layer's attention."""
        return self

    def concerns(self, layer: Layer) -> bool:
        return any(run.concerns(layer) for run in self._runs)

    def attention(self, call: Call, attend: Attend, previous: Attend | None = None) -> torch.Tensor:
        """All rows' attention [rows, n, c] in one call, each edit's with what it takes from its source."""
        if previous is not None:
            raise EditError(
                "model",
                "its attention has processors of its own, which pairs are not drawn with.",
                "Load it without IP-Adapter, xformers or attention slicing.",
            )
        pairs = []
        for run, evaluation in zip(self._runs, call.evaluations):
            if run.concerns(call.layer):
                pairs += run.pairs(replace(call, evaluations=(evaluation,)), attend)
        return edited_attention(call, pairs, attend)

    def before_unet(self, unet, args: tuple, kwargs: dict[str, Any]) -> None:
        named = dict(zip(("sample", "timestep"), args)) | kwargs
        sample, timestep = named["sample"], float(named["timestep"])
        if self._pipe.scheduler.timesteps is not self._timesteps:
            self._begin(sample, timestep)
        step = sum(level >= timestep for level in self._levels) - 1
        for run in self._runs:
            run.begin_step(max(step, 0), len(self._levels))
        conditional = len(sample) - len(self.prompts)  # the last rows; before them those of the negative prompt, if any
        self.evaluations = tuple(Evaluation(conditional + first) for first in self._firsts)
        self._asked = sample, timestep

    def after_unet(self, unet, args, output):
        """The UNet's prediction, edits with a local blend kept to their masks."""
        predictions, (sample, timestep) = output[0], self._asked
        if any(run.has_rules for run in self._runs):
            parts = denoised_parts(self._pipe.scheduler, timestep)
            predictions = predictions.clone()
            bases = range(0, len(sample), len(self.prompts))
            for run, first in zip(self._runs, self._firsts):
                if run.has_rules:
                    rows = [slice(base + first, base + first + len(run.rows)) for base in bases]
                    latents = [sample[of, : predictions.shape[1]] for of in rows]
                    for of, made in zip(rows, blended(run, [predictions[of] for of in rows], latents, parts)):
                        predictions[of] = made
        return (predictions,) if isinstance(output, tuple) else type(output)(sample=predictions)

    @property
    def _firsts(self) -> list[int]:
        """For each source its row."""
        return [0, *accumulate(self.counts)][:-1]

    def _begin(self, sample: torch.Tensor, timestep: float) -> None:
        scheduler = self._pipe.scheduler
        self._timesteps = scheduler.timesteps
        executed = getattr(self._pipe, "num_timesteps", None)
        order = getattr(scheduler, "order", 1)
        self._levels = executed_levels(self._timesteps.tolist(), timestep, executed, order)
        self.size = tuple(sample.shape[-2:])
        self._runs = [Run(edit, self.architecture, 1, self.size) for edit in self.edits]
