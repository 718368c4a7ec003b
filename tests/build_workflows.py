"""The example workflows, as they are laid out on the canvas.

python tests/build_workflows.py [names ...]               # writes example_workflows/<name>.json and api/<name>.json
python tests/build_workflows.py --thumbnails [names ...]  # runs them, for <name>.jpg and web/docs/images

Runs in ComfyUI's Python (.comfyui/venv/bin/python). A file that was changed on the canvas since is written over.
"""

from __future__ import annotations

import argparse
import json
import sys

from bootstrap import CHECKOUT
from canvases import EXAMPLES, NEED_ANOTHER_MODEL
from comfy_client import Result, Workflow
from comfy_server import Server
from export_api import API, CANVAS, to_api, written
from PIL import Image, ImageDraw, ImageFont
from workflow_builder import Canvas

HELP = CHECKOUT / "web" / "docs" / "images"
WIDTH, LOWEST = 840, 200  # of a thumbnail; lower ones get a margin
PAPER, INK, GREY = "#ffffff", "#16181d", "#5b6270"


def thumbnail(pictures: list[Image.Image]) -> Image.Image:
    """Pictures side by side, as small as the template browser needs them."""
    height = max(picture.height for picture in pictures)
    row = Image.new("RGB", (sum(picture.width for picture in pictures), height), PAPER)
    x = 0
    for picture in pictures:
        row.paste(picture.convert("RGB"), (x, 0))
        x += picture.width
    row = row.resize((WIDTH, round(row.height * WIDTH / row.width)), Image.Resampling.LANCZOS)
    if row.height >= LOWEST:
        return row
    padded = Image.new("RGB", (WIDTH, LOWEST), PAPER)
    padded.paste(row, (0, (LOWEST - row.height) // 2))
    return padded


def card(title: str, needs: str) -> Image.Image:
    """In place of a picture that only another model can make."""
    picture = Image.new("RGB", (WIDTH, 300), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((WIDTH / 2, 130), title, INK, ImageFont.load_default(40), anchor="mm")
    pen.text((WIDTH / 2, 190), f"needs {needs}", GREY, ImageFont.load_default(24), anchor="mm")
    return picture


def saved(workflow: Workflow, result: Result) -> list[tuple[str, list[Image.Image]]]:
    """What each SaveImage saved, with its prefix."""
    saves = [(i, node["inputs"]) for i, node in workflow.items() if node["class_type"] == "SaveImage"]
    return [(inputs["filename_prefix"], result.images[i]) for i, inputs in saves]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="which; all, if none is named")
    parser.add_argument("--thumbnails", action="store_true", help="run them, and make their pictures")
    given = parser.parse_args(arguments)
    with Server() as server:
        object_info = server.object_info()
        for name in given.names or EXAMPLES:
            canvas = Canvas(name, object_info)
            EXAMPLES[name](canvas)
            laid_out = canvas.json()
            workflow = to_api(laid_out, object_info)
            (CANVAS / f"{name}.json").write_text(json.dumps(laid_out, indent=1, ensure_ascii=False) + "\n")
            (API / f"{name}.json").write_text(written(workflow))
            if given.thumbnails and name in NEED_ANOTHER_MODEL:
                card(*NEED_ANOTHER_MODEL[name]).save(CANVAS / f"{name}.jpg", quality=88)
            elif given.thumbnails:
                for prefix, pictures in reversed(saved(workflow, server.run(workflow))):
                    # The first is the workflow's own; help pages show that and further ones.
                    thumbnail(pictures).save(CANVAS / f"{name}.jpg", quality=88)
                    thumbnail(pictures).save(HELP / f"{prefix}.jpg", quality=88)
            print(name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
