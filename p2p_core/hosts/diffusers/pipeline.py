"""diffusers: prompts by a pipeline's tokenizer, layers of its UNet, and a context in which its calls are edited.

    edit = align(pipe, "a cat sitting on a car", "a dog sitting on a car").reweight("dog", 1.5)
    with prompt_to_prompt(pipe, edit) as run:
        source, edited = pipe(run.prompts, generator=torch.manual_seed(1)).images

For pipelines with Stable Diffusion's UNet, SDXL included: text to image, image to image, inpainting and
ControlNet, with any scheduler. The pipeline's own `__call__` does the sampling; what is edited hangs on
its UNet as attention processors and forward hooks, and is gone when the context is left.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ...architecture import Architecture
from ...edit import Edit
from ...errors import EditError
from ...maps import AttentionMaps
from ...noise import SharedNoise
from ...rows import TRAJECTORIES, Evaluation, Rows
from ...run import Run
from .predictions import blended, pinned
from .prompts import read_prompt
from .real_picture import Picture, encoded
from .schedulers import denoised_parts, executed_levels, noise_level
from .unet import EditProcessor, architecture_of

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
def prompt_to_prompt(
    pipe, edit: Edit, trajectory: str = "dual", keep_maps: bool = False, *, picture: Any = None
) -> Iterator[PipelineRun]:
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
        picture: a real one, which then is the source: an image or a list, in any form that the pipeline's image
            processor takes, or latents. `edit.real_picture(...)` says how edits are held to it. A pipeline for text
            starts from noise alone; one for images starts from the image that it is given, which should be the same.

    Raises:
        EditError: the pipeline can't be edited, is called with other prompts, or not at all.
    """
    if trajectory not in TRAJECTORIES:
        raise EditError("trajectory", f"'{trajectory}' is not one of: {', '.join(TRAJECTORIES)}.")
    if not edit.variants:
        raise EditError("edit", "it has no edited prompt.", "Add one: align(pipe, source, edit) does.")
    if edit.picture is not None and picture is None:
        raise EditError("picture", "the edit is one of a real picture, but there is none.", "Give one as picture=.")
    if picture is not None:
        edit = edit if edit.picture is not None else edit.real_picture()
        if edit.picture.noise == "fresh" and getattr(pipe, "controlnet", None) is not None:
            raise EditError(
                "noise",
                "it can't be fresh with a ControlNet, which the pipeline asks at the sampler's own.",
                "Choose it: edit.real_picture(noise='fixed').",
            )
        picture = encoded(pipe, picture)
    architecture, layers = architecture_of(pipe)
    run = PipelineRun(pipe, edit.on(architecture), architecture, trajectory, keep_maps, picture)
    with ExitStack() as undo:
        for layer, attention in layers:
            if isinstance(attention.processor, EditProcessor):
                raise EditError(
                    "pipe",
                    "another prompt_to_prompt context is editing it already.",
                    "Join the edits into one: align takes several prompts.",
                )
            undo.callback(attention.set_processor, attention.processor)
            attention.set_processor(EditProcessor(run, layer, attention.processor))
        undo.callback(pipe.unet.register_forward_pre_hook(run.before_unet, with_kwargs=True).remove)
        undo.callback(pipe.unet.register_forward_hook(run.after_unet, always_call=True).remove)
        undo.enter_context(run.noise)
        yield run
    if run.engine is None:
        raise EditError("pipe", "it was not called within prompt_to_prompt.", "Call pipe(run.prompts, ...) inside it.")
    if note := run.note():
        logging.getLogger(__name__).warning(note)


@dataclass
class _UnetCall:
    """What is known of the UNet's call that is being made, until it is done.

    Attributes:
        input: what the pipeline gave; asked: where the UNet is asked instead.
    """

    evaluations: int
    input: torch.Tensor
    asked: torch.Tensor
    timestep: float
    noise_is_paused: ExitStack


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
        architecture: Architecture,
        trajectory: str,
        keep_maps: bool,
        picture: torch.Tensor | None = None,
    ):
        self.prompts = [edit.source.text, *(variant.prompt.text for variant in edit.variants)]
        self.engine: Run | None = None
        self.noise = PipelineNoise(len(self.prompts))
        self._pipe = pipe
        self._edit = edit
        self._architecture = architecture
        self._trajectory = trajectory
        self._keep_maps = keep_maps
        self._latents_of_picture = picture
        self._picture: Picture | None = None
        self._timesteps: torch.Tensor | None = None
        self._levels: list[float] = []
        self._call: _UnetCall | None = None

    def maps(self) -> AttentionMaps | None:
        """The attention maps of the last call, if `keep_maps`."""
        return self.engine and self.engine.maps()

    def masks(self) -> torch.Tensor | None:
        """Where each edit could change the picture; see Run."""
        return self.engine and self.engine.masks()

    def note(self) -> str | None:
        """What to say of the last call if it edited nothing; see Run."""
        return self.engine and self.engine.note()

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """The conditional rows of a call of the UNet; they are its last."""
        return (Evaluation((self._call.evaluations - 1) * len(self.engine.rows)),)

    def before_unet(self, unet, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """The UNet's inputs with the rows of companions, at the step that they belong to."""
        named = dict(zip(("sample", "timestep", "encoder_hidden_states"), args)) | kwargs
        evaluations = 2 if self._pipe.do_classifier_free_guidance else 1
        call = _UnetCall(evaluations, named["sample"], named["sample"], float(named["timestep"]), ExitStack())
        self._check_rows(named, call)
        # A pipeline sets its scheduler's timesteps once a call.
        if self._pipe.scheduler.timesteps is not self._timesteps:
            self._begin(call)
        step = sum(level >= call.timestep for level in self._levels) - 1
        self.engine.begin_step(max(step, 0), len(self._levels))
        call.noise_is_paused.enter_context(self.noise.paused())
        self._call = call
        if self._picture is not None and self.engine.fidelity:
            sigma = noise_level(self._pipe.scheduler, call.timestep)
            call.asked = self._picture.where_asked(call.input, sigma)
            args, kwargs = ((call.asked, *args[1:]), kwargs) if args else (args, {**kwargs, "sample": call.asked})
        positional = zip(("sample", "timestep", "encoder_hidden_states"), args)
        args = (*(self._with_companions(value, name) for name, value in positional), *args[3:])
        return args, self._with_companions(kwargs)

    def after_unet(self, unet, args, output):
        """The UNet's prediction without the rows of companions, the edits kept to their masks."""
        call, self._call = self._call, None
        if call is not None:
            call.noise_is_paused.close()
        if output is None:  # the UNet raised
            return None
        rows = self.engine.rows
        evaluations = output[0].chunk(call.evaluations)
        if self._picture is not None or any(variant.blend for variant in self._edit.variants):
            evaluations = self._ruled(evaluations, call)
        prediction = torch.cat([rows.visible(rows_of_one) for rows_of_one in evaluations])
        return (prediction,) if isinstance(output, tuple) else type(output)(sample=prediction)

    def _begin(self, call: _UnetCall) -> None:
        scheduler, timesteps = self._pipe.scheduler, self._pipe.scheduler.timesteps
        self._timesteps = timesteps
        executed = getattr(self._pipe, "num_timesteps", None)
        self._levels = executed_levels(timesteps.tolist(), call.timestep, executed, getattr(scheduler, "order", 1))
        batch = len(call.input) // (call.evaluations * len(self.prompts))
        size = tuple(call.input.shape[-2:])
        latents = self._latents_of_picture
        if latents is not None:
            first = call.input[:batch, : self._pipe.unet.config.out_channels]
            self._picture = Picture.of(self._edit.picture, latents.to(first), first)
            latents = self._picture.latents
        self.engine = Run(
            self._edit, self._architecture, batch, size, self._trajectory, self._keep_maps, picture=latents
        )

    def _check_rows(self, named: dict[str, Any], call: _UnetCall) -> None:
        rows, expected = len(call.input), call.evaluations * len(self.prompts)
        if rows % expected:
            raise EditError(
                "pipe",
                f"its UNet got {rows} rows, expected a multiple of {expected}.",
                "Within prompt_to_prompt, call pipe(run.prompts, ...), which has the source and every edit.",
            )
        text = named["encoder_hidden_states"]
        tokens = (text[0] if isinstance(text, tuple) else text).shape[1]
        if any(tokens % len(prompt) for prompt in (self._edit.source, *(v.prompt for v in self._edit.variants))):
            raise EditError(
                "pipe",
                f"its prompts were encoded to {tokens} tokens, but the edit was aligned for {len(self._edit.source)}.",
                "Call the pipeline that the prompts were aligned with.",
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
        order = _order(rows, of_the_prompt=name in _OF_THE_PROMPT)
        return value.unflatten(0, (self._call.evaluations, len(self.prompts), rows.batch))[:, order].flatten(0, 2)

    def _ruled(self, predictions: Sequence[torch.Tensor], call: _UnetCall) -> list[torch.Tensor]:
        """The UNet's predictions for each evaluation as the engine's rules have them."""
        if getattr(self._pipe, "guidance_rescale", 0):
            raise EditError(
                "guidance_rescale",
                "it can't be combined with local blends and real pictures.",
                "Call the pipeline without guidance_rescale.",
            )
        parts = denoised_parts(self._pipe.scheduler, call.timestep)
        given, asked = (self._latents(x, call, predictions[0].shape[1]) for x in (call.input, call.asked))
        if self._picture is None:
            return blended(self.engine, predictions, given, parts)
        return pinned(self.engine, predictions, asked, given, parts, self._pipe.guidance_scale)

    def _latents(self, x: torch.Tensor, call: _UnetCall, channels: int) -> Sequence[torch.Tensor]:
        """For each evaluation the latents in an input of the UNet, companions among them."""
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
    """For each of the engine's prompts which of [source, edits...] it is taken from."""
    edits = list(range(1, 1 + rows.edits))
    companions = [0] * rows.edits if of_the_prompt else edits
    return [0, *(companions if rows.trajectory == "shared" else []), *edits]
