"""The whole method as one node, for a picture that is drawn and for one that is there already."""

from __future__ import annotations

from tools.blueprint import Blueprint
from tools.workflow_builder import Placed


def _models(edit: Blueprint) -> tuple:
    return edit.input("model", "MODEL"), edit.input("clip", "CLIP"), edit.input("vae", "VAE")


def _prompts(edit: Blueprint, clip: tuple) -> tuple[Placed, tuple]:
    """The two prompts, and the negative."""
    source = edit.input("source_prompt", "STRING", "a cat sitting on a car")
    edited = edit.input("edit_prompt", "STRING", "a dog sitting on a car")
    pair = edit.add("PromptPairAlign", 0, "the two prompts", clip=clip, source_prompt=source, edit_prompt=edited)
    negative = edit.add("CLIPTextEncode", 0, "negative", clip=clip, text=edit.input("negative_prompt", "STRING", ""))
    return pair, negative["CONDITIONING"]


def _settings(edit: Blueprint) -> dict:
    """KSampler's own that both have, in its order."""
    own = {"seed": ("INT", 0), "steps": ("INT", 30), "cfg": ("FLOAT", 7.5)}
    return {name: edit.input(name, *given) for name, given in own.items()}


def _finer(edit: Blueprint, aligned: tuple) -> tuple:
    """What may be turned on inside, for a finer hand."""
    scheduled = edit.add("AttentionInjectSchedule", 1, "when and how strongly (bypassed)", bypassed=True, edit=aligned)
    blended = edit.add(
        "AttentionLocalBlend", 1, "only where words are (bypassed)", bypassed=True, edit=scheduled["edit"]
    )
    return blended["edit"]


def _decoded(edit: Blueprint, sampled: Placed, vae: tuple) -> None:
    for name in ("source", "edited"):
        edit.output(name, edit.add("VAEDecode", 4, f"decode {name}", samples=sampled[name], vae=vae)["IMAGE"])


def text(object_info: dict) -> Blueprint:
    edit = Blueprint(
        "Prompt-to-Prompt Edit",
        object_info,
        "Draws a picture and the same picture edited: two prompts in, two pictures out. The source is the picture that "
        "KSampler gives for its prompt, seed and settings.",
    )
    model, clip, vae = _models(edit)
    pair, negative = _prompts(edit, clip)
    settings = _settings(edit) | {
        "sampler_name": edit.input("sampler_name", "COMBO", "euler"),
        "scheduler": edit.input("scheduler", "COMBO", "normal"),
    }
    size = {"width": edit.input("width", "INT", 512), "height": edit.input("height", "INT", 512)}
    latent = edit.add("EmptyLatentImage", 0, **size)
    sampled = edit.add(
        "P2PSampler",
        3,
        "source and edit, side by side",
        model=model,
        edit=_finer(edit, pair["edit"]),
        negative=negative,
        latent_image=latent["LATENT"],
        **settings,
    )
    _decoded(edit, sampled, vae)
    edit.note("""
### What is in here

Two prompts are aligned, and source and edit are sampled side by side from the same noise.

- **The edit is too weak or too strong:** turn *AttentionInjectSchedule* on (select it, Ctrl+B) and move its windows.
  Shorter ones let more change.
- **Something else changes too:** turn *AttentionLocalBlend* on and name the words.
""")
    return edit


def photograph(object_info: dict) -> Blueprint:
    edit = Blueprint(
        "Prompt-to-Prompt Edit of a Picture",
        object_info,
        "Edits a picture of your own by words: the source prompt says what it shows, the edit prompt what it shall "
        "show. The picture is not inverted, and what the words leave alone stays.",
    )
    model, clip, vae = _models(edit)
    image = edit.input("image", "IMAGE")
    pair, negative = _prompts(edit, clip)
    settings = _settings(edit)
    source_cfg = edit.input("source_cfg", "FLOAT", 4.5)
    settings |= {"denoise": edit.input("denoise", "FLOAT", 1.0)}
    size = edit.input("megapixels", "FLOAT", 0.25)
    scaling = {"upscale_method": "lanczos", "megapixels": size}
    sized = edit.add("ImageScaleToTotalPixels", 1, "the size that the model knows", image=image, **scaling)
    encoded = edit.add("VAEEncode", 1, pixels=sized["IMAGE"], vae=vae)
    how = {"edit": _finer(edit, pair["edit"]), "source_cfg": source_cfg}
    real = edit.add("P2PRealPicture", 2, "the source is the picture", **how)
    sampled = edit.add(
        "P2PSampler",
        3,
        "the edit beside its source",
        model=model,
        edit=real["edit"],
        negative=negative,
        latent_image=encoded["LATENT"],
        sampler_name="euler",
        scheduler="normal",
        **settings,
    )
    _decoded(edit, sampled, vae)
    edit.note("""
### What is in here

The picture is scaled to what the model was trained on (0.25 megapixels for SD 1.x, 1 for SDXL) and encoded. *P2PRealPicture*
makes it the source, exactly; the edit moves away from it only by what the prompts differ in.

- **Too weak:** lower `source_cfg`, which is 0.6 times `cfg` here.
- **Too strong:** set `source_cfg` to 0, which is the sampler's `cfg`; then lower `denoise`. Or turn *AttentionLocalBlend*
  on (select it, Ctrl+B) and name the words.
- **Another try:** another seed.
""")
    return edit


BLUEPRINTS = (text, photograph)
