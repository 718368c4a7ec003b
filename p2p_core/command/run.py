"""An edit from the command line:

    python -m p2p_core "a cat sitting on a car" "a dog sitting on a car" -o edit.png

with the pack's demo model, or --model: a single-file checkpoint or a diffusers folder. Options have the
names of the nodes' inputs. Dropped on ComfyUI's canvas, the picture opens the same edit.

    python -m p2p_core "a cat on a sofa" "a dog on a sofa" --image photo.jpg --source_words cat --edit_words dog

edits a picture of your own, and gives it back in its size.

    python -m p2p_core "a cat sitting on a car" --record cat.safetensors -o cat.png
    python -m p2p_core "a cat sitting on a car" "a dog sitting on a car" --from cat.safetensors -o dog.png

samples a source once, and edits it as often as you like without sampling it again.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from PIL.Image import Resampling
from PIL.PngImagePlugin import PngInfo

from ..errors import EditError
from ..show.heat import heat_sheet
from ..show.report import model_report
from .arguments import as_nodes, parser, with_options
from .photograph import laid_in, opened, size_for
from .recorded import check_recorded, record_source, recorded_for
from .sampling import sampled, with_defaults
from .workflow import as_prompt, edit_workflow


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        run(options)
    except (EditError, ImportError) as error:
        print(f"prompt-to-prompt: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    from ..hosts.diffusers.loading import sampled_by
    from ..hosts.diffusers.networks import network_of
    from ..hosts.diffusers.pipeline import align, prompt_to_prompt

    check_recorded(options)
    recording = recorded_for(options) if options.recorded else None
    photograph = options.image and opened(options.image)
    pipe = load(options)
    side = pipe.unet.config.sample_size * pipe.vae_scale_factor
    width, height = size_for(photograph, side) if photograph else (side, side)
    options.width, options.height = options.width or width, options.height or height
    if options.report:
        architecture = network_of(pipe).architecture
        size = (side // architecture.pixels for side in (options.height, options.width))
        print(model_report(architecture, options.model.name if options.model else "The demo model", *size))
    if not options.source_prompt:
        if not options.report:
            raise EditError("source_prompt", "it is missing.", "Say what the picture shows. --help lists the options.")
        return
    with_defaults(options)
    if not 0 < options.denoise <= 1 or (options.denoise < 1 and not photograph):
        raise EditError("denoise", f"{options.denoise} is out of range: it is above 0, and below 1 only with --image.")
    edit = with_options(align(pipe, options.source_prompt, options.edit_prompt, options.mode), options)
    pipe = sampled_by(pipe, options.sampler_name, options.scheduler, from_image=options.denoise < 1)
    print(f"seed {options.seed}")
    if options.record:
        record_source(pipe, options).save(options.output, pnginfo=workflow_texts(options))
        return
    small = photograph and photograph.resize((options.width, options.height), Resampling.LANCZOS)
    keeps_maps = options.maps is not None
    with prompt_to_prompt(pipe, edit, options.trajectory, keeps_maps, picture=small, recording=recording) as state:
        if options.denoise < 1:
            begun = {"image": [small] * len(state.prompts), "strength": options.denoise}
        else:
            begun = {"width": options.width, "height": options.height}
        pictures = sampled(pipe, state.prompts, options, **begun)
    if recording is not None:
        pictures[0].save(options.output, pnginfo=workflow_texts(options))
        return
    source, edited = pictures
    if photograph:
        source, edited = photograph, laid_in(photograph, edited, state.masks()[0])
    texts = None if photograph else workflow_texts(options)
    edited.save(options.output, pnginfo=texts)
    if options.source:
        source.save(options.source, pnginfo=texts)
    if options.maps:
        heat_sheet(state.maps(), pictures).save(options.maps, pnginfo=texts)


def load(options: argparse.Namespace):
    """The pipeline of --model, or the demo model, which is warned for where it doesn't know a word."""
    dtype = getattr(torch, options.dtype)
    if options.model:
        from ..hosts.diffusers.loading import load

        return load(options.model, dtype).to(options.device)
    from ..hosts.diffusers.loading import demo

    pipe = demo(options.device, dtype)
    words = (
        f"{options.source_prompt or ''} {options.edit_prompt} {options.negative or ''}".lower()
        .replace(",", " ")
        .split()
    )
    unknown = [word for word in dict.fromkeys(words) if word not in pipe.tokenizer.get_vocab()]
    if unknown:
        known = sorted(word for word in pipe.tokenizer.get_vocab() if word.isalpha())
        print(f"The demo model does not know {', '.join(unknown)}. Its words: {', '.join(known)}.", file=sys.stderr)
    return pipe


def workflow_texts(options: argparse.Namespace) -> PngInfo | None:
    """The edit as PNG texts: its workflow, and the same for a server; None where the examples are not at hand."""
    workflow = edit_workflow(*as_nodes(options), options.model)
    if workflow is None:
        return None
    texts = PngInfo()
    texts.add_text("prompt", json.dumps(as_prompt(workflow)))
    texts.add_text("workflow", json.dumps(workflow))
    return texts
