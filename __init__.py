"""Prompt-to-prompt for ComfyUI: edit a picture by editing its prompt."""

import logging

WEB_DIRECTORY = "./web"
__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

try:
    import comfy_api.latest  # noqa: F401
    from comfy.ldm.modules.attention import wrap_attn  # noqa: F401 - since then attention takes transformer_options
except ImportError:
    # Nothing is raised: the rest of an older ComfyUI has to start as always.
    logging.error("prompt-to-prompt needs ComfyUI 0.3.60 (September 2025) or newer: please update ComfyUI.")
    NODE_CLASS_MAPPINGS = {}
    __all__ = ["NODE_CLASS_MAPPINGS"]
else:
    from .nodes import comfy_entrypoint
