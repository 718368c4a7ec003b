"""An edit from the command line:

    python -m p2p_core "a cat sitting on a car" "a dog sitting on a car" -o edit.png

with the pack's demo model, or --model: a single-file checkpoint or a diffusers folder. Options have the
names of the nodes' inputs. Dropped on ComfyUI's canvas, the picture opens the same edit.
"""

from __future__ import annotations

import argparse
import json
import random
import sys

import torch
from PIL.PngImagePlugin import PngInfo

from ..errors import EditError
from ..show.heat import heat_sheet
from ..show.report import model_report
from .arguments import as_nodes, parser, with_options
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
    from ..hosts.diffusers.loading import generator, sampled_by
    from ..hosts.diffusers.pipeline import align, prompt_to_prompt
    from ..hosts.diffusers.unet import architecture_of

    pipe = load(options)
    latent = pipe.unet.config.sample_size
    options.width = options.width or latent * pipe.vae_scale_factor
    options.height = options.height or latent * pipe.vae_scale_factor
    if options.report:
        architecture, _ = architecture_of(pipe)
        size = (side // architecture.pixels for side in (options.height, options.width))
        print(model_report(architecture, options.model.name if options.model else "The demo model", *size))
    if not options.source_prompt:
        if not options.report:
            raise EditError("source_prompt", "it is missing.", "Say what the picture shows. --help lists the options.")
        return
    options.seed = random.randrange(2**32) if options.seed is None else options.seed
    options.cfg = options.cfg or (7.5 if options.model else 4.0)
    edit = with_options(align(pipe, options.source_prompt, options.edit_prompt, options.mode), options)
    pipe = sampled_by(pipe, options.sampler_name, options.scheduler)
    print(f"seed {options.seed}")
    with prompt_to_prompt(pipe, edit, options.trajectory, keep_maps=options.maps is not None) as state:
        pictures = pipe(
            state.prompts,
            negative_prompt=[options.negative] * len(state.prompts),
            width=options.width,
            height=options.height,
            num_inference_steps=options.steps,
            guidance_scale=options.cfg,
            generator=generator(options.seed),
        ).images
    texts = workflow_texts(options)
    pictures[1].save(options.output, pnginfo=texts)
    if options.source:
        pictures[0].save(options.source, pnginfo=texts)
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
    words = f"{options.source_prompt or ''} {options.edit_prompt} {options.negative}".lower().replace(",", " ").split()
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
