"""A source recorded by a pipeline's own call, and edits of it.

with record(pipe, "a cat sitting on a car") as recorder:
    [source] = pipe(recorder.prompts, generator=torch.manual_seed(1)).images
edit = align(pipe, "a cat sitting on a car", "a dog sitting on a car")
with prompt_to_prompt(pipe, edit, recording=recorder.recording) as run:
    [edited] = pipe(run.prompts, generator=torch.manual_seed(1)).images
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...edit import Edit
from ...errors import EditError
from ...recording import Keeper, Kept, Recording, check_fits
from ...recording_file import read, write
from ...replay import Replay, check_kept
from ...run import Run
from ...tokens import Prompt
from .fingerprint import of_call, of_network
from .network import Network
from .networks import network_of
from .predictions import blended
from .processors import edited_network
from .prompts import read_prompt
from .run import PipelineRun
from .schedulers import denoised_parts

_PIPELINES = (
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusion3Pipeline",
    "StableDiffusion3Img2ImgPipeline",
    "FluxPipeline",
    "FluxImg2ImgPipeline",
)
"""Those that are given nothing but prompts, noise and a picture to start from: all that is compared."""


@dataclass(frozen=True)
class PipelineRecording:
    """A recorded source, and what its pipeline was called with.

    Attributes:
        prompt: the source's.
        model: the network's digest.
        called: see `of_call`.
        negative: the embedding [tokens, width] of what the source was guided away from; None without guidance.
    """

    recording: Recording = field(repr=False)
    prompt: str
    model: str = field(repr=False)
    called: Mapping[str, str] = field(repr=False)
    negative: torch.Tensor | None = field(repr=False)

    def save(self, path: str | Path, more: Mapping[str, Any] | None = None) -> None:
        """Write it; see `recording_file.write`. `more`: what the caller wants beside it, as JSON has it."""
        told = {"prompt": self.prompt, "model": self.model, "called": dict(self.called), "caller": dict(more or {})}
        write(path, self.recording, told, {} if self.negative is None else {"negative": self.negative})

    @classmethod
    def load(cls, path: str | Path) -> tuple[PipelineRecording, dict[str, Any]]:
        """What `save` wrote, and the caller's `more`.

        Raises:
            EditError: see `recording_file.read`; or a recording that was not made by diffusers.
        """
        recording, told, tensors = read(path)
        texts, called = [told.get(name) for name in ("prompt", "model")], told.get("called")
        is_told = isinstance(called, dict) and all(isinstance(one, str) for one in (*texts, *called.values()))
        if not is_told or not isinstance(told.get("caller"), dict) or tensors.keys() - {"negative"}:
            raise EditError(
                "recording", f"{path} does not say what it was recorded with.", "Record the source with diffusers."
            )
        return cls(recording, *texts, called, tensors.get("negative")), told["caller"]


class RecordingRun(PipelineRun):
    """The calls of a pipeline with a source alone, which is kept.

    Attributes:
        recording: the last call's, once the context is left.
    """

    def __init__(self, pipe, prompt: Prompt, network: Network, kept: Kept):
        super().__init__(pipe, Edit(prompt).on(network.architecture), network, "dual", False)
        self.recording: PipelineRecording | None = None
        self._sees_predictions = True
        self._kept = kept
        self._keeper = Keeper(kept)
        self._called: dict[str, str] = {}
        self._negative: torch.Tensor | None = None
        self._model = of_network(network)

    def ended(self) -> None:
        """Make the recording.

        Raises:
            EditError: the sampling was stopped on its way.
        """
        made, asked = len(self._keeper.rounds), len(self._asked)
        if made != asked:
            raise EditError("pipe", f"it was stopped after {made} of {asked} rounds.", "Record the source again.")
        recording = self._keeper.recording(len(self._levels))
        self.recording = PipelineRecording(recording, self.prompts[0], self._model, self._called, self._negative)

    def _new_engine(self, batch, size, picture) -> Run:
        text, itemsize = self._first.text, self._first.text.itemsize
        within = sum(self._step_of(one) < self._kept.steps(len(self._levels)) for one in self._asked)
        attention = self._kept.bytes_a_round(size, text.shape[1], itemsize) * batch
        latents = self._first.latents[:batch].nbytes
        evaluations = len(self._first.latents) // batch
        wanted = within * attention + len(self._asked) * (1 + evaluations) * latents
        if (free := _free_memory()) is not None:
            check_fits(wanted, free, self._kept.until)
        self._keeper = Keeper(self._kept)
        return Run(self._edit, self._network.architecture, batch, size, keeper=self._keeper)

    def _begin_round(self, call, kwargs) -> None:
        _check_edited(call)
        batch = self.engine.rows.batch
        if not self._keeper.rounds:
            self._called = of_call(self._pipe, call.given, self._asked, batch, kwargs)
            self._negative = call.given.text[0].detach().cpu().clone() if call.evaluations > 1 else None
        self._keeper.begin(call.given.timestep, call.given.latents[:batch], self.engine.step, self.engine.steps)

    def _ruled(self, predictions, call) -> list[torch.Tensor]:
        self._keeper.predicted(*predictions)
        return list(predictions)


class RecordedRun(PipelineRun):
    """The calls of a pipeline with the edits of a recorded source.

    Raises:
        EditError: the recording is of something else than the edit.
    """

    def __init__(
        self, pipe, edit: Edit, network: Network, trajectory: str, keep_maps: bool, picture, recorded: PipelineRecording
    ):
        _check_pipeline(pipe)
        if picture is not None or edit.picture is not None:
            raise EditError(
                "picture", "a real picture is not recorded with diffusers so far.", "Leave recording or picture out."
            )
        if trajectory != "dual":
            raise EditError(
                "trajectory",
                f"'{trajectory}' asks for the source's prompt on each edit's picture, which is not recorded.",
                "Choose 'dual', or leave recording out.",
            )
        if edit.source.text != recorded.prompt:
            raise EditError(
                "source_prompt",
                f"the source was recorded with '{recorded.prompt}', but the edit's is '{edit.source.text}'.",
                "Align the edit with that prompt, or record this one.",
            )
        if of_network(network) != recorded.model:
            raise _other("model")
        super().__init__(pipe, edit.on(network.architecture), network, trajectory, keep_maps)
        self._recorded = recorded

    def _sampled(self, edit: Edit) -> list[Prompt]:
        return [variant.prompt for variant in edit.variants]

    def _new_engine(self, batch, size, picture) -> Run:
        recording, architecture = self._recorded.recording, self._network.architecture
        replay = Replay(recording, self._edit.within(architecture).source)
        return Run(self._edit, architecture, batch, size, keep_maps=self._keep_maps, recorded=replay)

    def _begin_round(self, call, kwargs) -> None:
        _check_edited(call)
        replay = self.engine.recorded
        if not replay.begun:
            self._check_call(call, kwargs)
            # It asks every step what it takes, and leaves the run at the last.
            check_kept(self.engine, self._recorded.recording)
            self.engine.begin_step(self._step_of(call.given.timestep), len(self._levels))
        replay.begin(call.given.timestep)
        if replay.begun == 1:
            self._check_noise(call, replay.round.latents)

    def _check_call(self, call, kwargs) -> None:
        called = of_call(self._pipe, call.given, self._asked, self.engine.rows.batch, kwargs)
        for name, value in called.items():
            if value != self._recorded.called.get(name):
                raise _other(name)
        own, negative = call.given.text[0], self._recorded.negative
        if (negative is None) != (call.evaluations == 1):
            raise _other("guidance")
        if negative is not None and (own.shape != negative.shape or _far(own, negative.to(own))):
            raise _other("negative prompt")

    def _check_noise(self, call, latents: torch.Tensor) -> None:
        own = call.given.latents[: len(self.engine.rows)]
        if _far(own, self.engine.rows.tile(latents.to(own))):
            raise EditError(
                "generator",
                "the pipeline begins with other noise, or with another picture, than the source was recorded with.",
                "Give it a generator with the same seed, and the same picture to start from.",
            )

    def _ruled(self, predictions, call) -> list[torch.Tensor]:
        self._check_guidance()
        parts = denoised_parts(self._pipe.scheduler, call.given.timestep)
        given, there = self._latents(call.given.latents, call, predictions[0].shape[1]), self.engine.recorded.round
        return blended(self.engine, predictions, given, parts, there.predictions, there.latents.to(given[0]))


@contextmanager
def record(
    pipe,
    prompt: str,
    *,
    self_layers: str = "half",
    until: float = 1.0,
    picture: Any = None,
    max_sequence_length: int | None = None,
) -> Iterator[RecordingRun]:
    """While active, `pipe(recorder.prompts, ...)` samples a source, and `recorder.recording` has it afterwards.

    The images are the pipeline's own. Where psutil is installed, a recording that would take more than half of the
    free memory is refused before it is begun.

    Args:
        pipe: for text or from an image, of SD 1.x, 2.x, SDXL, SD 3.x or Flux.1, without ControlNet or IP-Adapter.
        self_layers, until: see Kept.
        picture: a real one can't be recorded so far.
        max_sequence_length: see `align`.

    Raises:
        EditError: see above; the pipeline is called with other prompts, or not at all, or stopped on its way.
    """
    _check_pipeline(pipe)
    if picture is not None:
        raise EditError("picture", "a real picture is not recorded with diffusers so far.", "Use ComfyUI.")
    network = network_of(pipe)
    kept = Kept.of(network.architecture.layers, self_layers=self_layers, until=until)
    run = RecordingRun(pipe, read_prompt(pipe, prompt, max_sequence_length), network, kept)
    with edited_network(network, run):
        yield run
    run.ended()


def _check_pipeline(pipe) -> None:
    if type(pipe).__name__ not in _PIPELINES:
        raise EditError(
            "pipe",
            f"{type(pipe).__name__} is given more than prompts and a picture, which a recording could not compare.",
            f"Use one of: {', '.join(_PIPELINES)}.",
        )
    if any(
        getattr(getattr(pipe, name, None), "encoder_hid_proj", None) is not None for name in ("unet", "transformer")
    ):
        raise EditError("pipe", "its IP-Adapter's pictures could not be compared.", "Unload the IP-Adapter.")


def _check_edited(call) -> None:
    if not call.edited:
        raise EditError(
            "true_cfg_scale",
            "recordings have no second call of the network for the negative prompt.",
            "Leave true_cfg_scale at 1.",
        )


def _far(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether tensors differ by more than the rounding of another batch."""
    return float((a - b).abs().max()) > 1e-2 * float(b.abs().max())


def _other(what: str) -> EditError:
    return EditError(
        "recording",
        f"the source was recorded with another {what}.",
        "Give the pipeline the same, or record the source again.",
    )


def _free_memory() -> int | None:
    """In bytes; None where it can't be known."""
    try:
        import psutil
    except ImportError:
        return None
    return psutil.virtual_memory().available
