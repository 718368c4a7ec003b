"""Nodes whose purpose is a picture show it themselves, and say how far they are in pictures."""

from __future__ import annotations

from support.graphs import DemoGraph
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
