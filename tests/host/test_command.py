"""The workflow that the command leaves in a picture, run by a real server."""

from __future__ import annotations

import json

import numpy
import pytest
from PIL import Image
from prompt_to_prompt.p2p_core.command import run as command


@pytest.mark.parametrize("options", [[], ["--reweight", "red", "2", "--source_words", "cat", "--edit_words", "dog"]])
def test_the_server_makes_the_commands_picture(server, tmp_path, options):
    edit, source = tmp_path / "edit.png", tmp_path / "source.png"
    where = ["-o", str(edit), "--source", str(source)]
    prompts = ["a cat sitting on a car", "a dog sitting on a red car"]
    assert command.main([*prompts, *options, "--seed", "8", "--steps", "9", *where]) == 0
    workflow = json.loads(Image.open(edit).info["prompt"])
    result = server.run(workflow)
    saved = {node["inputs"].get("filename_prefix"): number for number, node in workflow.items()}
    for name, mine in (("word_swap_source", source), ("word_swap_edit", edit)):
        theirs = result.images[saved[name]][0].convert("RGB")
        difference = numpy.asarray(Image.open(mine).convert("RGB"), float) - numpy.asarray(theirs, float)
        # diffusers rounds timesteps to whole numbers and begins a little below ComfyUI's first noise level.
        assert numpy.abs(difference).mean() < 4
