"""The example workflows and the blueprints, as they are laid out on the canvas.

python tests/tools/build_workflows.py [names ...]               # writes <name>.json and api/<name>.json; subgraphs/
python tests/tools/build_workflows.py --thumbnails [names ...]  # runs them, for <name>.jpg and web/docs/images

Runs in ComfyUI's Python (.comfyui/venv/bin/python). A file that was changed on the canvas since is written over.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bootstrap import CHECKOUT

from support.comfy_client import Result, Workflow
from support.comfy_server import Server
from tools.canvases import EXAMPLES, NEED_ANOTHER_MODEL
from tools.canvases.blueprints import BLUEPRINTS
from tools.export_api import API, CANVAS, to_api, written
from tools.workflow_builder import Canvas

SUBGRAPHS = CHECKOUT / "subgraphs"
HELP = CHECKOUT / "web" / "docs" / "images"
WIDTH, LOWEST = 840, 200  # of a thumbnail; lower ones get a margin
PAPER, INK, GREY = "#ffffff", "#16181d", "#5b6270"


def thumbnail(rows: list[list[Image.Image]]) -> Image.Image:
    """Pictures side by side, a row for each node that saved them, as small as the template browser needs them."""
    if all(len(pictures) == 1 and pictures[0].width <= pictures[0].height for pictures in rows):
        rows = [[picture for pictures in rows for picture in pictures]]  # upright ones would be very high
    drawn = [_beside(pictures) for pictures in rows]
    height = sum(row.height for row in drawn)
    whole = Image.new("RGB", (WIDTH, max(height, LOWEST)), PAPER)
    y = (whole.height - height) // 2
    for row in drawn:
        whole.paste(row, (0, y))
        y += row.height
    return whole


def _beside(pictures: list[Image.Image]) -> Image.Image:
    row = Image.new("RGB", (sum(picture.width for picture in pictures), max(p.height for p in pictures)), PAPER)
    x = 0
    for picture in pictures:
        row.paste(picture.convert("RGB"), (x, 0))
        x += picture.width
    return row.resize((WIDTH, round(row.height * WIDTH / row.width)), Image.Resampling.LANCZOS)


def card(title: str, needs: str) -> Image.Image:
    """In place of a picture that only another model can make."""
    picture = Image.new("RGB", (WIDTH, 300), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((WIDTH / 2, 130), title, INK, ImageFont.load_default(40), anchor="mm")
    pen.text((WIDTH / 2, 190), f"needs {needs}", GREY, ImageFont.load_default(24), anchor="mm")
    return picture


def saved(workflow: Workflow, result: Result) -> dict[str, list[list[Image.Image]]]:
    """What was saved under each prefix: a list for each SaveImage."""
    rows: dict[str, list[list[Image.Image]]] = {}
    for number, node in workflow.items():
        if node["class_type"] == "SaveImage":
            rows.setdefault(node["inputs"]["filename_prefix"], []).append(result.images[number])
    return rows


def as_file(workflow: dict) -> str:
    return json.dumps(workflow, indent=1, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="which; all, if none is named")
    parser.add_argument("--thumbnails", action="store_true", help="run them, and make their pictures")
    given = parser.parse_args(arguments)
    pages = "".join(page.read_text(encoding="utf-8") for page in HELP.parent.glob("*.md"))
    with Server() as server:
        object_info = server.object_info()
        for blueprint in (make(object_info) for make in BLUEPRINTS):
            (SUBGRAPHS / f"{blueprint.name}.json").write_text(as_file(blueprint.json()))
        for name in given.names or EXAMPLES:
            canvas = Canvas(name, object_info)
            EXAMPLES[name](canvas)
            laid_out = canvas.json()
            workflow = to_api(laid_out, object_info)
            (CANVAS / f"{name}.json").write_text(as_file(laid_out))
            (API / f"{name}.json").write_text(written(workflow))
            if given.thumbnails and name in NEED_ANOTHER_MODEL:
                card(*NEED_ANOTHER_MODEL[name]).save(CANVAS / f"{name}.jpg", quality=88)
            elif given.thumbnails:
                for prefix, rows in saved(workflow, server.run(workflow)).items():
                    if f"(images/{prefix}.jpg)" in pages:
                        thumbnail(rows).save(HELP / f"{prefix}.jpg", quality=88)
                    if prefix == name:
                        thumbnail(rows).save(CANVAS / f"{name}.jpg", quality=88)
            print(name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
