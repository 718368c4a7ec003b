"""The command's arguments, and what they say about the edit. They have the names of the nodes' inputs."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..alignment import MODES
from ..blend import LocalBlend
from ..edit import Edit
from ..errors import EditError
from ..layers import parse_blocks
from ..picture import NOISES, RealPicture
from ..rows import TRAJECTORIES
from ..schedule import RAMPS, SELF_LAYERS, SELF_MODES, InjectSchedule, Window, parse_word_windows
from .workflow import Values

# What AttentionInjectSchedule takes beside texts: its windows' ends, and what InjectSchedule has as it is given.
_ENDS = ("cross_start", "cross_end", "self_start", "self_end")
_SETTINGS = ("cross_strength", "self_strength", "ramp", "self_layers", "self_mode")


def parser() -> argparse.ArgumentParser:
    default, blend = InjectSchedule(), LocalBlend()
    parse = argparse.ArgumentParser("python -m p2p_core", description="Edit a picture by editing its prompt.")
    add = parse.add_argument
    add("source_prompt", nargs="?", help="the picture as it is")
    add("edit_prompt", nargs="?", default="", help="the picture you want; without it the source prompt, for --reweight")
    add("-o", "--output", type=Path, default=Path("edit.png"), help="where the edited picture goes (edit.png)")
    add("--source", type=Path, help="where the source picture goes")
    add("--maps", type=Path, help="where a sheet of the words' attention maps goes")
    add("--image", type=Path, help="a picture to edit: then this is the source, and the edit has its size")
    add("--record", type=Path, metavar="FILE", help="sample the source alone, and keep it in a file for edits")
    add("--from", type=Path, metavar="FILE", dest="recorded", help="edit a recorded source, as it was sampled")
    add("--report", action="store_true", help="print the model's attention layers")

    group = parse.add_argument_group("model")
    group.add_argument("--model", type=Path, help="a checkpoint or a diffusers folder; by default the demo model")
    group.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    group.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")

    group = parse.add_argument_group("PromptPairAlign and AttentionReweight")
    group.add_argument("--mode", choices=MODES, default="auto")
    group.add_argument("--reweight", nargs=2, action="append", default=[], metavar=("WORDS", "SCALE"))

    group = parse.add_argument_group("AttentionInjectSchedule")
    for kind, window in (("cross", default.cross_window), ("self", default.self_window)):
        group.add_argument(f"--{kind}_start", type=float, default=window.start)
        group.add_argument(f"--{kind}_end", type=float, default=window.end)
        group.add_argument(f"--{kind}_strength", type=float, default=getattr(default, f"{kind}_strength"))
    group.add_argument("--ramp", choices=RAMPS, default=default.ramp)
    group.add_argument("--self_layers", choices=tuple(SELF_LAYERS), default=default.self_layers)
    group.add_argument("--self_mode", choices=SELF_MODES, default=default.self_mode)
    group.add_argument("--blocks", default="", help="such as 'input, middle, output:3-5'")
    group.add_argument("--word_windows", default=[], action="append", help="such as 'dog: 0.0-0.3'; may be repeated")

    group = parse.add_argument_group("AttentionLocalBlend")
    group.add_argument("--source_words", default="")
    group.add_argument("--edit_words", default="")
    group.add_argument("--threshold", type=float, default=blend.threshold)
    group.add_argument("--blend_start", type=float, default=blend.start, help="start of AttentionLocalBlend")
    group.add_argument("--subtract_words", default="")

    picture = RealPicture()
    group = parse.add_argument_group("P2PRealPicture", "with --image")
    group.add_argument("--fidelity", type=float, default=picture.fidelity)
    group.add_argument("--source_cfg", type=float, default=picture.source_cfg, help="0 is --cfg")
    group.add_argument("--noise", choices=NOISES, default=picture.noise)
    group.add_argument("--release", type=float, default=picture.release)

    group = parse.add_argument_group("P2PSampler")
    group.add_argument("--negative", help="what the picture should not show")
    group.add_argument("--width", type=int, help="in pixels; by default the model's own")
    group.add_argument("--height", type=int)
    group.add_argument("--seed", type=int, help="by default a random one, which is printed")
    group.add_argument("--steps", type=int, help="by default 30")
    group.add_argument("--cfg", type=float, help="by default 7.5, or 4 for the demo model")
    group.add_argument("--denoise", type=float, default=1.0, help="with --image")
    group.add_argument("--sampler_name", help="by default dpmpp_2m, or euler with --image; ddim and others")
    group.add_argument("--scheduler", help="sgm_uniform, the default, or karras")
    group.add_argument("--trajectory", choices=TRAJECTORIES, default="dual")
    return parse


def with_options(edit: Edit, options: argparse.Namespace) -> Edit:
    """The aligned prompts with everything that the options say about the edit."""
    for words, scale in options.reweight:
        edit = edit.reweight(words, _read_scale(scale))
    edit = edit.schedule(
        InjectSchedule(
            cross_window=Window(options.cross_start, options.cross_end, "cross"),
            self_window=Window(options.self_start, options.self_end, "self"),
            blocks=parse_blocks(options.blocks),
            word_windows=parse_word_windows("\n".join(options.word_windows)),
            **{name: getattr(options, name) for name in _SETTINGS},
        )
    )
    if options.source_words or options.edit_words:
        edit = edit.local_blend(
            options.source_words, options.edit_words, options.threshold, options.blend_start, options.subtract_words
        )
    if options.image is not None:
        edit = edit.real_picture(options.fidelity, options.source_cfg, options.noise, options.release)
    return edit


def _read_scale(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise EditError("reweight", f"'{text}' is not a number.", "Write the words first: --reweight dog 2.") from None


def as_nodes(options: argparse.Namespace) -> tuple[dict[str, Values], list[tuple[str, Values]]]:
    """The same edit as the inputs of nodes: by types of node, and of the nodes that are there only if asked for."""
    given = vars(options)
    sampling = {name: given[name] for name in ("seed", "steps", "cfg", "sampler_name", "scheduler")}
    schedule = {name: given[name] for name in (*_ENDS, *_SETTINGS, "blocks")}
    schedule["word_windows"] = "\n".join(options.word_windows)
    values = {
        "PromptPairAlign": {name: given[name] for name in ("source_prompt", "edit_prompt", "mode")},
        "AttentionInjectSchedule": schedule,
        "CLIPTextEncode": {"text": options.negative},
        "EmptyLatentImage": {"width": options.width, "height": options.height},
        "P2PSampler": {**sampling, "trajectory": options.trajectory},
        "KSampler": sampling,
    }
    inserted = [
        ("AttentionReweight", {"words": words, "scale": float(scale), "start": 0.0, "end": 1.0})
        for words, scale in options.reweight
    ]
    if options.source_words or options.edit_words:
        blend = {name: given[name] for name in ("source_words", "edit_words", "threshold", "subtract_words")}
        inserted.append(("AttentionLocalBlend", {**blend, "start": options.blend_start}))
    return values, inserted
