"""The nodes that look into an edit: what they make, and what they say when they can't."""

from __future__ import annotations

import urllib.error

import pytest
import torch

from support.comfy_client import Interrupted
from support.graphs import EDIT, SOURCE, DemoGraph, fails, latent

WIDE, HIGH = 128, 128


class Tools(DemoGraph):
    """A demo graph with short sampling, and an output for whatever is looked at."""

    def settings(self, **changed) -> dict:
        sampling = {"seed": 1, "steps": 4, "cfg": 4.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
        links = {"model": self.model, "negative": self.negative, "latent_image": self.latent, "vae": self.vae}
        return {**links, **sampling, **changed}

    def sweep(self, edit: list | None = None, **changed):
        axes = {"x_parameter": "cross_end", "x_values": "0, 1", "y_parameter": "self_end", "y_values": "0, 0.5"}
        return self.add("P2PSweep", edit=edit or self.align()[0], **{**self.settings(), **axes, **changed})

    def study(self, edit: list | None = None, **changed):
        settings = self.settings(by="part", attention="both", **changed)
        return self.add("P2PLayerStudy", edit=edit or self.align()[0], **settings)

    def decoded(self, samples: list) -> list:
        return self.add("VAEDecode", samples=samples, vae=self.vae)[0]

    def maps(self, sampled, words: str = "cat", prompt: str = "source", **optional):
        return self.add("P2PAttentionMaps", maps=sampled[2], words=words, prompt=prompt, **optional)

    def shown(self, image: list):
        return self.add("SaveImage", images=image, filename_prefix="tool")

    def read(self, text: list):
        return self.add("PreviewAny", source=text)


def short(graph: DemoGraph, edit: list | None = None):
    return graph.p2p(edit or graph.align()[0], steps=4, sampler_name="euler")


# -- P2PAttentionMaps -------------------------------------------------------------------------------


def test_a_labelled_heat_map_and_a_mask_for_each_word(server):
    graph = Tools()
    sampled = short(graph)
    over = graph.maps(sampled, "cat, car", image=graph.decoded(sampled[0]))
    every = graph.maps(sampled, "", "edited")
    blocks = graph.maps(sampled, "dog", "edited", layers="each")
    shown = [graph.shown(node[0]) for node in (over, every, blocks)]
    mask = graph.shown(graph.add("MaskToImage", mask=over[1])[0])
    result = server.run(graph.nodes)
    assert [len(result.images[node]) for node in shown] == [2, len(EDIT.split()), 10]
    # The label and the legend are beside the picture, not on it.
    assert all(picture.height > 384 < picture.width for node in shown for picture in result.images[node])
    assert [picture.size for picture in result.images[mask]] == [(WIDE, HIGH)] * 2
    assert all(picture.convert("L").getextrema()[1] == 255 for picture in result.images[mask])


def test_each_edit_that_has_the_word_and_each_picture_of_the_batch(server):
    graph = Tools(batch=2)
    both = graph.align(edit="a fox sitting on a car", more=graph.align()[0])
    sampled = short(graph, both[0])
    words = graph.maps(sampled, "fox, car", "edited", image=graph.decoded(sampled[1]))
    shown = graph.shown(words[0])
    assert len(server.run(graph.nodes).images[shown]) == 2 * (1 + 2)


def test_maps_that_are_connected_later_make_the_sampler_run_again(server):
    graph = Tools()
    sampled = short(graph)
    graph.keep(sampled[1])
    server.run(graph.nodes)
    graph.shown(graph.maps(sampled)[0])
    assert sampled not in server.run(graph.nodes).cached
    assert sampled in server.run(graph.nodes).cached


@pytest.mark.parametrize(
    ("how", "mentioned"),
    [
        ({"words": "wolf"}, ("words", "wolf", "cat")),
        ({"words": "dog", "prompt": "source"}, ("words", "dog", "cat")),
        ({"words": "cat#2"}, ("words", "cat#2", "once")),
        ({"words": "[70]"}, ("words", "[70]", "padding")),
        ({"layers": "sideways"}, ("layers", "sideways", "middle")),
        ({"layers": "output:9"}, ("layers", "output:9", "output:5")),
        ({"layers": "middle, output:9"}, ("layers", "output:9", "output:5")),
    ],
)
def test_words_and_layers_that_are_none(server, how, mentioned):
    graph = Tools()
    graph.shown(graph.maps(short(graph), **how)[0])
    fails(server, graph, "P2PAttentionMaps", *mentioned)


# -- P2PCompare -------------------------------------------------------------------------------------


def report(result, node: str) -> dict:
    """What a P2PCompare told the canvas."""
    [[sent]] = result.outputs[node]["p2p_compare"]
    return sent


def test_what_the_canvas_gets(server):
    graph = Tools(batch=2)
    edit = graph.align(edit="a fox sitting on a car, at night", more=graph.align()[0])
    sampled = short(graph, edit[0])
    source, edited = graph.decoded(sampled[0]), graph.decoded(sampled[1])
    compared = graph.add("P2PCompare", source=source, edited=edited, maps=sampled[2])
    result = server.run(graph.nodes)
    assert list(result.outputs[compared]) == ["p2p_compare"]  # and no "images"
    sent = report(result, compared)
    assert [len(sent[name]) for name in ("source", "edited", "difference")] == [2, 4, 4]
    assert [prompt["text"] for prompt in sent["prompts"]] == [SOURCE, EDIT, "a fox sitting on a car, at night"]
    changed = [[word["text"] for word in prompt["words"] if word["changed"]] for prompt in sent["prompts"]]
    assert changed == [[], ["dog"], ["fox", ",", "at", "night"]]
    for entry in sent["heat"]:
        word = sent["prompts"][entry["prompt"]]["words"][entry["word"]]
        assert word["text"] != ","
        assert entry["image"] in (0, 1)
    assert len(sent["heat"]) == 2 * (6 + 6 + 8)
    picture = server.image(sent["heat"][0]["file"])
    assert (picture.mode, picture.size) == ("RGBA", (WIDE, HIGH))


def test_the_list_of_jobs_counts_pictures_alone(server):
    """The core counts every record of a list in `ui`, and shows those with a file among what a person has made."""
    graph = Tools()
    sampled = short(graph, graph.align()[0])
    source, edited = graph.decoded(sampled[0]), graph.decoded(sampled[1])
    graph.add("P2PCompare", source=source, edited=edited, maps=sampled[2])
    kept = graph.shown(edited)
    first = listed(server, server.run(graph.nodes))
    graph.maps(sampled, "cat, car")  # which shows two itself, as PreviewImage would
    second = listed(server, server.run(graph.nodes))
    assert [job["outputs_count"] for job in (first, second)] == [1, 3]
    assert [job["preview_output"]["nodeId"] for job in (first, second)] == [str(kept)] * 2


def listed(server, result) -> dict:
    """A run, as the server's list of jobs has it."""
    try:
        return server.get(f"/api/jobs/{result.prompt_id}")
    except urllib.error.HTTPError:
        pytest.skip("ComfyUI 0.3.75 and older have no list of jobs")


def test_prompts_from_the_edit_or_none_at_all(server):
    graph = Tools()
    edit = graph.align()[0]
    sampled = short(graph, edit)
    pictures = {"source": graph.decoded(sampled[0]), "edited": graph.decoded(sampled[1])}
    with_edit, bare = graph.add("P2PCompare", edit=edit, **pictures), graph.add("P2PCompare", **pictures)
    result = server.run(graph.nodes)
    assert [prompt["text"] for prompt in report(result, with_edit)["prompts"]] == [SOURCE, EDIT]
    assert report(result, bare)["prompts"] == report(result, bare)["heat"] == []


def test_a_prompt_without_words(server):
    """Nothing to point at, and nothing to complain about."""
    graph = Tools()
    sampled = short(graph, graph.align(source="", edit="a dog")[0])
    source, edited = graph.decoded(sampled[0]), graph.decoded(sampled[1])
    compared = graph.add("P2PCompare", source=source, edited=edited, maps=sampled[2])
    sent = report(server.run(graph.nodes), compared)
    assert [len(prompt["words"]) for prompt in sent["prompts"]] == [0, 2]
    assert [entry["prompt"] for entry in sent["heat"]] == [1, 1]


def test_pictures_that_don_t_belong_together(server):
    graph = Tools()
    image = [
        graph.add("EmptyImage", width=w, height=64, batch_size=n, color=0)[0] for w, n in ((64, 2), (64, 3), (32, 2))
    ]
    graph.add("P2PCompare", source=image[0], edited=image[1])
    fails(server, graph, "P2PCompare", "source", "2", "edited", "3")
    del graph.nodes[list(graph.nodes)[-1]]
    graph.add("P2PCompare", source=image[0], edited=image[2])
    fails(server, graph, "P2PCompare", "source", "64 x 64", "edited", "32 x 64")


def test_pictures_of_another_run_than_the_edit(server):
    graph = Tools()
    first = graph.align()
    both = graph.align(edit="a fox sitting on a car", more=first[0])
    sampled = short(graph, first[0])
    graph.add("P2PCompare", source=graph.decoded(sampled[0]), edited=graph.decoded(sampled[1]), edit=both[0])
    fails(server, graph, "P2PCompare", "edited", "edit", "1", "2")


# -- P2PSweep ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows_at_once", [1, 3, 8])
def test_a_cell_is_what_the_sampler_gives_for_its_settings(server, rows_at_once):
    graph = Tools()
    edit = graph.align()[0]
    swept = graph.sweep(edit, rows_at_once=rows_at_once)
    grid, source = graph.keep(swept[2]), graph.keep(swept[1])
    alone = short(graph, graph.schedule(edit, cross=(0.0, 1.0), self_=(0.0, 0.5)))
    kept = [graph.keep(alone[i]) for i in (0, 1)]
    seen = []
    result = server.run(graph.nodes, progress=lambda node, value, maximum: seen.append((node, value, maximum)))
    cells = latent(server, result, grid)
    assert len(cells) == 4
    torch.testing.assert_close(cells[3:], latent(server, result, kept[1]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(latent(server, result, source), latent(server, result, kept[0]), rtol=1e-4, atol=1e-4)
    # One bar over the whole grid, that never goes back.
    bar = [(value, maximum) for node, value, maximum in seen if node == swept]
    assert bar[-1][0] == bar[-1][1] == 4 * -(-4 // rows_at_once)
    assert bar == sorted(bar)


def test_a_sheet_for_each_picture_of_the_batch(server):
    graph = Tools(batch=2)
    swept = graph.sweep(x_parameter="word weight", x_values="0:2:1", x_words="dog", y_parameter="nothing", y_values="")
    shown = graph.shown(swept[0])
    sheets = server.run(graph.nodes).images[shown]
    assert len(sheets) == 2
    assert all(sheet.width > 3 * sheet.height for sheet in sheets)


def test_a_sweep_can_be_stopped(server):
    graph = Tools()
    graph.shown(graph.sweep(steps=100, rows_at_once=1)[0])

    def stop_at_the_fifth_step(_node, value, _maximum):
        if value == 5:
            server.interrupt()

    with pytest.raises(Interrupted):
        server.run(graph.nodes, progress=stop_at_the_fifth_step)


@pytest.mark.parametrize(
    ("how", "mentioned"),
    [
        ({"x_values": ""}, ("x_values", "empty", "cross_end")),
        ({"x_values": "0, often"}, ("x_values", "often", "0:1:0.25")),
        ({"y_values": "0, 1.5"}, ("y_values", "1.5", "self_end", "0 to 1")),
        ({"y_values": "1:0:0.1"}, ("y_values", "1:0:0.1")),
        ({"x_values": "0:1:0.001", "y_values": "0:1:0.001"}, ("x_values", "y_values", "400")),
        ({"y_parameter": "cross_end"}, ("x_parameter", "y_parameter", "both")),
        ({"x_parameter": "word weight", "x_values": "1, 2"}, ("x_words", "empty")),
        ({"x_parameter": "word weight", "x_values": "1, 2", "x_words": "wolf"}, ("x_words", "wolf", "dog")),
        ({"x_parameter": "word weight", "x_values": "50", "x_words": "dog"}, ("x_values", "50", "-20 to 20")),
        ({"y_parameter": "self_mode", "y_values": "map, all"}, ("y_values", "all", "key_value")),
        ({"x_parameter": "blend threshold"}, ("x_parameter", "local blend")),
        (
            {"x_parameter": "cross_start", "x_values": "0.9"},
            ("cross_start", "cross_end", "0.9", "an input of AttentionInjectSchedule"),
        ),
    ],
)
def test_axes_that_are_none(server, how, mentioned):
    graph = Tools()
    graph.shown(graph.sweep(**how)[0])
    fails(server, graph, "P2PSweep", *mentioned)


@pytest.mark.parametrize(("tool", "node_type"), [("sweep", "P2PSweep"), ("study", "P2PLayerStudy")])
def test_several_edits_at_once(server, tool, node_type):
    graph = Tools()
    both = graph.align(edit="a fox sitting on a car", more=graph.align()[0])
    graph.shown(getattr(graph, tool)(both[0])[1 if tool == "study" else 0])
    fails(server, graph, node_type, "edit", "2 edited prompts", "single")


# -- P2PLayerStudy and P2PModelReport ---------------------------------------------------------------


def test_a_study_has_a_line_for_each_group_and_all_of_them(server):
    graph = Tools()
    studied = graph.study(seed=9, steps=12)  # where the prompt alone loses the place
    text = graph.read(studied[0])
    shown = [graph.shown(studied[i]) for i in (1, 2)]
    result = server.run(graph.nodes)
    (report,) = result.outputs[text]["text"]
    lines = report.splitlines()
    assert [line.split("  ")[0].strip() for line in lines[2:6]] == ["all layers", "input", "middle", "output"]
    every = [float(number) for number in lines[2].replace("all layers", "").replace("%", "").split()]
    assert every[0] < every[2], "injection everywhere stays nearer to the source than none"
    assert [len(result.images[node]) for node in shown] == [1, 1]


def test_a_study_of_an_edit_that_is_limited_already(server):
    graph = Tools()
    limited = graph.schedule(graph.align()[0], blocks="middle")
    graph.shown(graph.study(limited)[1])
    fails(server, graph, "P2PLayerStudy", "blocks is an input of AttentionInjectSchedule", "empty")


def test_the_report_has_every_layer_in_order(server):
    graph = Tools()
    report = graph.add("P2PModelReport", model=graph.model, width=256, height=128)
    text, shown = graph.read(report[0]), graph.shown(report[1])
    result = server.run(graph.nodes)
    (lines,) = (output.splitlines() for output in result.outputs[text]["text"])
    assert lines[1].split()[:8] == ["1", "input:1", "0", "self", "32x16", "512", "512", "4"]
    assert sum(line.split()[3:4] == ["cross"] for line in lines) == 10
    assert len(result.images[shown]) == 1
