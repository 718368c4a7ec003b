"""Inside of loops and other nodes that put nodes into the workflow while it runs: ComfyUI's own executor."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from comfy_execution.graph import DynamicPrompt
from comfy_execution.graph_utils import GraphBuilder
from comfy_extras.nodes_preview_any import PreviewAny
from execution import PromptExecutor
from prompt_to_prompt.nodes import NODES
from prompt_to_prompt.nodes.sampler import MAPS_OUTPUT
from prompt_to_prompt.nodes.wanted import is_connected

import nodes


class Turn:
    """A loop's turn: samples, looks at the maps inside or hands them out, and takes another turn or ends."""

    FUNCTION, RETURN_TYPES, CATEGORY = "run", ("P2P_MAPS", "LATENT"), "test"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's name
        return {"required": {"turns": ("INT", {}), "look_inside": ("BOOLEAN", {})}}

    def run(self, turns, look_inside):
        graph = GraphBuilder()
        demo = graph.node("P2PDemoModel")
        text = graph.node("CLIPTextEncode", clip=demo.out(1), text="")
        pair = {"source_prompt": "a cat on a car", "edit_prompt": "a dog on a car", "mode": "auto"}
        edit = graph.node("PromptPairAlign", clip=demo.out(1), **pair)
        latent = graph.node("EmptyLatentImage", width=64, height=64, batch_size=1)
        how = {"seed": turns, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
        links = {"model": demo.out(0), "edit": edit.out(0), "negative": text.out(0), "latent_image": latent.out(0)}
        sampler = graph.node("P2PSampler", **links, **how)
        if look_inside:
            graph.node("Seen", maps=sampler.out(MAPS_OUTPUT))
        if turns > 1:
            again = graph.node("Turn", turns=turns - 1, look_inside=look_inside)
            return {"result": (again.out(0), again.out(1)), "expand": graph.finalize()}
        return {"result": (sampler.out(MAPS_OUTPUT), sampler.out(0)), "expand": graph.finalize()}


class Seen:
    """Takes maps and remembers them."""

    FUNCTION, RETURN_TYPES, CATEGORY, OUTPUT_NODE = "run", (), "test", True
    maps = ()

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"maps": ("P2P_MAPS", {})}}

    def run(self, maps):
        Seen.maps = (*Seen.maps, maps)
        return {}


class Texts:
    """Hands out texts one by one: each node behind it runs once for each."""

    FUNCTION, RETURN_TYPES, OUTPUT_IS_LIST, CATEGORY = "run", ("STRING",), (True,), "test"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {}}

    def run(self):
        return (["a dog on a car", "a fox on a car", "an owl on a bus"],)


class Listener:
    client_id, last_node_id, node_id = None, None, None

    def __init__(self):
        self.said = []

    def send_sync(self, event, data, *_):
        self.said.append((event, data))


@pytest.fixture
def run(monkeypatch):
    for node in (*NODES, PreviewAny, Turn, Seen, Texts):
        name = node.GET_SCHEMA().node_id if node in NODES else node.__name__
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, node)
    monkeypatch.setattr(Seen, "maps", ())

    def run(workflow, outputs):
        executor = PromptExecutor(Listener(), cache_args={"lru": 0, "ram": 0.0, "ram_inactive": 0.0})
        # On a thread, as on the server: a browser test before this one leaves its event loop running on the main one.
        with ThreadPoolExecutor(1) as worker:
            worker.submit(asyncio.run, executor.execute_async(workflow, "test", {}, outputs)).result()
        assert executor.success, executor.status_messages[-1]

    return run


@pytest.mark.parametrize("turns", [1, 3])
def test_maps_that_a_loop_hands_out_are_there(run, turns):
    loop = {"class_type": "Turn", "inputs": {"turns": turns, "look_inside": False}}
    run({"1": loop, "2": {"class_type": "Seen", "inputs": {"maps": ["1", 0]}}}, ["2"])
    assert len(Seen.maps) == 1 and Seen.maps[0] is not None


@pytest.mark.parametrize("turns", [1, 2])
def test_maps_that_are_looked_at_inside_of_a_loop_are_there_in_each_turn(run, turns):
    loop = {"class_type": "Turn", "inputs": {"turns": turns, "look_inside": True}}
    run({"1": loop, "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}}}, ["2"])
    assert len(Seen.maps) == turns and None not in Seen.maps


def test_edits_of_a_list_of_texts_each_have_their_own_maps(run):
    pair = {"clip": ["1", 1], "source_prompt": "a cat on a car", "edit_prompt": ["2", 0], "mode": "auto"}
    how = {"seed": 1, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    links = {"model": ["1", 0], "edit": ["3", 0], "negative": ["4", 0], "latent_image": ["5", 0]}
    graph = {
        "1": {"class_type": "P2PDemoModel", "inputs": {}},
        "2": {"class_type": "Texts", "inputs": {}},
        "3": {"class_type": "PromptPairAlign", "inputs": pair},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": ""}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "6": {"class_type": "P2PSampler", "inputs": {**links, **how}},
        "7": {"class_type": "Seen", "inputs": {"maps": ["6", MAPS_OUTPUT]}},
    }
    run(graph, ["7"])
    assert [maps.variants[0].prompt.text for maps in Seen.maps] == Texts().run()[0]


def prompt_with(expanded: dict, original: dict | None = None) -> DynamicPrompt:
    prompt = DynamicPrompt({"9": {"class_type": "Loop", "inputs": {}}, **(original or {})})
    for node_id, links in expanded.items():
        parent = node_id.rsplit(".", 2)[0]
        prompt.add_ephemeral_node(node_id, {"class_type": "Any", "inputs": links}, parent, parent)
    return prompt


def test_maps_that_a_node_inside_of_a_loop_takes_are_wanted():
    prompt = prompt_with({"9.0.0.5": {}, "9.0.0.6": {"maps": ["9.0.0.5", MAPS_OUTPUT]}})
    assert is_connected(prompt, "9.0.0.5", MAPS_OUTPUT)


def test_maps_in_a_loop_s_later_turns_are_wanted():
    prompt = prompt_with({"9.0.0.5": {}, "9.0.0.5.0.0.7": {}, "9.0.0.8": {"maps": ["9.0.0.5.0.0.7", MAPS_OUTPUT]}})
    assert is_connected(prompt, "9.0.0.5.0.0.7", MAPS_OUTPUT)


def test_maps_that_nobody_can_take_are_not_wanted():
    assert not is_connected(prompt_with({"9.0.0.5": {}, "9.0.0.6": {"samples": ["9.0.0.5", 0]}}), "9.0.0.5", 2)
    assert not is_connected(prompt_with({}, {"3": {"class_type": "Any", "inputs": {"x": ["9", 0]}}}), "9", 2)


def test_a_workflow_s_own_links_count():
    assert is_connected(prompt_with({}, {"3": {"class_type": "Any", "inputs": {"x": ["9", 2]}}}), "9", 2)
