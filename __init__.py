"""Prompt-to-prompt for ComfyUI: edit a picture by editing its prompt."""

import logging

WEB_DIRECTORY = "./web"
__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

try:
    import comfy_api.latest  # noqa: F401
except ImportError:
    # Nothing is raised: the rest of an older ComfyUI has to start as always.
    logging.error("prompt-to-prompt needs ComfyUI 0.3.75 or newer (it uses comfy_api.latest): please update ComfyUI.")
    NODE_CLASS_MAPPINGS = {}
    __all__ = ["NODE_CLASS_MAPPINGS"]
else:
    from .nodes import comfy_entrypoint
