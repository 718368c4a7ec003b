"""ComfyUI: prompts by its CLIP, attention layers of its models, and a guider that carries a run."""

from .demo_model import load_demo
from .encode import encode
from .guider import EditGuider
from .sampling import SAMPLER_NAMES, SCHEDULER_NAMES, Sampling, sample, sample_batches
from .unet import attention_layers

__all__ = [
    "SAMPLER_NAMES",
    "SCHEDULER_NAMES",
    "EditGuider",
    "Sampling",
    "attention_layers",
    "encode",
    "load_demo",
    "sample",
    "sample_batches",
]
