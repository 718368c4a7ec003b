"""ComfyUI: prompts by its CLIP, attention layers of its models, and a guider that carries a run."""

from .guider import (
    SAMPLER_NAMES,
    SCHEDULER_NAMES,
    AttentionPatch,
    EditGuider,
    attention_layers,
    encode,
    load_demo,
    sample,
)

__all__ = [
    "SAMPLER_NAMES",
    "SCHEDULER_NAMES",
    "AttentionPatch",
    "EditGuider",
    "attention_layers",
    "encode",
    "load_demo",
    "sample",
]
