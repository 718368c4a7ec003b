"""diffusers: prompts by a pipeline's tokenizer, layers of its UNet, and a context in which its calls are edited.

    edit = align(pipe, "a cat sitting on a car", "a dog sitting on a car").reweight("dog", 1.5)
    with prompt_to_prompt(pipe, edit) as run:
        source, edited = pipe(run.prompts, generator=torch.manual_seed(1)).images

For pipelines with Stable Diffusion's UNet, SDXL included: text to image, image to image, inpainting and
ControlNet, with any scheduler. The pipeline's own `__call__` does the sampling; what is edited hangs on
its UNet as attention processors and forward hooks, and is gone when the context is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from ...edit import Edit
from ...errors import EditError
from ...layers import Layer, check_blocks
from ...maps import AttentionMaps
from ...noise import SharedNoise
from ...rows import TRAJECTORIES, Rows
from ...run import Chunk, Run
from .prompts import read_prompt
from .schedulers import denoised_ratio, executed_levels
from .unet import EditProcessor, attention_layers

# Arguments of the UNet that say what the prompt is; all others belong to the picture.
_OF_THE_PROMPT = ("encoder_hidden_states", "encoder_attention_mask", "text_embeds")


def align(pipe, source: str, edit: str | Sequence[str], mode: str = "auto") -> Edit:
    """An edit of `source`, or several, as PromptPairAlign makes them. An empty prompt is the source's.

    Chain `reweight`, `schedule` and `local_blend` on it; see Edit.
    """
    aligned = Edit(read_prompt(pipe, source))
    for text in [edit] if isinstance(edit, str) else edit:
        aligned = aligned.add(read_prompt(pipe, text if text.strip() else source), mode)
    return aligned


@contextmanager
def prompt_to_prompt(pipe, edit: Edit, trajectory: str = "dual", keep_maps: bool = False) -> Iterator[PipelineRun]:
    """While active, `pipe(run.prompts, ...)` samples source and edits side by side.

    Images come out as [source, edit 1, ..., edit n], `num_images_per_prompt` of each. The source is the
    picture that the pipeline makes of its prompt alone, from the same generator. A `negative_prompt` is a
    list as well, as the pipelines want it: `["blurry"] * len(run.prompts)`; one image, mask or control image
    serves all rows.

    Args:
        pipe: a StableDiffusionPipeline, -XLPipeline, or one of their relatives; not changed.
        edit: by `align`.
        trajectory: see Rows.
        keep_maps: whether `run.maps()` has the maps of all words afterwards.

    Raises:
        EditError: the pipeline can't be edited, is called with other prompts, or not at all.
    """
    if trajectory not in TRAJECTORIES:
        raise EditError(f"trajectory: '{trajectory}' is none of {', '.join(TRAJECTORIES)}.")
    if not edit.variants:
        raise EditError("edit: it has no edited prompt.")
    unet = getattr(pipe, "unet", None)
    if hasattr(unet, "_orig_mod") or getattr(unet, "_compiled_call_impl", None):
        raise EditError(
            "pipe: its UNet is compiled by torch.compile, but prompt-to-prompt changes what its attention does from "
            "step to step. Use the uncompiled UNet for edits: pipe.unet = pipe.unet._orig_mod."
        )
    layers = attention_layers(unet)
    for variant in edit.variants:
        check_blocks(variant.schedule.blocks, [layer for layer, _ in layers])
    run = PipelineRun(pipe, edit, [layer for layer, _ in layers], trajectory, keep_maps)
    with ExitStack() as undo:
        for layer, attention in layers:
            if isinstance(attention.processor, EditProcessor):
                raise EditError("pipe: it is in another prompt_to_prompt context. Join the edits: align takes several.")
            undo.callback(attention.set_processor, attention.processor)
            attention.set_processor(EditProcessor(run, layer, attention.processor))
        undo.callback(unet.register_forward_pre_hook(run.before_unet, with_kwargs=True).remove)
        undo.callback(unet.register_forward_hook(run.after_unet, always_call=True).remove)
        undo.enter_context(run.noise)
        yield run
    if run.engine is None:
        raise EditError("pipe: it was not called within prompt_to_prompt. Call pipe(run.prompts, ...) in there.")


class PipelineRun:
    """The calls of a pipeline within a context. A call that is begun anew begins a new engine run.

    Attributes:
        prompts: the prompts to call the pipeline with.
        engine: the Run of the last call; None before the first.
    """

    def __init__(self, pipe, edit: Edit, layers: Sequence[Layer], trajectory: str, keep_maps: bool):
        self.prompts = [edit.source.text, *(variant.prompt.text for variant in edit.variants)]
        self.engine: Run | None = None
        self.noise = PipelineNoise(len(self.prompts))
        self._pipe = pipe
        self._edit = edit
        self._layers = layers
        self._trajectory = trajectory
        self._keep_maps = keep_maps
        self._timesteps: torch.Tensor | None = None
        self._pause = None

    def maps(self) -> AttentionMaps | None:
        """The attention maps of the last call, if `keep_maps`."""
        return self.engine and self.engine.maps()

    def masks(self) -> torch.Tensor | None:
        """Where each edit could change the picture; see Run."""
        return self.engine and self.engine.masks()

    @property
    def chunks(self) -> list[Chunk]:
        """The conditional rows of a call of the UNet; they are its last."""
        return [Chunk((self._evaluations - 1) * len(self.engine.rows))]

    def before_unet(self, unet, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """The UNet's inputs with the rows of companions, at the step that they belong to."""
        named = dict(zip(("sample", "timestep", "encoder_hidden_states"), args)) | kwargs
        timestep = float(named["timestep"])
        self._evaluations = 2 if self._pipe.do_classifier_free_guidance else 1
        self._check_rows(named)
        # A pipeline sets its scheduler's timesteps once a call.
        if self._pipe.scheduler.timesteps is not self._timesteps:
            self._begin(named["sample"], timestep)
        step = sum(level >= timestep for level in self._levels) - 1
        self.engine.begin_step(max(step, 0), len(self._levels))
        self._input, self._timestep = named["sample"], timestep
        self._pause = self.noise.paused()
        self._pause.__enter__()
        positional = zip(("sample", "timestep", "encoder_hidden_states"), args)
        args = (*(self._with_companions(value, name) for name, value in positional), *args[3:])
        return args, self._with_companions(kwargs)

    def after_unet(self, unet, args, output):
        """The UNet's prediction without the rows of companions, the edits kept to their masks."""
        if self._pause is not None:
            self._pause.__exit__(None, None, None)
            self._pause = None
        if output is None:  # the UNet raised
            return None
        rows = self.engine.rows
        evaluations = output[0].chunk(self._evaluations)
        if any(variant.blend for variant in self._edit.variants):
            evaluations = self._blended(evaluations)
        prediction = torch.cat([rows.visible(rows_of_one) for rows_of_one in evaluations])
        return (prediction,) if isinstance(output, tuple) else type(output)(sample=prediction)

    def _begin(self, sample: torch.Tensor, timestep: float) -> None:
        scheduler = self._pipe.scheduler
        self._timesteps = scheduler.timesteps
        executed = getattr(self._pipe, "num_timesteps", None)
        self._levels = executed_levels(scheduler.timesteps.tolist(), timestep, executed, getattr(scheduler, "order", 1))
        batch = len(sample) // (self._evaluations * len(self.prompts))
        size = tuple(sample.shape[-2:])
        self.engine = Run(self._edit, self._layers, batch, size, self._trajectory, self._keep_maps)

    def _check_rows(self, named: dict[str, Any]) -> None:
        rows, expected = len(named["sample"]), self._evaluations * len(self.prompts)
        if rows % expected:
            raise EditError(
                f"pipe: its UNet got {rows} rows where a multiple of {expected} was expected. Within prompt_to_prompt "
                "call it with pipe(run.prompts, ...): the source and every edit."
            )
        text = named["encoder_hidden_states"]
        tokens = (text[0] if isinstance(text, tuple) else text).shape[1]
        if any(tokens % len(prompt) for prompt in (self._edit.source, *(v.prompt for v in self._edit.variants))):
            raise EditError(
                f"pipe: its prompts were encoded to {tokens} tokens, but the edit was aligned for "
                f"{len(self._edit.source)}. Align and call the same pipeline."
            )

    def _with_companions(self, value: Any, name: str = "") -> Any:
        """[source, edits...] as the engine's rows: a companion is the source's prompt on its edit's picture."""
        if isinstance(value, dict):
            return {key: self._with_companions(inner, key) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._with_companions(inner, name) for inner in value)
        rows = self.engine.rows
        visible = self._evaluations * len(self.prompts) * rows.batch
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != visible:
            return value
        order = _order(rows, of_the_prompt=name in _OF_THE_PROMPT)
        return value.unflatten(0, (self._evaluations, len(self.prompts), rows.batch))[:, order].flatten(0, 2)

    def _blended(self, predictions: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The UNet's predictions such that the denoised latents are the source's outside of the masks.

        With x0 = a x + b p for the latent x and the prediction p, an x0 blended by a mask is the same
        blend of p, plus a / b of the blend's change of x. Guidance is linear in x0, so it may come after.
        """
        if getattr(self._pipe, "guidance_rescale", 0):
            raise EditError("local_blend: it can't be held under guidance_rescale. Call the pipeline without it.")
        scheduler = self._pipe.scheduler
        ratio = denoised_ratio(scheduler, self._timestep)
        latents = self._with_companions(self._input)[:, : predictions[0].shape[1]].chunk(self._evaluations)
        blended = self.engine.blend(*predictions)
        return [p + ratio * (self.engine.settle(x) - x) for p, x in zip(blended, latents)]


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
    """For each of the engine's prompts which of [source, edits...] it is taken from."""
    edits = list(range(1, 1 + rows.edits))
    companions = [0] * rows.edits if of_the_prompt else edits
    return [0, *(companions if rows.trajectory == "shared" else []), *edits]
