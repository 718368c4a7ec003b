"""Looking into an edit, and finding its settings."""

from __future__ import annotations

from tools.workflow_builder import Canvas

from .demo import SAMPLING, Demo


def sweep(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a cat sitting on a car", "a dog sitting on a blue car")
    swept = canvas.add(
        "P2PSweep",
        2,
        wide=340,
        edit=edit["edit"],
        vae=demo.model["vae"],
        x_values="0, 0.25, 0.5, 0.75, 1",
        y_values="0, 0.4, 0.8",
        **demo.inputs,
        **{**SAMPLING, "steps": 20},
    )
    demo.save(swept["sheet"], 3, "the grid").width = 700
    canvas.note("""
### Which values to use?

A row for each value of one setting and a column for each of another, all from the same noise. Top right is most of
the source's words' places, bottom right most of its shapes as well.

- **A word's weight:** `x_parameter` *word weight*, `x_values` `-4:8:4`, `x_words` `blue`, `y_parameter` *nothing*.
- **What self-attention takes over:** *self_mode* with `map, key_value, output`, against *self_end*.
- **Out of memory:** lower `rows_at_once`.
""")


def attention_maps(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a cat sitting on a car", "a dog sitting on a car")
    sampled = demo.sample(edit["edit"], 2)
    edited = demo.decode(sampled["edited"], 3)
    words = canvas.add(
        "P2PAttentionMaps", 4, maps=sampled["maps"], words="dog, sitting, car", prompt="edited", image=edited
    )
    demo.save(words["heatmaps"], 5, "a picture for each word")
    layers = canvas.add(
        "P2PAttentionMaps",
        4,
        "layer by layer",
        maps=sampled["maps"],
        words="dog",
        prompt="edited",
        image=edited,
        layers="each",
    )
    canvas.add("PreviewImage", 5, "dog, in each block", images=layers["heatmaps"])
    report = canvas.add("P2PModelReport", 2, model=demo.model["model"], width=128, height=128)
    canvas.add("PreviewAny", 6, "the model's attention", source=report["report"])
    demo.save(report["picture"], 6, name="model_report")
    canvas.note("""
### Where does each word look?

A heat map for each word, all in one scale. Maps are kept only while something is connected to the sampler's `maps`.

- **Words:** empty is every word of the prompt. `prompt` chooses the source's or the edits'.
- **Layers:** `each` shows every block for itself, `output:4-5` averages some. The finest blocks draw the outline, the
  coarsest hardly know where anything is.
- **As a mask:** the `masks` output goes into *AttentionLocalBlend* or anywhere a mask is wanted.
""")


def layer_study(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a cat sitting on a car", "a dog sitting on a car")
    scheduled = canvas.add(
        "AttentionInjectSchedule", 2, edit=edit["edit"], cross_end=0.8, self_end=0.8, self_layers="all"
    )
    studied = canvas.add(
        "P2PLayerStudy",
        3,
        wide=340,
        edit=scheduled["edit"],
        vae=demo.model["vae"],
        by="block",
        **demo.inputs,
        **{**SAMPLING, "seed": 9, "steps": 12},
    )
    demo.save(studied["chart"], 4, "what each block does").width = 560
    canvas.add("PreviewAny", 4, source=studied["report"])
    canvas.add("PreviewImage", 5, "the pictures", images=studied["sheet"]).width = 400
    canvas.note("""
### Which layers matter?

Injects the source's attention into one block at a time, and into all but that one. A long orange bar: this block alone
holds much of the source. A long blue one: nothing else can replace it.

- **By resolution or part:** set `by`. **Only one kind:** set `attention` to *cross* or *self*.
- **Steadier numbers:** a batch of 4 in *EmptyLatentImage*; the bars are its mean.
- **Put it to use:** name the blocks that matter in *AttentionInjectSchedule*'s `blocks`.
""")
