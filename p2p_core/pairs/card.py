"""The data set's card, which says what is in it, how it was made, and how it is used."""

from __future__ import annotations

from .rows import AGAIN, PICTURES, TEXTS, WHOLE
from .shards import FORMS
from .tally import Tally
from .task import Order

COLUMNS = {
    "input_image": "the picture of `source`",
    "edited_image": "the picture of `edit`",
    "edit_prompt": "the instruction that leads from one to the other",
    "source": "the caption before",
    "edit": "the caption after",
    "kind": "what sort of edit it is",
    "written_by": "who wrote the instruction: `input`, or `alignment` of the captions",
    "line": "the input's line",
    "sample": "which of its samples",
    "seed": "of the noise that both pictures begin from",
    "rows": "pictures in the batch that it was drawn in",
    "p": "the share of steps in which the edit took attention from the source; empty with windows of its own",
    "difference": "the mean difference of the two pictures, of the full range",
    "clip_image": "the cosine of the pictures in CLIP's space",
    "clip_source": "of the first picture and its caption",
    "clip_edit": "of the second picture and its caption",
    "clip_direction": "of the change of the pictures and the change of the captions",
    "request": "the input's line as JSON, to draw the pair again",
    "settings": "the settings as JSON, to draw the pair again",
}

_HEAD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/*{}
task_categories:
- image-to-image
tags:
- instruct-pix2pix
- prompt-to-prompt
---"""


def card(order: Order, tally: Tally, rejected: int, form: str, scores: tuple[str, ...], files: list[str]) -> str:
    """README.md of a data set."""
    ending = FORMS[form]
    settings = order.settings
    model = f"`{settings.model}`" if settings.model else "the demo model that ships with the pack"
    size = f"{settings.width} x {settings.height}" if settings.width else "the model's own size"
    names = (*PICTURES, *TEXTS, *WHOLE, "p", *scores, *AGAIN)
    parts = [
        _HEAD.format(ending),
        "# Edit pairs",
        f"{tally.kept.total():,} pairs of pictures with an instruction that leads from one to the other, kept of "
        f"{tally.drawn.total():,} samples of {tally.pairs.total():,} pairs of captions. {rejected:,} lines of the "
        "input were rejected; `rejects.jsonl` says why.",
        f"Made by prompt-to-prompt with {model}, {settings.steps} steps of {settings.sampler_name} "
        f"({settings.scheduler}), cfg {settings.cfg:g}, {size}, {settings.dtype}. {_shares(order)} "
        "All settings are in `settings.json`.",
        _filters(order),
        "## Acceptance",
        _acceptance(tally),
        _reasons(tally),
        *(f"![{name}]({name})" for name in files),
        "## Columns",
        "\n".join(f"- `{name}`: {COLUMNS.get(name, 'a score of a filter')}" for name in names),
        "## Use",
        _use(form),
        "Every row can be drawn again from its own columns, to the bit on the machine that made it:",
        f"```\npython -m p2p_core pairs --again data/train-00000{ending} 0\n```",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _shares(order: Order) -> str:
    low, high = order.draws.p
    whose = {"self": "self-attention", "cross": "cross-attention", "both": "cross and self-attention"}
    return (
        f"The edit took the source's {whose[order.settings.inject]} in a share p of the steps, drawn from "
        f"{low:g} to {high:g} for every sample, unless its line had windows of its own."
    )


def _filters(order: Order) -> str:
    named = ["Broken pictures (black, clipped, flat, identical) were dropped."]
    if order.clip:
        asked = order.thresholds
        named.append(
            f"CLIP (`{order.clip}`) asked for {asked.image:g} between the pictures, {asked.caption:g} between a "
            f"picture and its caption and {asked.direction:g} between the two changes."
        )
    named += [f"The filter `{name}` judged what was left." for name in order.filters]
    if order.clip or order.filters:
        return " ".join([*named, f"Of each pair of captions the best {order.keep} were kept."])
    return " ".join([*named, "**Nothing else was filtered**: no CLIP was given."])


def _acceptance(tally: Tally) -> str:
    lines = ["| kind | pairs | samples | accepted | share | kept |", "|---|---|---|---|---|---|"]
    counts = (tally.pairs, tally.drawn, tally.passed, tally.kept)
    for kind in sorted(tally.drawn, key=lambda kind: (-tally.passed[kind] / tally.drawn[kind], kind)):
        lines.append(_line(kind, *(of[kind] for of in counts)))
    return "\n".join([*lines, _line("**everything**", *(of.total() for of in counts))])


def _line(name: str, pairs: int, drawn: int, passed: int, kept: int) -> str:
    return f"| {name} | {pairs:,} | {drawn:,} | {passed:,} | {passed / max(drawn, 1):.0%} | {kept:,} |"


def _reasons(tally: Tally) -> str:
    counts: dict[str, int] = {}
    for (_, reason), count in tally.reasons.items():
        counts[reason] = counts.get(reason, 0) + count
    lines = [f"| {reason} | {count:,} |" for reason, count in sorted(counts.items(), key=lambda one: -one[1])]
    return "\n".join(["| dropped | samples |", "|---|---|", *lines]) if lines else ""


def _use(form: str) -> str:
    columns = ""
    if form == "webdataset":
        columns = " \\\n  --original_image_column input_image.png --edited_image_column edited_image.png"
        columns += " --edit_prompt_column edit_prompt.txt"
    return (
        '```python\nimport datasets\n\npairs = datasets.load_dataset("this folder", split="train")\n```\n\n'
        "With diffusers' InstructPix2Pix example:\n\n"
        "```\naccelerate launch train_instruct_pix2pix.py --pretrained_model_name_or_path MODEL \\\n"
        f'  --dataset_name "this folder"{columns}\n```'
    )
