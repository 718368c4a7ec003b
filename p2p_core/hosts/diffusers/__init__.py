"""diffusers: prompts by a pipeline's tokenizers, layers of its network, and a context in which its calls are edited."""

from .pipeline import align, prompt_to_prompt
from .recording import PipelineRecording, record
from .run import PipelineRun

__all__ = ["PipelineRecording", "PipelineRun", "align", "prompt_to_prompt", "record"]
