"""diffusers: prompts by a pipeline's tokenizers, layers of its network, and a context in which its calls are edited.

    edit = align(pipe, "a cat sitting on a car", "a dog sitting on a car").reweight("dog", 1.5)
    with prompt_to_prompt(pipe, edit) as run:
        source, edited = pipe(run.prompts, generator=torch.manual_seed(1)).images

For pipelines with Stable Diffusion's UNet, SDXL included, or the transformers of SD 3.x and Flux.1: text to image,
image to image, inpainting and ControlNet, with any scheduler. The pipeline's own `__call__` does the sampling; what is
edited hangs on its network as attention processors and forward hooks, and is gone when the context is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...edit import Edit
from ...errors import EditError
from ...rows import TRAJECTORIES
from .networks import network_of
from .processors import edited_network
from .prompts import read_prompt
from .real_picture import encoded
from .recording import PipelineRecording, RecordedRun
from .run import PipelineRun
from .unet import Unet


def align(
    pipe, source: str, edit: str | Sequence[str], mode: str = "auto", *, max_sequence_length: int | None = None
) -> Edit:
    """An edit of `source`, or several, as PromptPairAlign makes them. An empty prompt is the source's.

    Chain `reweight`, `schedule` and `local_blend` on it; see Edit.

    Args:
        max_sequence_length: of a pipeline with T5, what it will be called with; None is its default.
    """
    aligned = Edit(read_prompt(pipe, source, max_sequence_length))
    for text in [edit] if isinstance(edit, str) else edit:
        aligned = aligned.add(read_prompt(pipe, text if text.strip() else source, max_sequence_length), mode)
    return aligned


@contextmanager
def prompt_to_prompt(
    pipe,
    edit: Edit,
    trajectory: str = "dual",
    keep_maps: bool = False,
    *,
    picture: Any = None,
    recording: PipelineRecording | None = None,
) -> Iterator[PipelineRun]:
    """While active, `pipe(run.prompts, ...)` samples source and edits side by side.

    Images come out as [source, edit 1, ..., edit n], `num_images_per_prompt` of each. The source is the
    picture that the pipeline makes of its prompt alone, from the same generator. A `negative_prompt` is a
    list as well, as the pipelines want it: `["blurry"] * len(run.prompts)`; one image, mask or control image
    serves all rows.

    Args:
        pipe: a StableDiffusionPipeline, -XLPipeline, StableDiffusion3Pipeline, FluxPipeline, or one of their
            relatives; not changed.
        edit: by `align`.
        trajectory: see Rows.
        keep_maps: whether `run.maps()` has the maps of all words afterwards.
        picture: a real one, which then is the source: an image or a list, in any form that the pipeline's image
            processor takes, or latents. `edit.real_picture(...)` says how edits are held to it. A pipeline for text
            starts from noise alone; one for images starts from the image that it is given, which should be the same.
        recording: of the edit's source, by `record`. Then `run.prompts` and the images are the edits alone; all else
            that the pipeline is called with, its generator's seed too, has to be as it was.

    Raises:
        EditError: the pipeline can't be edited, is called with other prompts, or not at all.
    """
    if trajectory not in TRAJECTORIES:
        raise EditError("trajectory", f"'{trajectory}' is not one of: {', '.join(TRAJECTORIES)}.")
    if not edit.variants:
        raise EditError("edit", "it has no edited prompt.", "Add one: align(pipe, source, edit) does.")
    network = network_of(pipe)
    if recording is not None:
        with edited_network(
            network, RecordedRun(pipe, edit, network, trajectory, keep_maps, picture, recording)
        ) as run:
            yield run
        return
    if edit.picture is not None and picture is None:
        raise EditError("picture", "the edit is one of a real picture, but there is none.", "Give one as picture=.")
    if picture is not None:
        if not isinstance(network, Unet):
            raise EditError(
                "picture",
                f"{network.architecture.name} edits no real pictures with diffusers so far.",
                "Use ComfyUI, or a pipeline of SD 1.x, SD 2.x or SDXL.",
            )
        edit = edit if edit.picture is not None else edit.real_picture()
        if edit.picture.noise == "fresh" and getattr(pipe, "controlnet", None) is not None:
            raise EditError(
                "noise",
                "it can't be fresh with a ControlNet, which the pipeline asks at the sampler's own.",
                "Choose it: edit.real_picture(noise='fixed').",
            )
        picture = encoded(pipe, picture)
    run = PipelineRun(pipe, edit.on(network.architecture), network, trajectory, keep_maps, picture)
    with edited_network(network, run):
        yield run
