"""Workflows for models that don't come with the pack."""

from __future__ import annotations

from tools.workflow_builder import Canvas, Placed

from .demo import SAMPLING


def controlnet(canvas: Canvas) -> None:
    checkpoint = canvas.add(
        "CheckpointLoaderSimple", 0, "an SD 1.5 checkpoint", ckpt_name="v1-5-pruned-emaonly-fp16.safetensors"
    )
    image = canvas.add("LoadImage", 0, "whose outlines", image="example.png")
    hint = canvas.add("Canny", 0, image=image["IMAGE"])
    control = canvas.add("ControlNetLoader", 0, control_net_name="control_v11p_sd15_canny.pth")["CONTROL_NET"]
    edit = canvas.add(
        "PromptPairAlign",
        1,
        "the two prompts",
        clip=checkpoint["CLIP"],
        source_prompt="a photo of a house in summer",
        edit_prompt="a photo of a house in winter",
    )
    text = "blurry, low quality"
    negative = canvas.add("CLIPTextEncode", 1, "negative", clip=checkpoint["CLIP"], text=text)["CONDITIONING"]
    guided = [
        canvas.add(
            "ControlNetApplyAdvanced",
            2,
            title,
            positive=edit[name],
            negative=negative,
            control_net=control,
            image=hint["IMAGE"],
            strength=0.8,
        )
        for title, name in (("for the source", "source"), ("the same for the edit", "edited"))
    ]
    latent = canvas.add("EmptyLatentImage", 2, width=512, height=512)
    sampled = canvas.add(
        "P2PSampler",
        3,
        model=checkpoint["MODEL"],
        edit=edit["edit"],
        negative=guided[0]["negative"],
        latent_image=latent["LATENT"],
        source=guided[0]["positive"],
        edited=guided[1]["positive"],
        **{**SAMPLING, "cfg": 7.5},
    )
    _compare_with(canvas, checkpoint, sampled, 4, edit["edit"])
    canvas.note("""
### An edit beside a ControlNet

**Needs** an SD 1.5 checkpoint (`models/checkpoints`) and a canny ControlNet for it (`models/controlnet`); choose
yours in the two loaders.

The prompts' conditionings go through the same ControlNet with the same settings, and into the sampler's `source` and
`edited`. The ControlNet fixes the outlines, prompt-to-prompt what fills them.

- **Anything else that changes a conditioning** goes in the same way, as long as source and edit get the same.
- **The ControlNet holds too much:** lower its `strength` or `end_percent`, in both.
""")


def sdxl(canvas: Canvas) -> None:
    checkpoint = canvas.add("CheckpointLoaderSimple", 0, "an SDXL checkpoint", ckpt_name="sd_xl_base_1.0.safetensors")
    latent = canvas.add("EmptyLatentImage", 0, width=1024, height=1024)
    text = "blurry, low quality"
    negative = canvas.add("CLIPTextEncode", 0, "negative", clip=checkpoint["CLIP"], text=text)["CONDITIONING"]
    edit = canvas.add(
        "PromptPairAlign",
        1,
        "the two prompts",
        clip=checkpoint["CLIP"],
        source_prompt="a photo of a cat sitting on a wooden bench in a park",
        edit_prompt="a photo of a corgi sitting on a wooden bench in a snowy park",
    )
    scheduled = canvas.add(
        "AttentionInjectSchedule", 2, edit=edit["edit"], cross_end=0.6, self_end=0.3, self_layers="quarter"
    )
    sampled = canvas.add(
        "P2PSampler",
        3,
        model=checkpoint["MODEL"],
        edit=scheduled["edit"],
        negative=negative,
        latent_image=latent["LATENT"],
        **{**SAMPLING, "cfg": 7.0},
    )
    _compare_with(canvas, checkpoint, sampled, 4, scheduled["edit"])
    canvas.note("""
### With SDXL

**Needs** an SDXL checkpoint in `models/checkpoints`; choose yours in the loader.

SDXL has most of its attention at a quarter of the latent's resolution, which `self_layers` *quarter* keeps to. It takes
over more of the source than SD 1.x in the same windows: start shorter.

- **The edit is too weak:** `self_end` 0.2, then `cross_end` 0.4.
- **Too much changes:** `self_layers` *half*, then `self_end` 0.5.
- **Out of memory:** one edit at a time; source and edit are sampled together, as a batch of two.
""")


def _compare_with(canvas: Canvas, checkpoint: Placed, sampled: Placed, column: int, edit: tuple) -> None:
    decoded = [
        canvas.add("VAEDecode", column, title, samples=sampled[name], vae=checkpoint["VAE"])["IMAGE"]
        for title, name in (("decode the source", "source"), ("decode the edit", "edited"))
    ]
    compared = canvas.add("P2PCompare", column + 1, source=decoded[0], edited=decoded[1], edit=edit)
    canvas.add("SaveImage", column + 2, images=compared["comparison"], filename_prefix=canvas.name)
