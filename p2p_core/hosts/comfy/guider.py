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
from ...layers import Layer, check_blocks
from ...noise import SharedNoise
from ...run import Run
from ...step import step_of
from .conditioning import Conditioning, check, is_aligned, stack
from .unet import AttentionPatch, attention_layers, context_width


class EditGuider(comfy.samplers.CFGGuider):
    """Classifier-free guidance over the stacked rows of an edit. All state lives within `run`.

    Args:
        model: ModelPatcher; never changed.
        edit: with encodings by `encode`.
        negative: CONDITIONING for all rows.
        cfg: guidance scale.
        source, edited: CONDITIONING in place of the edit's own; `edited` with a row per edit.
        trajectory: see Rows.
        keep_maps: see Run.

    Raises:
        EditError: inputs that don't fit each other or the model.
    """

    def __init__(
        self,
        model,
        edit: Edit,
        negative: Conditioning,
        cfg: float,
        source: Conditioning | None = None,
        edited: Conditioning | None = None,
        trajectory: str = "dual",
        keep_maps: bool = False,
    ):
        super().__init__(model)
        self.layers = attention_layers(model)
        for variant in edit.variants:
            check_blocks(variant.schedule.blocks, self.layers)
        self.edit = edit
        self.trajectory = trajectory
        self.keep_maps = keep_maps
        self.source = source if source is not None else edit.source.encoding
        self.edited = edited if edited is not None else stack([v.prompt.encoding for v in edit.variants])
        check(edit, self.source, self.edited, negative, context_width(model))
        self.set_conds(stack([self.source, self.edited]), negative)
        self.set_cfg(cfg)

    def sample(self, *args, **kwargs) -> torch.Tensor:
        """As CFGGuider.sample, for the latents of the source alone; returns [source, edit 1, ...] of each."""
        return self.run(*args, **kwargs)[0]

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
    ) -> tuple[torch.Tensor, Run]:
        """Sample source and edits.

        Args:
            noise, latent_image: [batch, channels, height, width], of the source.
            sigmas: [steps + 1], falling.

        Returns:
            latents [(1 + edits) * batch, channels, height, width], and the finished run with its maps and masks.
        """
        if latent_image.ndim != 4:
            raise EditError("latent_image is no latent of still pictures: prompt-to-prompt edits images.")
        batch = len(latent_image)
        run = Run(self.edit, self.layers, batch, tuple(latent_image.shape[-2:]), self.trajectory, self.keep_maps)
        rows = run.rows
        mine = self.model_patcher, self.model_options, self.original_conds
        try:
            self._run = run
            self._steps = sigmas.tolist()
            self._chunks: dict[uuid.UUID, bool] = {}
            self._noise = SharedNoise(len(rows), batch, tuple(latent_image.shape[1:]))
            self.model_patcher = self._patched(run)
            self.model_options = self.model_patcher.model_options
            positive = stack([self.source, self.edited], join=lambda parts: rows.spread(*parts))
            self.original_conds = {**self.original_conds, "positive": convert_cond(positive)}
            if denoise_mask is not None:
                denoise_mask = rows.tile(comfy.utils.repeat_to_batch_size(denoise_mask, batch))
            with self._noise:
                latents = super().sample(
                    rows.tile(noise),
                    rows.tile(latent_image),
                    sampler,
                    sigmas,
                    denoise_mask,
                    callback and (lambda i, x0, x, steps: callback(i, rows.visible(x0), rows.visible(x), steps)),
                    disable_pbar,
                    seed,
                )
            self._check_reached(run)
            return rows.visible(run.finish(latents)), run
        finally:
            self.model_patcher, self.model_options, self.original_conds = mine
            for name in ("_run", "_steps", "_chunks", "_noise", "conds", "inner_model", "loaded_models"):
                self.__dict__.pop(name, None)

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        if not self._chunks:
            self._name_chunks()
        steps = len(self._steps) - 1
        self._run.begin_step(step_of(float(timestep[0]), self._steps), steps)
        with self._noise.paused():
            return super().predict_noise(x, timestep, model_options or {}, seed)

    def _check_reached(self, run: Run) -> None:
        evaluated = bool(self._chunks)
        if evaluated and not run.reached and any(map(run.reaches, self.layers)):
            raise EditError(
                "model: it was sampled, but never asked for its patched attention, so nothing could be edited. "
                "Nodes that run the model outside of ComfyUI's own code, or with patches that they noted earlier, do "
                "that, such as TensorRT or Automatic CFG with attention modifiers: take them out."
            )
        if evaluated and (note := run.note()):
            logging.warning(note)

    def _patched(self, run: Run):
        model = self.model_patcher.clone()
        replaced = model.model_options["transformer_options"].get("patches_replace", {})
        slots: dict[tuple, list[Layer]] = {}
        for layer in filter(run.reaches, self.layers):
            name = "attn1" if layer.kind == "self" else "attn2"
            # The host asks for a transformer's own patch before its block's, so ours goes where one is.
            # Everywhere else it has the block's: guidance like PAG sets that one in the midst of a run.
            key = (layer.block, layer.number, layer.index)
            slots.setdefault((name, key if key in replaced.get(name, {}) else key[:2]), []).append(layer)
        for (name, key), layers in slots.items():
            previous = replaced.get(name, {}).get(key)
            model.set_model_patch_replace(AttentionPatch(run, layers, self._chunks, previous), name, *key)
        if run.settles:
            model.set_model_sampler_post_cfg_function(_blend_predictions(run))
        return model

    def _name_chunks(self) -> None:
        """Give the edited evaluations names of their own, by which the patches know them.

        Not by being "cond": extra guidance evaluates other conditionings in that place, and the host
        copies entries between positive and negative, names included, where only one has an area.
        """
        rows = self._run.rows
        aligned = []
        for cond in self.conds["positive"]:
            embeddings = cond["model_conds"]["c_crossattn"].cond
            edited = torch.cat([embeddings[rows.of(prompt)] for prompt in rows.edited])
            aligned.append(is_aligned(self.edit, embeddings[:1].cpu(), edited.cpu()))
        for cond, own in zip(self.conds["positive"], aligned):
            cond["uuid"] = uuid.uuid4()
            self._chunks[cond["uuid"]] = own or not any(aligned)


def _blend_predictions(run: Run) -> Callable:
    def post_cfg(args):
        denoised, uncond = run.blend(args["denoised"], args["uncond_denoised"])
        # Samplers of the cfg_pp family step along the unconditional prediction, which they take from
        # these arguments after us: outside of the masks it has to be the source's as well.
        if uncond is not None:
            args["uncond_denoised"].copy_(uncond)
        return denoised

    return post_cfg
