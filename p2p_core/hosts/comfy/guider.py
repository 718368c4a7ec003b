"""A guider that carries a run of an edit through ComfyUI's samplers."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

import comfy.samplers
import comfy.utils
import torch
from comfy.sampler_helpers import convert_cond

from ...edit import Edit
from ...errors import EditError
from ...noise import SharedNoise, moved_to
from ...predictions import with_guided_source
from ...rows import Evaluation, Rows
from ...run import Run
from ...step import step_of
from .apart import prompt_by_prompt
from .architecture import architecture_of
from .conditioning import Conditioning, check, check_texts, is_own
from .others import adapters_of_each_picture, check_others
from .parts import HandedOut, Part, belongs, check_falling, check_whole, images_of, note_of_part, note_of_pictures
from .pictures import spread
from .pictures_in_prompts import with_pictures
from .preview import Telling
from .real_picture import Picture
from .session import Session

_HANDED_OUT = HandedOut()


class EditGuider(comfy.samplers.CFGGuider):
    """Classifier-free guidance over the stacked rows of an edit. All state lives within `run`.

    Args:
        model: ModelPatcher; never changed.
        edit: with encodings by `encode`; without variants the source is sampled alone.
        negative: CONDITIONING for all rows.
        cfg: guidance scale.
        source, edited: CONDITIONING in place of the edit's own; `edited` with a row per edit.
        trajectory: see Rows.
        keep_maps: see Run.
        sigmas: the whole schedule, where it is sampled in parts: windows count its steps.
        latent_holds: one of parts.HOLDS.
        tell: is called with each sentence for the user.

    Attributes:
        architecture: the model's.

    Raises:
        EditError: inputs that don't fit each other or the model.
    """

    sees_predictions = False  # whether `_ruled` is asked even where a run has no rules

    def __init__(
        self,
        model,
        edit: Edit,
        negative: Conditioning,
        cfg: float,
        *,
        source: Conditioning | None = None,
        edited: Conditioning | None = None,
        trajectory: str = "dual",
        keep_maps: bool = False,
        sigmas: torch.Tensor | None = None,
        latent_holds: str = "auto",
        tell: Callable[[str], None] | None = None,
    ):
        super().__init__(model)
        self.architecture = architecture_of(model)
        self.edit = edit.on(self.architecture)
        self.trajectory = trajectory
        self.keep_maps = keep_maps
        self.whole = None if sigmas is None else sigmas.tolist()
        self.latent_holds = latent_holds
        self._tell = tell or (lambda note: None)
        stack = self.architecture.stack
        self.source = source if source is not None else edit.source.encoding
        self.edited = edited if edited is not None else stack([v.prompt.encoding for v in edit.variants])
        check_others(model, (self.source, self.edited, negative))
        if self.architecture.reads_pictures:
            self.edit = with_pictures(self.edit, self.source, self.edited)
        check(self.edit, self.source, self.edited, negative, self.architecture)
        self._note = check_texts(edit, self.source, self.edited) if source is not None or edited is not None else None
        self._prompts = [prompts for prompts in (self.source, self.edited) if prompts]
        self.set_conds(stack(self._prompts), negative)
        self.set_cfg(cfg)
        self._session: Session | None = None

    @property
    def current_run(self) -> Run | None:
        """The run that is being sampled; None between runs."""
        return self._session and self._session.run

    def sample(self, *args, **kwargs) -> torch.Tensor:
        """As CFGGuider.sample, for the latents of the source, or those that an earlier part returned.

        Returns [source, edit 1, ...] of each.
        """
        return self.run(*args, **kwargs, hands_out=True)[0]

    def run(
        self,
        noise: torch.Tensor,
        latent_image: torch.Tensor,
        sampler,
        sigmas: torch.Tensor,
        denoise_mask: torch.Tensor | None = None,
        callback: Callable | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        hands_out: bool = False,
    ) -> tuple[torch.Tensor, Run]:
        """Sample source and edits.

        Args:
            noise, latent_image: [batch, channels, height, width], or with an axis of one frame, of the source; or
                those of source and edits, [(1 + edits) * batch, ...], as an earlier part of the sampling gave them.
            sigmas: [steps + 1], falling.
            hands_out: whether the latents may come back in, for another part of the steps.

        Returns:
            latents [(1 + edits) * batch, channels, height, width], and the finished run with its maps and masks.
        """
        levels = sigmas.tolist()
        part = self._part_before(latent_image, levels)
        batch = images_of(latent_image, self.latent_holds, len(self.edit.variants), part)
        size = tuple(latent_image.shape[-2:])
        if part is not None and part.ended > 0:
            picture = part.picture and part.picture.as_now()
        else:
            picture = Picture.of(self.model_patcher, self.edit.picture, latent_image[:batch], noise[:batch], seed)
        predicted = picture and picture.predicted
        run = self._new_run(batch, size, predicted)
        if part is not None:
            run.go_on_from(part.run)
        rows = run.rows
        mine = self.model_patcher, self.model_options, self.original_conds
        telling = Telling(callback, rows)
        try:
            shared = SharedNoise(len(rows), batch, tuple(latent_image.shape[1:]))
            whole = self.whole or levels
            self._session = Session(run, whole, levels[-1:] == whole[-1:], shared, picture)
            self.model_patcher = self._patched(self._session)
            self.model_options = self.model_patcher.model_options
            own, controls = {name: convert_cond(of) for name, of in self._conditionings(rows).items()}, {}
            self.original_conds = {
                name: spread(entries, rows, controls, text=name not in own)
                for name, entries in {**self.original_conds, **own}.items()
            }
            if denoise_mask is not None:
                denoise_mask = rows.tile(comfy.utils.repeat_to_batch_size(denoise_mask, batch))
            with shared:
                latents = super().sample(
                    rows.tile(noise[:batch]),
                    rows.tile(latent_image) if len(latent_image) == batch else rows.complete(latent_image),
                    sampler,
                    sigmas,
                    denoise_mask,
                    telling.step,
                    disable_pbar,
                    seed,
                )
            if self._session.ends:
                latents = self._final(run, latents, picture.given if picture and levels[-1:] == [0] else None)
            self._session.check_called()
            self._show(self._session.note())
            latents = rows.visible(latents)
            telling.end()
            if hands_out and telling.predicted is not None:
                self._hand_out(latents, telling.predicted, Part(run, levels[-1], picture))
            return latents, run
        finally:
            self._session = None
            self.model_patcher, self.model_options, self.original_conds = mine
            for left in ("conds", "inner_model", "loaded_models"):  # by the host, where sampling failed
                self.__dict__.pop(left, None)

    def _part_before(self, latents: torch.Tensor, levels: list[float]) -> Part | None:
        """The part that handed these latents out, if this one goes on from it; checks the steps, and tells of them."""
        check_falling(levels)
        if self.whole is not None:
            check_whole(levels, self.whole)
        part = None if self.latent_holds == "source" else _HANDED_OUT.find(latents)
        if part is not None and not belongs(part, self.edit):
            if part.ended > 0:
                raise EditError(
                    "latent_image",
                    "it is the source and the edits of other prompts, with the noise of a part of the steps in it.",
                    "Sample all parts with the edit of the first.",
                )
            part = None
        notes = [self._note, note_of_pictures(latents, self.latent_holds, len(self.edit.variants), part)]
        notes += [note_of_part(levels, part)] if self.whole is None and len(levels) > 1 else []
        self._show(*notes)
        return part

    def _hand_out(self, latents: torch.Tensor, predicted: torch.Tensor, part: Part) -> None:
        """Remember what goes out, and its prediction, which SamplerCustomAdvanced hands out besides."""
        _HANDED_OUT.add(self.model_patcher.model.process_latent_out(predicted.cpu()), Part(part.run, 0.0, None))
        _HANDED_OUT.add(latents, part)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        session = self._session
        if not session.evaluations:
            for cond, evaluation in self._evaluations(session.run.rows):
                # By this name the patches know it. Not by being "cond": extra guidance evaluates others in that place,
                # and the host copies entries between positive and negative, where only one has an area.
                cond["uuid"] = uuid.uuid4()
                self.architecture.finish(cond, self.inner_model.diffusion_model)
                session.evaluations[cond["uuid"]] = evaluation
        session.run.begin_step(step_of(float(timestep[0]), session.sigmas), len(session.sigmas) - 1)
        with session.noise.paused():
            x = self._begin_round(session, x, timestep, model_options or {})
            return super().predict_noise(x, timestep, model_options or {}, seed)

    # What runs of recorded sources do otherwise.

    def _new_run(self, batch: int, size: tuple[int, int], picture: torch.Tensor | None) -> Run:
        return Run(self.edit, self.architecture, batch, size, self.trajectory, self.keep_maps, picture=picture)

    def _conditionings(self, rows: Rows) -> dict[str, Conditioning]:
        """What is evaluated beside the negative: `positive`, with a row for each of the run's."""
        return {"positive": self.architecture.stack(self._prompts, join=lambda parts: rows.spread(*parts))}

    def _evaluations(self, rows: Rows) -> list[tuple[dict, Evaluation]]:
        """Each entry of those, once the host has processed them, with what it is."""
        entries, own = self.conds["positive"], []
        for entry in entries:
            embeddings = entry["model_conds"]["c_crossattn"].cond.cpu()
            edited = torch.cat([embeddings[rows.of(rows.place_of(i))] for i in range(rows.edits)])
            own.append(is_own(self.edit, self._sources_text(embeddings, rows), edited))
        return [(entry, Evaluation(0, any(own) and not own[i], i)) for i, entry in enumerate(entries)]

    def _sources_text(self, embeddings: torch.Tensor, rows: Rows) -> torch.Tensor:
        """The source's [1, tokens, width] that belongs to those of the run's rows."""
        return embeddings[:1]

    def _begin_round(self, session: Session, x: torch.Tensor, timestep: torch.Tensor, options: dict) -> torch.Tensor:
        """Where the model is asked for rows that the sampler has at `x`."""
        asked = self._asked_at(session, timestep)
        return x if asked is None else moved_to(asked, x, session.run.rows)

    def _final(self, run: Run, latents: torch.Tensor, picture: torch.Tensor | None) -> torch.Tensor:
        return run.final(latents, picture)

    def _ruled(
        self, run: Run, denoised: torch.Tensor, cond: torch.Tensor, uncond: torch.Tensor | None, more: float
    ) -> list[torch.Tensor | None]:
        """Predictions [rows, ...], after guidance and unconditional ones, as the run's rules have them.

        `more`: by how much the source's guidance scale is above the edits'.
        """
        if more:
            denoised = with_guided_source(denoised, cond, uncond, run.rows, more)
        return run.predictions(denoised, uncond)

    def _asked_at(self, session: Session, timestep: torch.Tensor) -> torch.Tensor | None:
        """Where the model is asked for a real picture's source, if not where the sampler has it."""
        if session.picture is None or not session.run.fidelity:
            return None
        return session.picture.noisy(timestep, self.inner_model.model_sampling)

    def _show(self, *notes: str | None) -> None:
        for note in filter(None, notes):
            logging.warning(note)
            self._tell(note)

    def _patched(self, session: Session):
        model = self.model_patcher.clone()
        prompt_by_prompt(model, session.run.rows)
        adapters_of_each_picture(model, session.run.rows)
        self.architecture.attach(model, session)
        if session.run.has_rules or self.sees_predictions:
            # Guidance of the source's own needs the unconditional prediction, which the host saves at cfg 1.
            guided = self.edit.picture is not None and self.edit.picture.source_cfg not in (0, 1)
            model.set_model_sampler_post_cfg_function(self._rule(session.run), disable_cfg1_optimization=guided)
        return model

    def _rule(self, run: Run) -> Callable[[dict], torch.Tensor]:
        own_cfg = self.edit.picture.source_cfg if self.edit.picture is not None else 0

        def post_cfg(args):
            uncond = args["uncond_denoised"]
            more = own_cfg - args["cond_scale"] if own_cfg and uncond is not None else 0
            denoised, ruled = self._ruled(run, args["denoised"], args["cond_denoised"], uncond, more)
            # Samplers of the cfg_pp family step along the unconditional prediction, which they take from these
            # arguments after us: outside of the masks it has to be the source's, and the source's the picture.
            if uncond is not None:
                uncond.copy_(ruled)
            return denoised

        return post_cfg
