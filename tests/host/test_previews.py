"""Nodes whose purpose is a picture show it themselves, and say how far they are in pictures."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from support.graphs import DemoGraph, latent
from support.jobs import Job
from tools.load import Listener

ONE_AXIS = {"x_parameter": "cross_end", "x_values": "0, 0.8", "y_parameter": "nothing", "y_values": ""}


def test_a_node_with_nothing_behind_it_runs_and_shows_its_picture(server):
    graph = DemoGraph()
    report = graph.add("P2PModelReport", model=graph.model, width=128, height=128)
    sampled = graph.p2p(graph.align()[0], steps=2)
    maps = graph.add("P2PAttentionMaps", maps=sampled[2], words="cat, car", prompt="source")
    result = server.run(graph.nodes)
    assert len(result.images[report]) == 1
    assert len(result.images[maps]) == 2


def test_a_sweep_shows_its_sheet_and_counts_pictures(server):
    graph = DemoGraph()
    settings = {"negative": graph.negative, "latent_image": graph.latent, "vae": graph.vae, "model": graph.model}
    how = {"seed": 1, "steps": 2, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    sweep = graph.add("P2PSweep", edit=graph.align()[0], rows_at_once=1, **settings, **how, **ONE_AXIS)
    listener = Listener(server)
    listener.queue(Job("sweep", graph, (sweep,), sweep))
    listener.start()
    listener.join()
    assert listener.told.notes == ["0 of 2 pictures", "1 of 2 pictures", "2 pictures"]


def custom_sampler(graph: DemoGraph, edit: list, steps: int):
    """P2PGuider in ComfyUI's own sampler."""
    guider = graph.add("P2PGuider", model=graph.model, edit=edit, negative=graph.negative, cfg=4.0)
    sigmas = graph.add("BasicScheduler", model=graph.model, scheduler="normal", steps=steps, denoise=1.0)
    euler = graph.add("KSamplerSelect", sampler_name="euler")
    parts = {"noise": graph.add("RandomNoise", noise_seed=1)[0], "guider": guider[0], "sampler": euler[0]}
    return graph.add("SamplerCustomAdvanced", **parts, sigmas=sigmas[0], latent_image=graph.latent)


def shapes(previews: list[Image.Image]) -> list[int]:
    """How many squares each has side by side; their sizes are whole pixels."""
    return [round(preview.width / preview.height) for preview in previews]


@pytest.mark.parametrize("batch", [1, 2])
def test_the_live_preview_has_source_and_edits_side_by_side(server, batch):
    graph = DemoGraph(batch=batch)
    both = graph.align(edit="a fox sitting on a car", more=graph.align()[0])
    graph.keep(graph.p2p(both[0], steps=3)[0])
    assert shapes(server.run(graph.nodes).previews) == [3] * 3


def test_that_of_the_guider_as_well_and_its_outputs_are_the_pictures(server):
    graph = DemoGraph()
    sampled = custom_sampler(graph, graph.align()[0], steps=3)
    output, denoised = (graph.keep(sampled[i]) for i in (0, 1))
    result = server.run(graph.nodes)
    assert shapes(result.previews[:3]) == [2] * 3
    # Euler's last step ends at its prediction, and both are source and edit.
    torch.testing.assert_close(latent(server, result, denoised), latent(server, result, output), rtol=0, atol=1e-5)
    assert latent(server, result, denoised).shape == (2, 4, 16, 16)
