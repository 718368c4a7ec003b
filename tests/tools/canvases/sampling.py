"""Ways to sample an edit."""

from __future__ import annotations

from tools.workflow_builder import Canvas

from .demo import SAMPLING, Demo


def shared_trajectory(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a cat sitting on a car", "a fox sitting on a car", mode="sequence")
    scheduled = canvas.add(
        "AttentionInjectSchedule", 2, edit=edit["edit"], cross_end=1.0, self_end=0.3, self_layers="all"
    )
    for trajectory in ("shared", "dual"):
        sampled = demo.sample(scheduled["edit"], 3, trajectory, trajectory=trajectory)
        demo.compare(sampled, 4, trajectory, edit=scheduled["edit"])
    canvas.note("""
### As CrossAttentionControl does it

`shared` has one picture: at each step the source's prompt is evaluated on the *edit's* own latent, and its attention is
taken from there. `dual` gives the source a picture of its own, as in the paper.

- With `sequence` tokens are aligned as in CrossAttentionControl: equal runs, and swapped runs of equal length.
- Its `prompt_edit_spatial_start = 0.7` counts downwards: that is `self_end = 0.3` here. Its tokens window is `cross_end`.
- Compare the two differences, with short windows and with long ones.
""")


def custom_sampler(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a bear sitting on a bus", "a panda sitting on a bus")
    guider = canvas.add(
        "P2PGuider", 2, model=demo.model["model"], edit=edit["edit"], negative=demo.negative, cfg=SAMPLING["cfg"]
    )
    noise = canvas.add("RandomNoise", 2, noise_seed=1)
    sampler = canvas.add("KSamplerSelect", 2, sampler_name="dpmpp_2m")
    sigmas = canvas.add("BasicScheduler", 2, model=demo.model["model"], scheduler="normal", steps=30, denoise=1.0)
    sampled = canvas.add(
        "SamplerCustomAdvanced",
        3,
        noise=noise["NOISE"],
        guider=guider["guider"],
        sampler=sampler["SAMPLER"],
        sigmas=sigmas["SIGMAS"],
        latent_image=demo.latent,
    )
    pictures = demo.decode(sampled["output"], 3)
    source = canvas.add("ImageFromBatch", 4, "the source", image=pictures, batch_index=0, length=1)
    edited = canvas.add("ImageFromBatch", 4, "the edit", image=pictures, batch_index=1, length=1)
    compared = canvas.add("P2PCompare", 5, source=source["IMAGE"], edited=edited["IMAGE"], edit=edit["edit"])
    demo.save(compared["comparison"], 6)
    canvas.note("""
### With ComfyUI's own sampler nodes

*P2PGuider* brings the edit into *SamplerCustomAdvanced*, with any noise, sampler and sigmas. The latent that
comes in is the source's; the one that comes out is the batch: source first, then the edits.

- **Other samplers:** *SamplerEulerAncestral*, *SamplerDPMPP_SDE*: their noise is shared by source and edits as well.
- **Only some steps:** *SplitSigmas*. Windows are fractions of the steps that this sampler makes.
""")


def many_wordings(canvas: Canvas) -> None:
    demo = Demo(canvas)
    words = canvas.add("PrimitiveStringMultiline", 0, "the source's prompt", value="a fox sitting on a car")["STRING"]
    source = canvas.add("CLIPTextEncode", 1, "the source", clip=demo.model["clip"], text=words)["CONDITIONING"]
    recorded = canvas.add("P2PRecordSource", 1, "sampled once", source=source, **{**demo.inputs, **SAMPLING})
    edit = demo.align(words, "an owl sitting on a car", 2, "change the words, queue again")
    edited = canvas.add(
        "P2PEditRecorded",
        3,
        "runs alone from the second time on",
        model=demo.model["model"],
        edit=edit["edit"],
        negative=demo.negative,
        recording=recorded["recording"],
    )
    before = demo.decode(recorded["source"], 3, "decode the source")
    after = demo.decode(edited["edited"], 3, "decode the edit")
    compared = canvas.add("P2PCompare", 4, source=before, edited=after, edit=edit["edit"])
    demo.save(compared["comparison"], 5)
    canvas.note("""
### Many wordings of one source

*P2PRecordSource* samples the source once and keeps what edits need of it. Write another `edit_prompt` and queue again:
only *P2PEditRecorded* samples now, at about half the price. Each comparison is saved.

- **Keep the seed fixed**, or each queue records anew. The same holds for all that comes before the recorder: its model,
  its prompts and its settings.
- **Settings of the edit**, such as *AttentionInjectSchedule* or *AttentionLocalBlend*, go between the two on the right:
  they change without recording anew.
- **The source's prompt** is written once, on the left: the recorder and *PromptPairAlign* have to have the same.
- **A large picture?** The note under the recorder says how much memory it took. `until` 0.8 is enough for the default
  windows; `predictions` takes very little and saves less.
""")
