"""A pipeline's sampling with an edit in it: the rows of its network's calls, and what becomes of its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from ...edit import Edit
from ...errors import EditError
from ...maps import AttentionMaps
from ...noise import SharedNoise
from ...rows import Evaluation, Rows
from ...run import Run
from ...tokens import Prompt
from .network import Inputs, Network
from .predictions import blended, pinned
from .real_picture import Picture
from .schedulers import denoised_parts, executed_levels, executed_timesteps, noise_level


@dataclass
class _NetworkCall:
    """What is known of the network's call that is being made, until it is done.

    Attributes:
        given: what the pipeline gave; asked: the latents where the network is asked instead.
        edited: whether its last rows have the prompts of the edit.
    """

    evaluations: int
    given: Inputs
    asked: torch.Tensor
    noise_is_paused: ExitStack
    edited: bool = True


class PipelineRun:
    """The calls of a pipeline within a context. A call that is begun anew begins a new engine run.

    Attributes:
        prompts: the prompts to call the pipeline with.
        engine: the Run of the last call; None before the first.
    """

    def __init__(
        self,
        pipe,
        edit: Edit,
        network: Network,
        trajectory: str,
        keep_maps: bool,
        picture: torch.Tensor | None = None,
    ):
        self.prompts = [prompt.text for prompt in self._sampled(edit)]
        self.engine: Run | None = None
        self.noise = PipelineNoise(len(self.prompts))
        self._pipe = pipe
        self._edit = edit
        self._network = network
        self._sees_predictions = any(variant.blend for variant in edit.variants)
        self._trajectory = trajectory
        self._keep_maps = keep_maps
        self._latents_of_picture = picture
        self._picture: Picture | None = None
        self._timesteps: torch.Tensor | None = None
        self._asked: list[float] = []
        self._levels: list[float] = []
        self._call: _NetworkCall | None = None
        self._first: Inputs | None = None

    def _sampled(self, edit: Edit) -> list[Prompt]:
        """The prompts that the pipeline is called with."""
        return [edit.source, *(variant.prompt for variant in edit.variants)]

    def _new_engine(self, batch: int, size: tuple[int, int], picture: torch.Tensor | None) -> Run:
        architecture = self._network.architecture
        return Run(self._edit, architecture, batch, size, self._trajectory, self._keep_maps, picture=picture)

    def maps(self) -> AttentionMaps | None:
        """The attention maps of the last call, if `keep_maps`."""
        return self.engine and self.engine.maps()

    def masks(self) -> torch.Tensor | None:
        """Where each edit could change the picture; see Run."""
        return self.engine and self.engine.masks()

    def note(self) -> str | None:
        """What to say of the last call if it edited nothing; see Run."""
        return self.engine and self.engine.note()

    def check_called(self) -> None:
        """Raise EditError where the last call never asked for attention that can be edited."""
        if not self.engine.called and any(map(self.engine.concerns, self._network.architecture.layers)):
            raise EditError(
                "pipe",
                "it was sampled without calling the edited attention, so nothing could be edited. Attention backends "
                "other than torch's are such.",
                "Choose torch's: pipe.transformer.set_attention_backend('native').",
            )

    @property
    def inputs(self) -> Inputs:
        """Of the call of the network that is being made."""
        return self._call.given

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The conditional rows of a call of the network; they are its last."""
        call = self._call
        return (Evaluation((call.evaluations - 1) * len(self.engine.rows)),) if call.edited else ()

    def before_network(self, module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """The network's inputs with the rows of companions, at the step that they belong to."""
        given = self._network.read(args, kwargs, self._pipe.scheduler)
        # A pipeline sets its scheduler's timesteps once a call.
        begins = self._pipe.scheduler.timesteps is not self._timesteps
        call = _NetworkCall(self._evaluations(given, begins), given, given.latents, ExitStack())
        self._check_rows(call)
        if begins:
            self._begin(call)
        call.edited = self._network.has_prompts_of(given, self._first)
        self.engine.begin_step(self._step_of(given.timestep), len(self._levels))
        self._begin_round(call, kwargs)
        call.noise_is_paused.enter_context(self.noise.paused())
        self._call = call
        if self._picture is not None and self.engine.fidelity:
            sigma = noise_level(self._pipe.scheduler, given.timestep)
            call.asked = self._picture.where_asked(given.latents, sigma)
            args, kwargs = ((call.asked, *args[1:]), kwargs) if args else (args, {**kwargs, "sample": call.asked})
        named = zip(self._network.names, args)
        args = (*(self._with_companions(value, name) for name, value in named), *args[len(self._network.names) :])
        return args, self._with_companions(kwargs)

    def after_network(self, module, args, output):
        """The network's prediction without the rows of companions, the edits kept to their masks."""
        call, self._call = self._call, None
        if call is not None:
            call.noise_is_paused.close()
        if output is None:  # the network raised
            return None
        rows, network = self.engine.rows, self._network
        evaluations = network.predicted(output[0], call.given).chunk(call.evaluations)
        if self._picture is not None or self._sees_predictions:
            evaluations = self._ruled(evaluations, call)
        prediction = torch.cat([rows.visible(rows_of_one) for rows_of_one in evaluations])
        prediction = network.as_output(prediction, output[0], call.given)
        return (prediction,) if isinstance(output, tuple) else type(output)(sample=prediction)

    def _step_of(self, timestep: float) -> int:
        return max(sum(level >= timestep for level in self._levels) - 1, 0)

    def _evaluations(self, given: Inputs, begins: bool) -> int:
        """How often the prompts are in a call: once more for what they are guided away from, if that is beside them."""
        if begins:
            return 2 if getattr(self._pipe, "do_classifier_free_guidance", False) else 1
        return max(len(given.latents) // (len(self.prompts) * self.engine.rows.batch), 1)

    def _begin(self, call: _NetworkCall) -> None:
        scheduler, timesteps = self._pipe.scheduler, self._pipe.scheduler.timesteps
        self._timesteps = timesteps
        executed = getattr(self._pipe, "num_timesteps", None)
        order = getattr(scheduler, "order", 1)
        given = timesteps.tolist(), call.given.timestep, executed, order
        self._asked, self._levels = executed_timesteps(*given), executed_levels(*given)
        given = call.given.latents
        batch = len(given) // (call.evaluations * len(self.prompts))
        self._first = call.given
        latents = self._latents_of_picture
        if latents is not None:
            first = given[:batch, : self._network.module.config.out_channels]
            self._picture = Picture.of(self._edit.picture, latents.to(first), first)
            latents = self._picture.latents
        self.engine = self._new_engine(batch, tuple(given.shape[-2:]), latents)

    def _begin_round(self, call: _NetworkCall, kwargs: dict[str, Any]) -> None:
        """The network is about to be asked, with these arguments by name."""

    def _check_rows(self, call: _NetworkCall) -> None:
        rows, expected = len(call.given.latents), call.evaluations * len(self.prompts)
        if rows % expected:
            raise EditError(
                "pipe",
                f"its network got {rows} rows, expected a multiple of {expected}.",
                "Within prompt_to_prompt, call pipe(run.prompts, ...), which has the source and every edit.",
            )
        tokens = call.given.text.shape[1]
        lengths = {len(prompt) for prompt in (self._edit.source, *(v.prompt for v in self._edit.variants))}
        if any(tokens % length if self._network.tiles else tokens != length for length in lengths):
            raise EditError(
                "pipe",
                f"its prompts were encoded to {tokens} tokens, but the edit was aligned for {len(self._edit.source)}.",
                "Call the pipeline that the prompts were aligned with; if it has a max_sequence_length, give align the "
                "same.",
            )

    def _with_companions(self, value: Any, name: str = "") -> Any:
        """[source, edits...] as the engine's rows: a companion is the source's prompt on its edit's picture."""
        if isinstance(value, dict):
            return {key: self._with_companions(inner, key) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._with_companions(inner, name) for inner in value)
        rows = self.engine.rows
        visible = self._call.evaluations * len(self.prompts) * rows.batch
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != visible:
            return value
        if name in self._network.no_rows:
            return value
        order = _order(rows, of_the_prompt=name in self._network.of_the_prompt)
        return value.unflatten(0, (self._call.evaluations, len(self.prompts), rows.batch))[:, order].flatten(0, 2)

    def _ruled(self, predictions: Sequence[torch.Tensor], call: _NetworkCall) -> list[torch.Tensor]:
        """The network's predictions for each evaluation as the engine's rules have them."""
        self._check_guidance()
        parts = denoised_parts(self._pipe.scheduler, call.given.timestep)
        given, asked = (self._latents(x, call, predictions[0].shape[1]) for x in (call.given.latents, call.asked))
        if self._picture is None:
            return blended(self.engine, predictions, given, parts)
        return pinned(self.engine, predictions, asked, given, parts, self._pipe.guidance_scale)

    def _check_guidance(self) -> None:
        if getattr(self._pipe, "guidance_rescale", 0):
            raise EditError(
                "guidance_rescale",
                "it can't be combined with local blends and real pictures.",
                "Call the pipeline without guidance_rescale.",
            )

    def _latents(self, x: torch.Tensor, call: _NetworkCall, channels: int) -> Sequence[torch.Tensor]:
        """For each evaluation the latents in an input of the network, companions among them."""
        rows, prompts = self.engine.rows, len(self.prompts)
        x = x[:, :channels].unflatten(0, (call.evaluations, prompts, rows.batch))
        return x[:, _order(rows, of_the_prompt=False)].flatten(1, 2).unbind(0)


class PipelineNoise(SharedNoise):
    """SharedNoise for latents whose number and size the pipeline decides: known once it draws them."""

    def __init__(self, prompts: int):
        super().__init__(prompts, 1, ())
        self._prompts = prompts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.randn and args and isinstance(args[0], (tuple, torch.Size)):
            rows, *shape = args[0]
            if len(shape) == 3 and rows % self._prompts == 0:
                with SharedNoise(rows, rows // self._prompts, tuple(shape)):
                    return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _order(rows: Rows, of_the_prompt: bool) -> list[int]:
    """For each of the engine's prompts which of [source, edits...], or of edits alone, it is taken from."""
    sources = [0] if rows.source is not None else []
    edits = list(range(len(sources), len(sources) + rows.edits))
    companions = [0] * rows.edits if of_the_prompt else edits
    return [*sources, *(companions if rows.trajectory == "shared" else []), *edits]
