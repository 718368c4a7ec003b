"""What a node tells the canvas: reports for the views, and pictures to show on the node itself."""

import torch
from comfy_api.latest import ui


def reported(name: str, report: dict) -> dict[str, list[list[dict]]]:
    """A `ui` value with one report.

    One list deeper than the host asks for: its list of jobs takes every record in the list itself for something that
    the job has made, and shows it among the pictures.
    """
    return {name: [[report]]}


def shown(*images: torch.Tensor) -> dict[str, list]:
    """A `ui` value with pictures, batches [n, height, width, 3] of any sizes, as PreviewImage shows them."""
    return {"images": [file for image in images for file in ui.PreviewImage(image).values], "animated": (False,)}
