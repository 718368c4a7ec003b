"""ComfyUI: prompts by its CLIP, attention layers of its models, and a guider that carries a run."""

from ...recording import readable
from .architecture import architecture_of, attention_layers
from .demo_model import ARCHITECTURES as DEMO_ARCHITECTURES
from .demo_model import load_demo
from .encode import encode, encodings
from .guider import EditGuider
from .parts import HOLDS
from .recording import RecordedGuider, SourceRecording, edit_recorded, record
from .sampling import SAMPLER_NAMES, SCHEDULER_NAMES, Sampling, sample, sample_batches

__all__ = [
    "DEMO_ARCHITECTURES",
    "HOLDS",
    "SAMPLER_NAMES",
    "SCHEDULER_NAMES",
    "EditGuider",
    "RecordedGuider",
    "Sampling",
    "SourceRecording",
    "architecture_of",
    "attention_layers",
    "edit_recorded",
    "encode",
    "encodings",
    "load_demo",
    "readable",
    "record",
    "sample",
    "sample_batches",
]
