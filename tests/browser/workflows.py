"""Workflows that the tests build in the page."""

from __future__ import annotations

SOURCE = "a cat sitting on a car"
EDIT = "a dog sitting on a blue car"

# A node's id is its place in here, from 1.
EVERYTHING = {
    "demo": ("P2PDemoModel", {}, [-500, 0]),
    "align": ("PromptPairAlign", {"source_prompt": SOURCE, "edit_prompt": EDIT}, [300, 0]),
    "reweight": ("AttentionReweight", {"words": "dog", "scale": 2.0}, [800, 0]),
    "schedule": ("AttentionInjectSchedule", {"word_windows": "dog: 0.1-0.3"}, [800, 420]),
    "blend": ("AttentionLocalBlend", {"source_words": "cat", "edit_words": "dog", "start": 0.5}, [300, 560]),
    "negative": ("CLIPTextEncode", {"text": ""}, [-500, 200]),
    "latent": ("EmptyLatentImage", {"width": 128, "height": 128}, [-500, 480]),
    "sampler": ("P2PSampler", {"steps": 4, "cfg": 4.0, "control_after_generate": "fixed"}, [1260, 0]),
    "source": ("VAEDecode", {}, [1620, 0]),
    "edited": ("VAEDecode", {}, [1620, 120]),
    "compare": ("P2PCompare", {}, [1620, 260]),
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
