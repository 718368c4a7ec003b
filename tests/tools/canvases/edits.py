"""Kinds of edits."""

from __future__ import annotations

from tools.workflow_builder import Canvas

from .demo import SAMPLING, Demo


def refinement(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a cat sitting on a car", "a cat sitting on a blue car in the snow")
    scheduled = canvas.add("AttentionInjectSchedule", 2, edit=edit["edit"], cross_end=0.8, self_end=0.3)
    sampled = demo.sample(scheduled["edit"], 3)
    demo.compare(sampled, 4, maps=sampled["maps"])
    canvas.note("""
### Words are added; the rest of the picture stays

New words have no partner in the source, so they keep their own attention. All the others take over the source's.
Point at a word under the comparison to see where it is.

- **More words:** try `a smiling cat sitting on a car at night`, or `a cat wearing a hat sitting on a car`.
- **New words don't show:** lower `cross_end` to 0.5, then `self_end` to 0.2; or give the word more with
  *AttentionReweight*.
- **Too much else changes:** raise `self_end`, or limit the change with *AttentionLocalBlend*.
""")


def reweighting(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a fox wearing a hat sitting on a box", "", title="one prompt: empty means the same")
    more = canvas.add("AttentionReweight", 2, "more of a word", edit=edit["edit"], words="hat", scale=3.0)
    less = canvas.add("AttentionReweight", 2, "away from it", edit=edit["edit"], words="hat", scale=-1.0)
    for weighted, title in ((more, "more of it"), (less, "away from it")):
        demo.compare(demo.sample(weighted["edit"], 3, title), 4, title, edit=weighted["edit"])
    canvas.note("""
### More or less of a word, in the same picture

An empty `edit_prompt` is the source prompt itself, so that the weight is all that changes. 1 changes nothing,
2 doubles a word's part in the picture, 0 takes it out, and negative weights turn away from it.

- **Other words:** `fox`, or several: `hat, box`. `a#2` is the second "a".
- **Only for a while:** `start` and `end` are fractions of the steps: early ones make the layout, late ones detail.
- **Which weight?** *P2PSweep* tries many at once: see the workflow *sweep*.
""")


def local_blend(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a cat sitting on a car", "a dog sitting on a car")
    blended = canvas.add(
        "AttentionLocalBlend",
        2,
        "only where the words are",
        edit=edit["edit"],
        source_words="cat",
        edit_words="dog",
    )
    sampled = demo.sample(blended["edit"], 3)
    demo.compare(sampled, 4, maps=sampled["maps"])
    mask = canvas.add("MaskToImage", 4, mask=sampled["blend_mask"])
    canvas.add("PreviewImage", 5, "where it may change", images=mask["IMAGE"])
    canvas.note("""
### The change stays where its words are

The mask is made from the attention of `source_words` and `edit_words`: outside of it the edit is the source,
to the last bit of its latent. The wheels are the same in both pictures now.

- **The area is too small or too large:** lower or raise `threshold`.
- **Something leaks in:** name it in `subtract_words`, as `car`.
- **A mask of your own:** connect it to `mask`. It limits the change whatever the words say, and may stand alone.
- **Before `start`** the whole picture may change, so that the layout can settle.
""")


def several_edits(canvas: Canvas) -> None:
    demo = Demo(canvas)
    source = "a cat sitting on a car"
    edits = ["an owl sitting on a car", "a cat sitting on a boat", "a cat sitting on a car at night"]
    edit = None
    for number, prompt in enumerate(edits, start=1):
        edit = demo.align(
            source, prompt, 1 + (number > 2), f"edit {number}", **({"edit": edit["edit"]} if edit else {})
        )
    sampled = demo.sample(edit["edit"], 3)
    demo.compare(sampled, 4, maps=sampled["maps"])
    canvas.note("""
### Several edits of one source, in one run

Each *PromptPairAlign* adds an edit to the one before; all name the same source prompt. The source is sampled once for
all of them. Its `edited` output is the batch of edits, in their order.

- **One more:** put another *PromptPairAlign* at the end of the chain.
- **Settings for all:** an *AttentionInjectSchedule* at the end. **For one alone:** set it right after that edit's
  *PromptPairAlign*, before the next is added; a later edit starts from the defaults.
- *AttentionReweight* changes each edit that has the word.
""")


def img2img_mask(canvas: Canvas) -> None:
    demo = Demo(canvas)
    prompt = "a penguin sitting on a chair"
    positive = canvas.add("CLIPTextEncode", 0, "the picture's prompt", clip=demo.model["clip"], text=prompt)[
        "CONDITIONING"
    ]
    first = canvas.add("KSampler", 1, "stands for a picture of yours", positive=positive, **demo.inputs, **SAMPLING)
    picture = demo.decode(first["LATENT"], 1)
    black = canvas.add("SolidMask", 1, "nowhere", value=0.0, width=128, height=128)
    white = canvas.add("SolidMask", 1, "a part of it", value=1.0, width=128, height=80)
    mask = canvas.add(
        "MaskComposite", 2, "the upper part", destination=black["MASK"], source=white["MASK"], operation="add"
    )
    encoded = canvas.add("VAEEncode", 2, pixels=picture, vae=demo.model["vae"])
    masked = canvas.add("SetLatentNoiseMask", 2, samples=encoded["LATENT"], mask=mask["MASK"])
    edit = demo.align(prompt, "an owl sitting on a chair", 2)
    sampled = demo.sample(edit["edit"], 3, latent_image=masked["LATENT"], denoise=0.85, seed=2)
    demo.compare(sampled, 4, edit=edit["edit"])
    canvas.note("""
### A picture of yours, changed within a mask

The picture is noised by `denoise` and denoised again with both prompts: the source prompt says what it shows, the edit
what it shall show. Only the masked part is sampled; the rest stays as it is.

- **Your own picture:** *LoadImage* in place of the first sampler, with its mask (*Open in MaskEditor*).
- **The source drifts from the picture:** lower `denoise`, and say in the source prompt what is in the picture.
- **The edit is too weak:** raise `denoise` to 0.9, or lower `cross_end` and `self_end` with an
  *AttentionInjectSchedule*. Windows count the steps that are made, whatever the denoise.
""")


def word_swap_transformer(canvas: Canvas) -> None:
    demo = Demo(canvas, architecture="transformer")
    edit = demo.align("a fox sitting on a red car in the snow", "a fox sitting on a purple car in the snow")
    scheduled = canvas.add("AttentionInjectSchedule", 2, edit=edit["edit"], cross_end=0.0, self_end=0.4)
    sampled = demo.sample(scheduled["edit"], 3)
    demo.compare(sampled, 4, maps=sampled["maps"])
    canvas.note("""
### One word for another, in a transformer

As in Flux.1 and SD 3.x, words and picture share one attention here. `self_mode` *auto* is `layout` there: the edit takes
the source's places and keeps its own words. The small transformer of this pack draws with `euler`, `simple`, cfg 3.5.

- **The old colour or shape stays:** lower `self_end`.
- **Too much changes:** raise `self_end`, to 0.6. `cross_end` does something only with `self_mode` *map*.
- **Only one thing may change:** see the example *local_blend_transformer*.
- **Flux.1 or SD 3.5:** load it with ComfyUI's own loaders in place of *P2PDemoModel*, with `cfg` and size as it wants
  them. *P2PModelReport* lists its blocks.
""")


def local_blend_transformer(canvas: Canvas) -> None:
    demo = Demo(canvas, architecture="transformer")
    edit = demo.align("a fox sitting on a red car in the snow", "an owl sitting on a red car in the snow")
    blended = canvas.add(
        "AttentionLocalBlend",
        2,
        "only where the words are",
        edit=edit["edit"],
        source_words="fox",
        edit_words="owl",
    )
    sampled = demo.sample(blended["edit"], 3)
    demo.compare(sampled, 4, maps=sampled["maps"])
    mask = canvas.add("MaskToImage", 4, mask=sampled["blend_mask"])
    canvas.add("PreviewImage", 5, "where it may change", images=mask["IMAGE"])
    canvas.note("""
### The change stays where its words are, in a transformer

The mask is made from what the picture attends to in the words. It is made in the blocks that tell things apart best:
one in this model, five in SD 3.x and Flux.1, and in other transformers the middle third. Outside of it the edit is the
source, to the last bit of its latent.

- **A part of the thing stays:** lower `threshold`, or bypass *AttentionLocalBlend*. The larger the thing, the more of it
  a mask may miss.
- **A mask of your own:** connect it to `mask`.
- **Without AttentionInjectSchedule** an edit takes the layout in the first 40 % of the steps.
""")
