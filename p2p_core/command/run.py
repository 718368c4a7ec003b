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
from pathlib import Path

import torch

from ..alignment import MODES
from ..edit import Edit
from ..errors import EditError
from ..layers import parse_blocks
from ..maps import AttentionMaps
from ..rows import TRAJECTORIES
from ..schedule import RAMPS, SELF_LAYERS, SELF_MODES, InjectSchedule, Window, parse_word_windows
from ..show.comparison import word_heat
from ..show.report import model_report
from ..show.sheets import Scale, Sheet, enlarged, overlay, to_pillow, to_tensor
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


def parser() -> argparse.ArgumentParser:
    default = InjectSchedule()
    parse = argparse.ArgumentParser("python -m p2p_core", description="Edit a picture by editing its prompt.")
    add = parse.add_argument
    add("source_prompt", nargs="?", help="the picture as it is")
    add("edit_prompt", nargs="?", default="", help="as it shall be; without it the source prompt, for --reweight")
    add("-o", "--output", type=Path, default=Path("edit.png"), help="where the edited picture goes (edit.png)")
    add("--source", type=Path, help="where the source picture goes")
    add("--maps", type=Path, help="where a sheet of the words' attention goes")
    add("--report", action="store_true", help="print the model's attention layers")

    group = parse.add_argument_group("model")
    group.add_argument("--model", type=Path, help="a checkpoint or a diffusers folder; without it the demo model")
    group.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    group.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")

    group = parse.add_argument_group("PromptPairAlign and AttentionReweight")
    group.add_argument("--mode", choices=MODES, default="auto")
    group.add_argument("--reweight", nargs=2, action="append", default=[], metavar=("WORDS", "SCALE"))

    group = parse.add_argument_group("AttentionInjectSchedule")
    for kind, window in (("cross", default.cross_window), ("self", default.self_window)):
        group.add_argument(f"--{kind}_start", type=float, default=window.start)
        group.add_argument(f"--{kind}_end", type=float, default=window.end)
        group.add_argument(f"--{kind}_strength", type=float, default=1.0)
    group.add_argument("--ramp", choices=RAMPS, default=default.ramp)
    group.add_argument("--self_layers", choices=tuple(SELF_LAYERS), default=default.self_layers)
    group.add_argument("--self_mode", choices=SELF_MODES, default=default.self_mode)
    group.add_argument("--blocks", default="", help="as 'input, middle, output:3-5'")
    group.add_argument("--word_windows", default=[], action="append", help="as 'dog: 0.0-0.3'; once a word")

    group = parse.add_argument_group("AttentionLocalBlend")
    group.add_argument("--source_words", default="")
    group.add_argument("--edit_words", default="")
    group.add_argument("--threshold", type=float, default=0.3)
    group.add_argument("--blend_start", type=float, default=0.2, help="the node's start")
    group.add_argument("--subtract_words", default="")

    group = parse.add_argument_group("P2PSampler")
    group.add_argument("--negative", default="")
    group.add_argument("--width", type=int, help="in pixels; without it the model's")
    group.add_argument("--height", type=int)
    group.add_argument("--seed", type=int, help="without it one is drawn, and printed")
    group.add_argument("--steps", type=int, default=30)
    group.add_argument("--cfg", type=float, help="7.5; 4 for the demo model")
    group.add_argument("--sampler_name", default="dpmpp_2m", help="dpmpp_2m, euler, ddim and others")
    group.add_argument("--scheduler", default="sgm_uniform", help="sgm_uniform or karras")
    group.add_argument("--trajectory", choices=TRAJECTORIES, default="dual")
    return parse


def run(options: argparse.Namespace) -> None:
    from ..hosts.diffusers.loading import generator, sampled_by
    from ..hosts.diffusers.pipeline import align, prompt_to_prompt
    from ..hosts.diffusers.unet import attention_layers

    pipe = load(options)
    latent = pipe.unet.config.sample_size
    options.width = options.width or latent * pipe.vae_scale_factor
    options.height = options.height or latent * pipe.vae_scale_factor
    if options.report:
        layers = [layer for layer, _ in attention_layers(pipe.unet)]
        size = (side // pipe.vae_scale_factor for side in (options.height, options.width))
        print(model_report(layers, options.model.name if options.model else "The demo model", *size))
    if not options.source_prompt:
        if not options.report:
            raise EditError("source_prompt is missing: say what the picture is. --help shows everything.")
        return
    options.seed = random.randrange(2**32) if options.seed is None else options.seed
    options.cfg = options.cfg or (7.5 if options.model else 4.0)
    edit = changed(align(pipe, options.source_prompt, options.edit_prompt, options.mode), options)
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
    extras = embedded(options)
    pictures[1].save(options.output, pnginfo=extras)
    if options.source:
        pictures[0].save(options.source, pnginfo=extras)
    if options.maps:
        heat_sheet(state.maps(), pictures).save(options.maps, pnginfo=extras)


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


def changed(edit: Edit, options: argparse.Namespace) -> Edit:
    """The aligned prompts with everything that the options say about the edit."""
    for words, scale in options.reweight:
        edit = edit.reweight(words, number(scale))
    edit = edit.schedule(
        InjectSchedule(
            cross_window=Window(options.cross_start, options.cross_end, "cross"),
            self_window=Window(options.self_start, options.self_end, "self"),
            blocks=parse_blocks(options.blocks),
            word_windows=parse_word_windows("\n".join(options.word_windows)),
            **{
                name: getattr(options, name)
                for name in ("cross_strength", "self_strength", "ramp", "self_layers", "self_mode")
            },
        )
    )
    if options.source_words or options.edit_words:
        edit = edit.local_blend(
            options.source_words, options.edit_words, options.threshold, options.blend_start, options.subtract_words
        )
    return edit


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EditError(f"reweight: '{text}' is no number. Write the words first: --reweight dog 2.") from None


def embedded(options: argparse.Namespace):
    """The edit as PNG texts: its workflow, and the same for a server; None where the examples are not at hand."""
    from PIL.PngImagePlugin import PngInfo

    given = vars(options)
    sampling = {name: given[name] for name in ("seed", "steps", "cfg", "sampler_name", "scheduler")}
    schedule = [f"{kind}_{what}" for kind in ("cross", "self") for what in ("start", "end", "strength")]
    schedule = {name: given[name] for name in (*schedule, "ramp", "self_layers", "self_mode", "blocks")}
    inserted = [
        ("AttentionReweight", {"words": words, "scale": float(scale), "start": 0.0, "end": 1.0})
        for words, scale in options.reweight
    ]
    if options.source_words or options.edit_words:
        blend = {name: given[name] for name in ("source_words", "edit_words", "threshold", "subtract_words")}
        inserted.append(("AttentionLocalBlend", {**blend, "start": options.blend_start}))
    values = {
        "PromptPairAlign": {name: given[name] for name in ("source_prompt", "edit_prompt", "mode")},
        "AttentionInjectSchedule": {**schedule, "word_windows": "\n".join(options.word_windows)},
        "CLIPTextEncode": {"text": options.negative},
        "EmptyLatentImage": {"width": options.width, "height": options.height},
        "P2PSampler": {**sampling, "trajectory": options.trajectory},
        "KSampler": sampling,
    }
    workflow = edit_workflow(values, inserted, options.model)
    if workflow is None:
        return None
    info = PngInfo()
    info.add_text("prompt", json.dumps(as_prompt(workflow)))
    info.add_text("workflow", json.dumps(workflow))
    return info


def heat_sheet(maps: AttentionMaps, pictures: list):
    """The attention of every word, the source's in the first row and the edit's in the second."""
    rows = [word_heat(maps, "", edited) for edited in (False, True)]
    top = max(float(heat.values.max()) for row in rows for heat in row)
    images = to_tensor(pictures)
    cells = [[captioned_heat(image, heat.values, top) for heat in row] for image, row in zip(images, rows, strict=True)]
    captions = [[(prompt.text, False)] for prompt in (maps.source.prompt, maps.edits[0].prompt)]
    words = [[(" / ".join(dict.fromkeys(labels)), True)] for labels in _columns(rows)]
    return Sheet(cells, columns=words, rows=captions, scale=Scale("attention", f"{top:.3f}")).draw()


def captioned_heat(image: torch.Tensor, values: torch.Tensor, top: float):
    return to_pillow(overlay(image, enlarged(values, tuple(image.shape[:2]))[0] / top))


def _columns(rows: list) -> list[list[str]]:
    """The labels of each column, of rows that may differ in length."""
    return [[row[i].label for row in rows if i < len(row)] for i in range(max(map(len, rows)))]
