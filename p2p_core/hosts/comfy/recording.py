"""A source recorded through ComfyUI's samplers, and edits of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import comfy.samplers
import torch

from ...edit import Edit
from ...errors import EditError
from ...layers import Layer
from ...noise import moved_to
from ...recording import Keeper, Kept, Recording
from ...replay import Replay, check_kept
from ...rows import Evaluation, Rows
from ...run import Run
from ...tokens import Prompt
from .architecture import architecture_of
from .conditioning import Conditioning, check_source, same
from .fingerprint import check_same, fingerprint
from .guider import EditGuider
from .recording_size import check_size
from .sampling import Sampling, sample
from .session import Session

_STEPS_OF_ITS_OWN = "dpm_adaptive"
_UNREAD = Prompt("", ())
"""A prompt whose words nobody asks for."""


@dataclass(frozen=True)
class SourceRecording:
    """A recorded source, with all that an edit of it has to be sampled with.

    Attributes:
        model: the fingerprint of its model.
        latent: ComfyUI's LATENT that it was sampled from.
    """

    recording: Recording
    model: dict[str, str] = field(repr=False)
    source: Conditioning = field(repr=False)
    negative: Conditioning = field(repr=False)
    cfg: float
    latent: dict[str, Any] = field(repr=False)
    sampling: Sampling


class RecordingGuider(EditGuider):
    """Samples a source alone, once, and has a keeper keep it.

    Args:
        noise: see Recording.
    """

    sees_predictions = True

    def __init__(self, model, source: Conditioning, negative: Conditioning, cfg: float, keeper: Keeper, noise: str):
        edit = Edit(replace(_UNREAD, encoding=source))
        super().__init__(
            model, edit if noise == "none" else edit.real_picture(noise=noise), negative, cfg, latent_holds="source"
        )
        self.keeper = keeper

    def _new_run(self, batch, size, picture) -> Run:
        return Run(self.edit, self.architecture, batch, size, keeper=self.keeper, picture=picture)

    def _evaluations(self, rows) -> list[tuple[dict, Evaluation]]:
        return _numbered(self.conds["positive"])

    def _begin_round(self, session, x, timestep, options) -> torch.Tensor:
        self.keeper.begin(float(timestep[0]), x, session.run.step, session.run.steps)
        return super()._begin_round(session, x, timestep, options)

    def _ruled(self, run, denoised, cond, uncond, more) -> list[torch.Tensor | None]:
        self.keeper.predicted(denoised, uncond, cond)
        return super()._ruled(run, denoised, cond, uncond, more)

    def _final(self, run, latents, picture) -> torch.Tensor:
        self.keeper.ended(latents)
        return super()._final(run, latents, picture)


class RecordedGuider(EditGuider):
    """Samples the edits of a recorded source without it.

    Where its attention was not recorded, the source is evaluated in each round in which an edit takes some.

    Raises:
        EditError: the recording is of something else than the edit, or lacks what it takes.
    """

    def __init__(
        self,
        model,
        edit: Edit,
        negative: Conditioning,
        recorded: SourceRecording,
        *,
        edited: Conditioning | None = None,
        keep_maps: bool = False,
        tell: Callable[[str], None] | None = None,
    ):
        check_same(model, recorded.model)
        if edited is None:
            check_source(edit, recorded.source)
        if not same(negative, recorded.negative):
            raise EditError(
                "negative", "it is not the one that the source was recorded with.", "Connect the recorder's own."
            )
        if edit.picture is not None and edit.picture.source_cfg not in (0, 1) and recorded.cfg == 1:
            raise EditError(
                "source_cfg",
                f"{edit.picture.source_cfg:g} needs the negative prompt, which was left out at the recording's cfg of "
                "1.",
                "Choose 0, or record the source with another cfg.",
            )
        settings = {"keep_maps": keep_maps, "latent_holds": "source", "tell": tell}
        super().__init__(model, edit, negative, recorded.cfg, source=recorded.source, edited=edited, **settings)
        self.recording = recorded.recording
        self._laid_out = self.edit.within(self.architecture).source
        if not self.architecture.stays_in_place(self._laid_out):
            raise EditError(
                "edit",
                f"it has an edited prompt that is longer than the recorded source's, and {self.architecture.name} "
                "counts the picture's places from the longest prompt's end: none of them would be where it was.",
                "Shorten the edited prompt, or sample source and edit together.",
            )

    def _new_run(self, batch, size, picture) -> Run:
        replay = Replay(self.recording, self._laid_out)
        run = Run(self.edit, self.architecture, batch, size, keep_maps=self.keep_maps, recorded=replay, picture=picture)
        check_kept(run, self.recording)
        return run

    def _conditionings(self, rows: Rows) -> dict[str, Conditioning]:
        own = super()._conditionings(rows)
        if not self.recording.kept.layers:
            alone = Rows(0, rows.batch)
            own["source"] = self.architecture.stack([self.source], join=lambda parts: alone.spread(*parts))
        return own

    def _evaluations(self, rows) -> list[tuple[dict, Evaluation]]:
        return [*super()._evaluations(rows), *_numbered(self.conds.get("source", []))]

    def _sources_text(self, embeddings: torch.Tensor, rows: Rows) -> torch.Tensor:
        own = embeddings[:: rows.batch]
        together = [text for text, _ in self.architecture.stack(self._prompts) if torch.equal(text[1:], own)]
        return together[0][:1] if together else own[:1]

    def _begin_round(self, session, x, timestep, options) -> torch.Tensor:
        run, replay = session.run, session.run.recorded
        replay.begin(float(timestep[0]))
        here, asked = replay.round.latents.to(x), self._asked_at(session, timestep)
        if "source" in self.conds and (taken := [layer for layer in self.architecture.layers if run.takes(layer)]):
            self._evaluate_source(session, taken, here if asked is None else asked, timestep, options)
        return x if asked is None else moved_to(asked, x, run.rows, here)

    def _evaluate_source(self, session: Session, layers: list[Layer], x, timestep, options: dict) -> None:
        """Follow what the attention of these layers is now, the source being at `x`."""
        replay, keeper = session.run.recorded, Keeper(Kept(frozenset(layers)), place=lambda tensor: tensor)
        alone = Run(Edit(_UNREAD), self.architecture, len(x), session.run.size, keeper=keeper)
        keeper.begin(float(timestep[0]), x, 0, 1)
        with session.evaluating(alone):
            comfy.samplers.calc_cond_batch(self.inner_model, [self.conds["source"]], x, timestep[: len(x)], options)
        keeper.predicted()
        replay.follow(keeper.rounds[0].attention)

    def _ruled(self, run, denoised, cond, uncond, more) -> list[torch.Tensor | None]:
        of_source, without, with_prompt = run.recorded.round.predictions
        if more:
            of_source = of_source + more * (with_prompt - without)
        return run.predictions(denoised, uncond, sources=(of_source, without))

    def _final(self, run, latents, picture) -> torch.Tensor:
        return run.final(latents, picture, self.recording.final)


def _numbered(entries: list[dict]) -> list[tuple[dict, Evaluation]]:
    return [(entry, Evaluation(number=number)) for number, entry in enumerate(entries)]


def record(
    model,
    source: Conditioning,
    negative: Conditioning,
    cfg: float,
    latent: dict[str, Any],
    sampling: Sampling,
    *,
    picture: str = "none",
    keep: str = "attention",
    self_layers: str = "half",
    until: float = 1.0,
) -> tuple[SourceRecording, torch.Tensor]:
    """Sample a source as KSampler does, and keep it.

    Args:
        picture: see Recording.noise.
        keep, self_layers, until: see Kept.

    Returns:
        the recording, and the source's latents [batch, channels, height, width].

    Raises:
        EditError: a sampler whose steps can't be made again, or more than half of the free memory would be needed.
    """
    architecture = architecture_of(model)
    kept = Kept.of(architecture.layers, keep, self_layers, until)
    if sampling.sampler_name == _STEPS_OF_ITS_OWN:
        raise EditError(
            "sampler_name",
            f"{sampling.sampler_name} chooses its steps by the pictures that it samples, so an edit would not make "
            "those of the recording.",
            "Choose any other.",
        )
    check_size(model, kept, source, latent, sampling)
    keeper = Keeper(kept)
    guider = RecordingGuider(model, source, negative, cfg, keeper, picture)
    latents, run = sample(guider, latent, sampling)
    recording = keeper.recording(run.steps, picture)
    return SourceRecording(recording, fingerprint(model), source, negative, cfg, latent, sampling), latents


def edit_recorded(guider: RecordedGuider, recorded: SourceRecording) -> tuple[torch.Tensor, Run]:
    """The latents [edits * batch, channels, height, width] of a recorded source's edits, and the finished run."""
    return sample(guider, recorded.latent, recorded.sampling)
