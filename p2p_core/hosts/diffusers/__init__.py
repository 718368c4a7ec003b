"""diffusers: prompts by a pipeline's tokenizer, layers of its UNet, and a context in which its calls are edited."""

from .pipeline import PipelineRun, align, prompt_to_prompt

__all__ = ["PipelineRun", "align", "prompt_to_prompt"]
