"""What a real server meets: a node that fails, its own death, workflows that aren't as they should be.

The message is true, and what runs afterwards gives what it gives on a server that has met nothing.
"""

from __future__ import annotations

import copy
import json
import math

import pytest
import torch
from PIL import Image
from prompt_to_prompt.p2p_core.demo import layout as demo
from safetensors.torch import save_file

from support.comfy_client import NodeError, Workflow, WorkflowError
from support.comfy_server import Server, ServerError
from support.graphs import DemoGraph, latent

NODES = (
    "PromptPairAlign",
    "AttentionReweight",
    "AttentionInjectSchedule",
    "AttentionLocalBlend",
    "P2PRealPicture",
    "P2PSampler",
    "P2PGuider",
    "P2PRecordSource",
    "P2PEditRecorded",
    "P2PAttentionMaps",
    "P2PCompare",
    "P2PSweep",
    "P2PLayerStudy",
    "P2PModelReport",
    "P2PDemoModel",
)
WITHOUT_SAMPLING = {"P2PDemoModel", "CLIPTextEncode", "EmptyLatentImage"}
WIDGETS = ("INT", "FLOAT", "STRING", "COMBO")


class Plain(DemoGraph):
    """An ordinary KSampler run."""

    def __init__(self):
        super().__init__()
        self.sampler = self.ksampler(self.text("a fox sitting on a boat"), steps=4)
        self.kept = [self.keep(self.sampler[0])]


class Edited(DemoGraph):
    """An edit with its latents and its picture kept."""

    def __init__(self, steps: int = 4, seed: int = 1, vae: str | None = None):
        super().__init__()
        self.sampler = self.p2p(self.schedule(self.align()[0]), steps=steps, seed=seed)
        self.kept = [self.keep(self.sampler[0]), self.keep(self.sampler[1])]
        decoder = self.add("VAELoader", vae_name=vae)[0] if vae else self.vae
        self.decoder = self.add("VAEDecode", samples=self.sampler[1], vae=decoder)
        self.picture = self.add("SaveImage", images=self.decoder[0], filename_prefix="picture")


def made(server: Server, graph: DemoGraph, workflow: Workflow | None = None) -> list[torch.Tensor]:
    """The latents that `graph` keeps, to the bit, from `workflow` where that is the same in other words."""
    result = server.run(workflow or graph.nodes)
    assert graph.sampler not in result.cached
    return [latent(server, result, node) for node in graph.kept]


def equal(these: list[torch.Tensor], those: list[torch.Tensor]) -> bool:
    return len(these) == len(those) and all(map(torch.equal, these, those))


@pytest.fixture(scope="module")
def unharmed() -> dict[str, list[torch.Tensor]]:
    """What a fresh server gives, which has met no fault."""
    with Server() as fresh:
        runs = {"plain": Plain(), "short": Edited(), "long": Edited(steps=60, seed=2), "next": Edited(seed=3)}
        return {name: made(fresh, graph) for name, graph in runs.items()}


# -- a node fails behind an edit --------------------------------------------------------------------


def test_an_error_in_the_vae_decode(server, unharmed):
    """As where the VAE belongs to another kind of model."""
    tensors, _ = demo.read()
    vae = {name[len(demo.VAE) :]: tensor for name, tensor in tensors.items() if name.startswith(demo.VAE)}
    latent_in, latent_out = "taesd_decoder.1.weight", "taesd_encoder.14"
    vae[latent_in] = vae[latent_in].repeat(1, 4, 1, 1)
    vae[f"{latent_out}.weight"] = vae[f"{latent_out}.weight"].repeat(4, 1, 1, 1)
    vae[f"{latent_out}.bias"] = vae[f"{latent_out}.bias"].repeat(4)
    folder = server.base / "models" / "vae"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(vae, folder / "of_sixteen_channels.safetensors")

    graph = Edited(vae="of_sixteen_channels.safetensors")
    with pytest.raises(WorkflowError) as failure:
        server.run(graph.nodes)
    (error,) = failure.value.errors
    assert (error.node_id, error.node_type) == (graph.decoder, "VAEDecode")
    assert "16" in error.message
    assert equal(made(server, Plain()), unharmed["plain"])
    assert equal(made(server, Edited()), unharmed["short"])


# -- the server dies --------------------------------------------------------------------------------


def test_killed_in_the_middle_of_an_edit_and_started_again(unharmed):
    """ComfyUI keeps its queue and its history in memory. What a user has left is what a client wrote down of them, and
    the pictures, each of which carries its workflow."""
    finished, running, pending = Edited(), Edited(steps=60, seed=2), Edited(seed=3)
    server = Server()
    try:
        server.start()
        result = server.run(finished.nodes)
        (file,) = result.outputs[finished.picture]["images"]
        picture = result.images[finished.picture][0].tobytes()
        of_history = server.get("/history")[result.prompt_id]["prompt"][2]
        queue = {}

        def kill_at_the_fifth_step(_node, value, _maximum):
            if value == 5:
                server.queue(pending.nodes)
                queue.update(server.get("/queue"))
                server.kill()

        with pytest.raises(ServerError, match="ComfyUI is gone"):
            server.run(running.nodes, progress=kill_at_the_fifth_step)

        server.start()
        assert server.get("/queue") == {"queue_running": [], "queue_pending": []}
        assert server.get("/history") == {}
        (was_running,), (was_pending,) = queue["queue_running"], queue["queue_pending"]
        assert equal(made(server, running, was_running[2]), unharmed["long"])
        assert equal(made(server, pending, was_pending[2]), unharmed["next"])
        with Image.open(server.output / file["filename"]) as saved:
            of_picture = json.loads(saved.text["prompt"])
        for workflow in (of_history, of_picture):
            again = server.run(workflow)
            assert again.images[finished.picture][0].tobytes() == picture
            assert equal([latent(server, again, node) for node in finished.kept], unharmed["short"])
            assert equal(made(server, Plain()), unharmed["plain"])  # and the edit is out of ComfyUI's cache
    finally:
        server.stop()


# -- workflows that aren't as they should be --------------------------------------------------------


class Everything(DemoGraph):
    """Every node of the pack, each in use."""

    def __init__(self):
        super().__init__()
        aligned = self.align()
        edit = aligned[0]
        blend = {"source_words": "cat", "edit_words": "dog", "threshold": 0.3, "start": 0.2}
        limited = self.add("AttentionLocalBlend", edit=self.schedule(self.reweight(edit, "dog", 1.5)), **blend)
        self.sampler = self.p2p(limited[0], steps=2)
        maps = self.add("P2PAttentionMaps", maps=self.sampler[2], words="", prompt="source")
        decoded = [self.add("VAEDecode", samples=self.sampler[i], vae=self.vae)[0] for i in (0, 1)]
        compared = self.add("P2PCompare", source=decoded[0], edited=decoded[1])
        picture = self.add("VAEEncode", pixels=decoded[0], vae=self.vae)[0]
        how = {"fidelity": 1.0, "source_cfg": 0.0, "noise": "fresh", "release": 0.0}
        real = self.p2p(self.add("P2PRealPicture", edit=edit, **how)[0], latent_image=picture, steps=2)
        recorded = self.add("P2PRecordSource", source=aligned[1], **self._sampling(None, {"steps": 2}))
        links = {"model": self.model, "edit": edit, "negative": self.negative, "recording": recorded[0]}
        rewritten = self.add("P2PEditRecorded", **links)
        tried = {**self._sampling(None, {"steps": 1}), "edit": edit, "vae": self.vae}
        axes = {"x_parameter": "cross_end", "x_values": "0.5", "y_parameter": "self_end", "y_values": "0"}
        sweep = self.add("P2PSweep", **tried, **axes)
        study = self.add("P2PLayerStudy", **tried, by="part", attention="both")
        report = self.add("P2PModelReport", model=self.model)
        guider = self.add("P2PGuider", model=self.model, edit=edit, negative=self.negative, cfg=4.0)
        sigmas = self.add("BasicScheduler", model=self.model, scheduler="normal", steps=1, denoise=1.0)[0]
        noise, stepper = self.add("RandomNoise", noise_seed=1)[0], self.add("KSamplerSelect", sampler_name="euler")[0]
        custom = {"noise": noise, "guider": guider[0], "sampler": stepper, "sigmas": sigmas}
        guided = self.add("SamplerCustomAdvanced", latent_image=self.latent, **custom)
        self.kept = [self.keep(out) for out in (self.sampler[0], self.sampler[1], guided[0], real[1], rewritten[0])]
        pictures = (maps[0], compared[0], sweep[0], study[1], report[1])
        self.shown = [self.add("PreviewImage", images=picture) for picture in pictures]

    def of(self, node_type: str) -> str:
        """The id of the first node of that type."""
        return next(number for number, node in self.nodes.items() if node["class_type"] == node_type)


def everything(server: Server, graph: Everything, workflow: Workflow) -> tuple[list[torch.Tensor], list[bytes]]:
    """The latents and pictures of a workflow, all of it run and nothing taken from ComfyUI's cache but the model."""
    server.run(Plain().nodes)
    result = server.run(workflow)
    assert {workflow[number]["class_type"] for number in result.cached} <= WITHOUT_SAMPLING
    pictures = [picture.tobytes() for node in graph.shown for picture in result.images[node]]
    return [latent(server, result, node) for node in graph.kept], pictures


@pytest.fixture(scope="module")
def object_info(server) -> dict[str, dict]:
    return server.object_info()


@pytest.fixture(scope="module")
def as_it_should_be(server) -> tuple[list[torch.Tensor], list[bytes]]:
    graph = Everything()
    return everything(server, graph, graph.nodes)


def inputs_of(object_info, node_type: str) -> dict[str, tuple[str, dict, bool]]:
    """A node's inputs: name -> type, settings, whether it is required."""
    found = {}
    for kind in ("required", "optional"):
        for name, spec in object_info[node_type]["input"].get(kind, {}).items():
            settings = spec[1] if len(spec) > 1 else {}
            found[name] = ("COMBO" if isinstance(spec[0], list) else spec[0], settings, kind == "required")
    return found


def test_every_node_of_the_pack_is_looked_at(object_info):
    ours = {n for n, node in object_info.items() if node["python_module"] == "custom_nodes.prompt-to-prompt"}
    assert ours == set(NODES) == {node["class_type"] for node in Everything().nodes.values()} & ours


def test_inputs_in_another_order_and_inputs_of_a_later_version_change_nothing(server, as_it_should_be):
    graph = Everything()
    workflow = {}
    for number, node in reversed(graph.nodes.items()):
        inputs = dict(reversed(node["inputs"].items()))
        if node["class_type"] in NODES:
            inputs = {"of_a_later_version": 0.5, **inputs, "another": "text"}
        workflow[number] = {"inputs": inputs, "class_type": node["class_type"]}
    latents, pictures = everything(server, graph, workflow)
    assert equal(latents, as_it_should_be[0])
    assert pictures == as_it_should_be[1]


def test_optional_inputs_may_be_missing(server, object_info, as_it_should_be):
    """A workflow saved before there were any is the one with all of their defaults."""
    graph = Everything()
    workflow = copy.deepcopy(graph.nodes)
    for node in workflow.values():
        if node["class_type"] in NODES:
            for name, (_, settings, required) in inputs_of(object_info, node["class_type"]).items():
                if not required and "default" in settings:
                    node["inputs"].setdefault(name, settings["default"])
    assert workflow != graph.nodes
    latents, pictures = everything(server, graph, workflow)
    assert equal(latents, as_it_should_be[0])
    assert pictures == as_it_should_be[1]


def complaint(server: Server, node_type: str, name: str, value) -> NodeError:
    """What is said of a workflow whose node has `value` as an input, or hasn't the input where it is ...: one thing,
    on that node. ComfyUI refuses it at once or, what it doesn't look at itself, the node does in its turn."""
    graph = Everything()
    inputs = graph.nodes[graph.of(node_type)]["inputs"]
    inputs[name] = value
    if value is ...:
        del inputs[name]
    with pytest.raises(WorkflowError) as failure:
        server.run(graph.nodes)
    (error,) = failure.value.errors
    assert error.node_type == node_type, (name, value, error)
    assert name in (error.input, error.message.split(":")[0].split(" ")[0]), (name, value, error)
    return error


@pytest.mark.parametrize("node_type", [node for node in NODES if node != "P2PDemoModel"])
def test_a_missing_or_wrongly_typed_input_is_named(server, object_info, node_type):
    for name, (kind, settings, required) in inputs_of(object_info, node_type).items():
        if required:
            assert "missing" in complaint(server, node_type, name, ...).message
        if kind in ("INT", "FLOAT"):
            assert "many" in complaint(server, node_type, name, "many").message
            for bound, beyond in (("min", -1), ("max", 1)):
                assert bound in complaint(server, node_type, name, settings[bound] + beyond).message
        if kind == "FLOAT":
            assert "nan" in complaint(server, node_type, name, math.nan).message
        if kind == "COMBO":
            error = complaint(server, node_type, name, "nonsense")
            assert "nonsense" in error.message
            assert settings["options"][0] in error.message or len(settings["options"]) > 20
        if kind not in WIDGETS:
            for written in ("6", 6, True):
                error = complaint(server, node_type, name, written)
                assert repr(written) in error.message
                assert '["6", 0]' in error.message
            other = ["4" if kind != "CONDITIONING" else "1", 0]
            assert "mismatch" in complaint(server, node_type, name, other).message
            if required:
                assert "empty" in complaint(server, node_type, name, None).message


def test_after_all_that_an_ordinary_run_is_the_same(server, unharmed):
    for name, value in (("trajectory", "nonsense"), ("edit", "6"), ("cfg", math.nan)):
        complaint(server, "P2PSampler", name, value)
    assert equal(made(server, Plain()), unharmed["plain"])
    assert equal(made(server, Edited()), unharmed["short"])
