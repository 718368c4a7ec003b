"""Workflows that the tests build in the page."""

from __future__ import annotations

SOURCE = "a cat sitting on a car"
EDIT = "a dog sitting on a blue car"

# A node's id is its place in here, from 1.
EVERYTHING = {
    "demo": ("P2PDemoModel", {}, [0, 0]),
    "align": ("PromptPairAlign", {"source_prompt": SOURCE, "edit_prompt": EDIT}, [350, 0]),
    "reweight": ("AttentionReweight", {"words": "dog", "scale": 2.0}, [760, 0]),
    "schedule": ("AttentionInjectSchedule", {"word_windows": "dog: 0.1-0.3"}, [760, 350]),
    "blend": ("AttentionLocalBlend", {"source_words": "cat", "edit_words": "dog", "start": 0.5}, [350, 480]),
    "negative": ("CLIPTextEncode", {"text": ""}, [0, 200]),
    "latent": ("EmptyLatentImage", {"width": 128, "height": 128}, [0, 480]),
    "sampler": ("P2PSampler", {"steps": 4, "cfg": 4.0}, [1170, 0]),
    "source": ("VAEDecode", {}, [1520, 0]),
    "edited": ("VAEDecode", {}, [1520, 100]),
    "compare": ("P2PCompare", {}, [1520, 250]),
}

EVERYTHING_LINKS = [
    ("demo", "clip", "align", "clip"),
    ("demo", "clip", "negative", "clip"),
    ("align", "edit", "reweight", "edit"),
    ("reweight", "edit", "schedule", "edit"),
    ("schedule", "edit", "blend", "edit"),
    ("blend", "edit", "sampler", "edit"),
    ("demo", "model", "sampler", "model"),
    ("negative", "CONDITIONING", "sampler", "negative"),
    ("latent", "LATENT", "sampler", "latent_image"),
    ("sampler", "source", "source", "samples"),
    ("sampler", "edited", "edited", "samples"),
    ("demo", "vae", "source", "vae"),
    ("demo", "vae", "edited", "vae"),
    ("source", "IMAGE", "compare", "source"),
    ("edited", "IMAGE", "compare", "edited"),
    ("sampler", "maps", "compare", "maps"),
]

ID = {name: str(i) for i, name in enumerate(EVERYTHING, 1)}
