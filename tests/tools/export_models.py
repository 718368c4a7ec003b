"""web/docs/models.md, made from the table of transformers.

python tests/tools/export_models.py

Runs in ComfyUI's Python. tests/host/test_transformers.py says where the page is not the table's any more.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bootstrap import CHECKOUT

PAGE = CHECKOUT / "web" / "docs" / "models.md"
_TOP = """# Models

What the pack edits, and what it can't. A model that is not here is refused by name.

The first column of versions says since which ComfyUI the model is there (the pack needs 0.3.60). The second says on
which ones the tests ran it: a small model of ComfyUI's own class, with random weights, through ComfyUI's own sampling.
For each they hold that

- every attention call is what its explicit maps would give, to 1e-5, with windows, strengths, weights and modes;
- the source is moved by exactly nothing, and is KSampler's picture;
- without injection each row is KSampler's picture of its prompt, alone, whatever the other prompts' lengths;
- the same words give the same picture; maps and blends find their words.

Of the transformers only the small one of this pack has drawn pictures that anybody looked at. No checkpoint of the
models below has been run, and nothing on a GPU.

## UNets

Stable Diffusion 1.x, 2.x, SDXL and all models with their UNet; ComfyUI 0.3.60, 0.3.75, 0.18.1 and 0.33.0. Windows as in
the paper: `cross_end` 0.8, `self_end` 0.4.

## Transformers

"""
_BOTTOM = """
*Attention* says how words reach the picture. *joint*: words and picture share one softmax. `self_mode` *auto* is
`layout` there; begin with `cross_end` 0 and `self_end` 0.4, which is the default. The literature's `self_end` for SD 3
and Flux.1 is 0.2. *cross*: the picture attends to itself and then to the words, as in a UNet, with a UNet's default
windows; for these models nobody has tuned them.

*Prompts of unequal length*: how source and edits are sampled together. *filled up*: what is added is hidden, and each
picture is what it is alone. Hidden positions need a mask, which some attention kernels are slower with.

*References*: pictures in the conditioning, as from ReferenceLatent, for Kontext and the like. Give source and edits the
same. They are looked at like the picture's own places, and are not edited.

## What these models can't have

- **Weights as in `(word:1.2)`** where the table says *no weights*: ComfyUI's text encoder reads brackets and numbers as
  words there. Use AttentionReweight, which works with all of them.
- **A negative prompt at `cfg` 1**: ComfyUI leaves it out, so guidance-distilled models, such as Flux.1, Flux.2 Klein
  4-step or Z-Image Turbo, take any text there. An edit acts once then and not `cfg` times, so it may need a longer
  window.
- **Words of Llama's with newer transformers**: ComfyUI 0.3.75 with version 5 of that package drops the blanks between
  HiDream's words. Then use an older one, or a newer ComfyUI.

## What is refused

PixArt, HunyuanDiT and Ernie compute their attention where no node can reach it. Every other transformer is refused by
its name until somebody has looked at its calls: [tests/README.md](../../tests/README.md) says how a model is added.
Those that draw pictures, and have no row yet:

- in ComfyUI 0.33: Boogu, Chroma Radiance, HiDream O1, HunyuanImage 2.1, Ideogram 4, JoyImage, Kandinsky 5 Image,
  LongCat Image, Mage Flow, PixelDiT and PiD, Z-Image in pixels; Wan with control of any kind, and all else that makes
  films, sound or shapes;
- in newer ones: Qwen-Image 2.1, Ming Image, SenseNova U1.5. Only their classes' names were read.

## What was only read

Of ComfyUI 0.3.64 and 0.33 the tokenizer of HiDream's Llama was not at hand. On 0.3.60 to 0.3.63 no transformer has
been run.

The tokenizers of Mistral (Flux.2) and GPT-OSS (Lens), which come with their checkpoints. Gemma's and UMT5's ran with
another vocabulary of their kind.
"""


def page(rows: Sequence) -> str:
    """The page for rows of p2p_core/hosts/comfy/joint_models.py."""
    head = ("model", "since", "tested on", "text encoders", "attention", "prompts of unequal length", "references")
    lines = [_line(head), _line(["---"] * len(head)), *(_line(_columns(row)) for row in rows)]
    limits = [f"- **{row.name}**: {row.limits}" for row in rows if row.limits]
    return _TOP + "\n".join(lines) + "\n\n" + "\n".join(limits) + "\n" + _BOTTOM


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _columns(row) -> list[str]:
    joint = row.attentions == (("text", "image"),)
    lengths = {"right": "filled up behind", "left": "filled up in front", "none": "see below"}[row.pad]
    return [
        f"**{row.name}**",
        row.since,
        ", ".join(row.run),
        row.encoders + (": no weights" if row.no_weights else ""),
        "joint" if joint else "cross",
        lengths + (", the model's own tokens before" if row.multiple else ""),
        "yes" if "references" in row.order else "refused" if joint else "no",
    ]


def main() -> int:
    from support import inside_comfyui

    inside_comfyui.put_comfyui_first()
    inside_comfyui.load_pack(CHECKOUT)
    from prompt_to_prompt.p2p_core.hosts.comfy.joint_models import MODELS

    PAGE.write_text(page(MODELS), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
