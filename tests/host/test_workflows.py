"""The example workflows: complete, tidy, up to date, and they run."""

from __future__ import annotations

import json

import numpy
import pytest
from bootstrap import CHECKOUT, PACK, STABLE
from PIL import Image

from support.comfy_server import INPUTS
from support.inside_comfyui import COMFYUI
from tools.canvases import NEED_ANOTHER_MODEL
from tools.export_api import API, NOTES, outdated
from tools.workflow_builder import TITLE, pack_version

FOLDER = CHECKOUT / "example_workflows"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.json"))


def canvas(name: str) -> dict:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def api(name: str) -> dict:
    return json.loads((API / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def object_info(server):
    return server.object_info()


def test_there_are_enough():
    assert len(EXAMPLES) >= 8


@pytest.mark.skipif(
    f'"{STABLE.version}"' not in (COMFYUI / "comfyui_version.py").read_text(),
    reason=f"they have the titles that ComfyUI {STABLE.version} gives its nodes",
)
def test_the_api_forms_are_up_to_date(object_info):
    assert [path.name for path in outdated(object_info)] == [], "run: python tests/tools/export_api.py"
    assert sorted(path.stem for path in API.glob("*.json")) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_says_what_to_try_and_has_a_thumbnail(name):
    notes = [node["widgets_values"][0] for node in canvas(name)["nodes"] if node["type"] in NOTES]
    assert any(len(text) > 200 for text in notes)
    if name in NEED_ANOTHER_MODEL:
        assert any("**Needs**" in text for text in notes)
    with Image.open(FOLDER / f"{name}.jpg") as picture:
        assert picture.width >= 400


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_node_lies_over_another(name):
    boxes = [(*node["pos"], *node["size"]) for node in canvas(name)["nodes"]]
    for i, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:i]:
            beside = x >= other_x + other_width or other_x >= x + width
            below = y - TITLE >= other_y + other_height or other_y - TITLE >= y + height
            assert beside or below, (name, i)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_says_which_packs_and_files_it_needs(name):
    nodes = [node for node in canvas(name)["nodes"] if node["type"] not in NOTES]
    assert all(node["properties"]["cnr_id"] and node["properties"]["ver"] for node in nodes)
    ours = {node["properties"]["ver"] for node in nodes if node["properties"]["cnr_id"] == PACK}
    assert ours == {pack_version()}
    for node in nodes:
        if node["type"] == "CheckpointLoaderSimple":
            (file,) = node["properties"]["models"]
            assert file["name"] == node["widgets_values"][0] == file["url"].split("/")[-1]


def test_every_node_of_the_pack_is_in_one(object_info):
    ours = {n for n, node in object_info.items() if node["python_module"] == "custom_nodes.prompt-to-prompt"}
    assert ours - {node["type"] for name in EXAMPLES for node in canvas(name)["nodes"]} == set()


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in NEED_ANOTHER_MODEL])
def test_it_runs(server, name):
    """With fewer steps: what comes out is as many and as large."""
    workflow = api(name)
    for node in workflow.values():
        if "steps" in node["inputs"]:
            node["inputs"]["steps"] = 3
    result = server.run(workflow)
    shows = ("SaveImage", "PreviewImage", "P2PCompare", "PreviewAny")
    shown = {number for number, node in workflow.items() if node["class_type"] in shows}
    assert shown
    assert shown <= set(result.outputs)
    for pictures in result.images.values():
        assert all(low < high for picture in pictures for low, high in [picture.convert("L").getextrema()])


def ran(server, workflow: dict) -> tuple[set[str], int]:
    """The kinds of nodes that a queue runs, and the steps that it samples, by the server's own messages."""
    steps = []
    result = server.run(workflow, progress=lambda node, value, maximum: steps.append(node))
    executed = {data["node"] for kind, data in result.messages if kind == "executing" and data["node"]}
    return {workflow[node]["class_type"] for node in executed}, len(steps)


def test_the_second_queue_of_many_wordings_runs_the_editor_alone(server):
    workflow = api("many_wordings")
    of_kind = {node["class_type"]: node["inputs"] for node in workflow.values()}
    of_kind["P2PRecordSource"].update(steps=3, seed=77)
    first, steps = ran(server, workflow)
    assert {"P2PRecordSource", "P2PEditRecorded"} <= first
    assert steps == 6

    edit = of_kind["P2PEditRecorded"]["edit"]
    changes = {
        "words": lambda: of_kind["PromptPairAlign"].update(edit_prompt="a cow sitting on a boat"),
        "weights": lambda: put_before_the_editor("AttentionReweight", words="boat", scale=2.0, start=0.0, end=1.0),
        "windows": lambda: put_before_the_editor(
            "AttentionInjectSchedule", cross_start=0.0, cross_end=0.5, self_start=0.0, self_end=0.2
        ),
        "blend": lambda: put_before_the_editor(
            "AttentionLocalBlend", source_words="fox", edit_words="cow", threshold=0.3, start=0.2
        ),
    }

    def put_before_the_editor(kind: str, **inputs) -> None:
        workflow["put"] = {"class_type": kind, "inputs": {"edit": edit, **inputs}}
        of_kind["P2PEditRecorded"]["edit"] = ["put", 0]

    for change in changes.values():
        change()
        again, steps = ran(server, workflow)
        assert "P2PEditRecorded" in again and not {"P2PRecordSource", "CLIPTextEncode", "P2PDemoModel"} & again
        assert steps == 3


def test_outside_of_a_painted_mask_every_pixel_is_the_photographs(server):
    workflow = api("painted_mask")
    number = {node["class_type"]: number for number, node in workflow.items()}
    workflow[number["P2PSampler"]]["inputs"]["steps"] = 3
    workflow["whole"] = {
        "class_type": "SaveImage",
        "inputs": {"images": [number["ImageCompositeMasked"], 0], "filename_prefix": "whole"},
    }
    made = numpy.asarray(server.run(workflow).images["whole"][0].convert("RGB"))
    with Image.open(INPUTS / workflow[number["LoadImage"]]["inputs"]["image"]) as photograph:
        outside = numpy.asarray(photograph.getchannel("A")) == 255
        given = numpy.asarray(photograph.convert("RGB"))
    assert 0.5 < outside.mean() < 0.95
    assert (made[outside] == given[outside]).all()
    assert (made[~outside] != given[~outside]).any(1).mean() > 0.9


@pytest.mark.parametrize("name", NEED_ANOTHER_MODEL)
def test_what_needs_another_model_lacks_nothing_else(server, object_info, name):
    """All that ComfyUI has against it are the files that this machine doesn't have."""
    answer = server.post("/prompt", {"prompt": api(name)})
    errors = [error for node in answer["node_errors"].values() for error in node["errors"]]
    assert {error["type"] for error in errors} <= {"value_not_in_list", "custom_validation_failed"}
    assert {error["extra_info"]["input_name"] for error in errors} <= {"ckpt_name", "control_net_name", "image"}
