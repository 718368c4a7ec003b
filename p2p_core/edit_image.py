"""CrossAttentionControl's procedure as one function, for those who come with a notebook."""

from .command.edit_image import edit_image

__all__ = ["edit_image"]
