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
from ..hosts.diffusers.network import Inputs
from ..hosts.diffusers.networks import network_of
from ..hosts.diffusers.predictions import blended
from ..hosts.diffusers.schedulers import denoised_parts, executed_levels
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
    network = together.network
    with ExitStack() as undo:
        for layer, attention in network.layers:
            undo.callback(attention.set_processor, attention.processor)
            attention.set_processor(network.processor(together, layer, attention.processor))
        undo.callback(network.module.register_forward_pre_hook(together.before_network, with_kwargs=True).remove)
        undo.callback(network.module.register_forward_hook(together.after_network).remove)
        yield together


class Together:
    """The runs of one call of a pipeline. What the host's processors ask of a run and its engine, this is for all.

    Attributes:
        prompts: to call the pipeline with; counts: for each source how many of them are its own and its edits'.
        inputs, evaluations: of the network's call that is being made, an evaluation for each source.
    """

    def __init__(self, pipe, edits: Sequence[Edit]):
        self.network = network_of(pipe)
        self.edits = edits
        self.counts = [1 + len(edit.variants) for edit in edits]
        self.prompts = [text for edit in edits for text in (edit.source.text, *(v.prompt.text for v in edit.variants))]
        self.evaluations: tuple[Evaluation, ...] = ()
        self.size = (0, 0)
        self.inputs: Inputs | None = None
        self._pipe = pipe
        self._runs: list[Run] = []
        self._timesteps: torch.Tensor | None = None
        self._levels: list[float] = []
        self._first: Inputs | None = None

    @property
    def engine(self) -> Together:
        """What a processor asks for its layer's attention."""
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

    def before_network(self, module, args: tuple, kwargs: dict[str, Any]) -> None:
        given = self.network.read(args, kwargs, self._pipe.scheduler)
        if self._pipe.scheduler.timesteps is not self._timesteps:
            self._begin(given)
        step = sum(level >= given.timestep for level in self._levels) - 1
        for run in self._runs:
            run.begin_step(max(step, 0), len(self._levels))
        conditional = len(given.latents) - len(self.prompts)  # before them are those of the negative prompt, if any
        edited = self.network.has_prompts_of(given, self._first)
        self.evaluations = tuple(Evaluation(conditional + first) for first in self._firsts) if edited else ()
        self.inputs = given

    def after_network(self, module, args, output):
        """The network's prediction, edits with a local blend kept to their masks."""
        given = self.inputs
        if not any(run.has_rules for run in self._runs):
            return output
        parts = denoised_parts(self._pipe.scheduler, given.timestep)
        predictions = self.network.predicted(output[0], given).clone()
        bases = range(0, len(given.latents), len(self.prompts))
        for run, first in zip(self._runs, self._firsts):
            if run.has_rules:
                rows = [slice(base + first, base + first + len(run.rows)) for base in bases]
                latents = [given.latents[of, : predictions.shape[1]] for of in rows]
                for of, made in zip(rows, blended(run, [predictions[of] for of in rows], latents, parts)):
                    predictions[of] = made
        predictions = self.network.as_output(predictions, output[0], given)
        return (predictions,) if isinstance(output, tuple) else type(output)(sample=predictions)

    @property
    def _firsts(self) -> list[int]:
        """For each source its row."""
        return [0, *accumulate(self.counts)][:-1]

    def _begin(self, given: Inputs) -> None:
        scheduler = self._pipe.scheduler
        self._timesteps, self._first = scheduler.timesteps, given
        executed = getattr(self._pipe, "num_timesteps", None)
        order = getattr(scheduler, "order", 1)
        self._levels = executed_levels(self._timesteps.tolist(), given.timestep, executed, order)
        self.size = tuple(given.latents.shape[-2:])
        self._runs = [Run(edit, self.network.architecture, 1, self.size) for edit in self.edits]
