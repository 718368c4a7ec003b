"""What the pack promises, kept in a real ComfyUI server."""

from __future__ import annotations

import json

import pytest
import torch
from bootstrap import CHECKOUT

from support.comfy_client import Interrupted, WorkflowError
from support.graphs import EDIT, SOURCE, DemoGraph, latent
from support.jobs import Job
from tools.load import Listener

# node -> required inputs, optional inputs, outputs. Workflows saved today must load for ever:
# nothing here is renamed, moved or dropped; new inputs are optional and come last.
CONTRACT = {
    "PromptPairAlign": (["clip", "source_prompt", "edit_prompt", "mode"], ["edit"], ["edit", "source", "edited"]),
    "AttentionReweight": (["edit", "words", "scale", "start", "end"], [], ["edit"]),
    "AttentionInjectSchedule": (
        ["edit", "cross_start", "cross_end", "self_start", "self_end"],
        [
            "cross_strength",
            "self_strength",
            "ramp",
            "self_layers",
            "self_mode",
            "blocks",
            "word_windows",
        ],
        ["edit"],
    ),
    "P2PSampler": (
        [
            "model",
            "edit",
            "negative",
            "latent_image",
            "seed",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "denoise",
        ],
        ["trajectory", "source", "edited"],
        ["source", "edited", "maps", "blend_mask"],
    ),
    "P2PDemoModel": ([], ["architecture"], ["model", "clip", "vae"]),
}

DEFAULTS = {
    "PromptPairAlign": {"mode": "auto"},
    "AttentionReweight": {"scale": 2.0, "start": 0.0, "end": 1.0},
    "AttentionInjectSchedule": {
        "cross_start": 0.0,
        "cross_end": 0.8,
        "self_start": 0.0,
        "self_end": 0.4,
        "cross_strength": 1.0,
        "self_strength": 1.0,
        "ramp": "constant",
        "self_layers": "half",
        "self_mode": "auto",
        "blocks": "",
        "word_windows": "",
    },
    "P2PSampler": {"steps": 30, "cfg": 7.5, "denoise": 1.0, "trajectory": "dual"},
    "P2PDemoModel": {"architecture": "unet"},
}

CHOICES = {
    ("PromptPairAlign", "mode"): ["auto", "replace", "refine", "sequence"],
    ("AttentionInjectSchedule", "ramp"): ["constant", "linear", "cosine"],
    ("AttentionInjectSchedule", "self_layers"): ["all", "half", "quarter"],
    ("AttentionInjectSchedule", "self_mode"): ["map", "key_value", "output", "layout", "auto"],
    ("P2PSampler", "trajectory"): ["dual", "shared"],
    ("P2PDemoModel", "architecture"): ["unet", "transformer"],
}


@pytest.fixture(scope="module")
def object_info(server):
    return server.object_info()


def spec(object_info, node: str, name: str) -> list:
    inputs = object_info[node]["input"]
    return {**inputs["required"], **inputs.get("optional", {})}[name]


@pytest.mark.parametrize("node", CONTRACT)
def test_the_contract_s_inputs_and_outputs_in_order(object_info, node):
    required, optional, outputs = CONTRACT[node]
    listed = object_info[node]
    assert listed["category"] == "prompt-to-prompt"
    assert listed["input_order"].get("required", []) == required
    assert listed["input_order"].get("optional", [])[: len(optional)] == optional
    assert listed["output_name"] == outputs


@pytest.mark.parametrize("node", CONTRACT)
def test_every_input_and_output_has_a_tooltip(object_info, node):
    inputs = {**object_info[node]["input"].get("required", {}), **object_info[node]["input"].get("optional", {})}
    assert [name for name, given in inputs.items() if not given[1].get("tooltip")] == []
    assert all(object_info[node]["output_tooltips"])


@pytest.mark.parametrize("node", DEFAULTS)
def test_defaults(object_info, node):
    wanted = DEFAULTS[node]
    assert {name: spec(object_info, node, name)[1].get("default") for name in wanted} == wanted


@pytest.mark.parametrize(("node", "name"), CHOICES)
def test_choices(object_info, node, name):
    kind, settings = spec(object_info, node, name)
    assert (settings["options"] if kind == "COMBO" else kind) == CHOICES[node, name]


def test_scale_range(object_info):
    settings = spec(object_info, "AttentionReweight", "scale")[1]
    assert (settings["min"], settings["max"]) == (-20, 20)


# -- the example ------------------------------------------------------------------------------------


def test_the_example_workflow_runs(server):
    workflow = json.loads((CHECKOUT / "example_workflows" / "api" / "word_swap.json").read_text())
    seen = []
    result = server.run(workflow, progress=lambda node, value, maximum: seen.append((node, value, maximum)))
    titles = {workflow[node]["_meta"]["title"]: pictures for node, pictures in result.images.items()}
    assert set(titles) == {"source", "edit, with prompt-to-prompt", "edit, without"}
    assert all([picture.size for picture in pictures] == [(128, 128)] for pictures in titles.values())
    (sampler,) = (node for node, given in workflow.items() if given["class_type"] == "P2PSampler")
    assert [(value, maximum) for node, value, maximum in seen if node == sampler][-1] == (30, 30)
    assert result.previews


def test_the_edit_stays_closer_to_the_source_than_the_prompt_alone(server):
    graph = DemoGraph(batch=6)
    edit = graph.align()
    sampled = graph.p2p(edit[0], steps=30)
    kept = [graph.keep(out) for out in (sampled[0], sampled[1], graph.ksampler(edit[2], steps=30)[0])]
    result = server.run(graph.nodes)
    source, edited, alone = (latent(server, result, node) for node in kept)
    # The car, in the lower half: above, the swapped animal is most of the distance, as it should be.
    edited, alone = ((picture - source)[:, :, 8:].flatten(1).norm(dim=1) for picture in (edited, alone))
    assert (edited > 0).all() and (edited < alone).all() and edited.sum() < 0.8 * alone.sum()


# -- identities -------------------------------------------------------------------------------------


def test_with_empty_windows_both_rows_are_ksampler_s(server):
    graph = DemoGraph()
    edit = graph.schedule(graph.align()[0], cross=(0.0, 0.0), self_=(0.0, 0.0))
    sampled = graph.p2p(edit)
    kept = [graph.keep(sampled[0]), graph.keep(sampled[1])]
    plain = [graph.keep(graph.ksampler(graph.text(prompt))[0]) for prompt in (SOURCE, EDIT)]
    result = server.run(graph.nodes)
    for ours, theirs in zip(kept, plain, strict=True):
        torch.testing.assert_close(latent(server, result, ours), latent(server, result, theirs), rtol=1e-4, atol=1e-4)


def test_the_source_row_is_ksampler_s_also_while_editing(server):
    graph = DemoGraph()
    ours = graph.keep(graph.p2p(graph.align()[0])[0])
    theirs = graph.keep(graph.ksampler(graph.text(SOURCE))[0])
    result = server.run(graph.nodes)
    torch.testing.assert_close(latent(server, result, ours), latent(server, result, theirs), rtol=1e-4, atol=1e-4)


def test_the_source_row_is_that_of_a_ksampler_with_as_many_rows_to_the_bit(server):
    """What differs from a picture that KSampler draws alone is how a model rounds for another number of rows."""
    graph = DemoGraph()
    ours = graph.keep(graph.p2p(graph.align()[0])[0])
    source = latent(server, server.run(graph.nodes), ours)
    graph = DemoGraph(batch=2)
    theirs = graph.keep(graph.ksampler(graph.text(SOURCE))[0])
    assert torch.equal(source, latent(server, server.run(graph.nodes), theirs)[:1])


def test_identical_prompts_under_full_injection_give_equal_rows(server):
    graph = DemoGraph()
    edit = graph.schedule(graph.align(edit=SOURCE)[0], cross=(0.0, 1.0), self_=(0.0, 1.0), self_layers="all")
    sampled = graph.p2p(edit)
    kept = [graph.keep(sampled[0]), graph.keep(sampled[1])]
    result = server.run(graph.nodes)
    source, edited = (latent(server, result, node) for node in kept)
    torch.testing.assert_close(edited, source, rtol=1e-4, atol=1e-4)


def test_a_row_of_the_batch_and_of_each_edit(server):
    graph = DemoGraph(batch=2)
    first = graph.align()
    both = graph.align(edit="a fox sitting on a car", more=first[0])
    sampled = graph.p2p(both[0])
    kept = [graph.keep(sampled[0]), graph.keep(sampled[1])]
    result = server.run(graph.nodes)
    assert [latent(server, result, node).shape[0] for node in kept] == [2, 4]


# -- nothing outlives a run -------------------------------------------------------------------------


def plain_run(server) -> tuple[torch.Tensor, bool]:
    """A KSampler run on the demo model, and whether it was really sampled, not taken from ComfyUI's cache."""
    graph = DemoGraph()
    sampler = graph.ksampler(graph.text(EDIT))
    kept = graph.keep(sampler[0])
    result = server.run(graph.nodes)
    return latent(server, result, kept), sampler not in result.cached


def p2p_run(server, **how) -> None:
    graph = DemoGraph()
    graph.keep(graph.p2p(graph.align()[0], **how)[1])
    server.run(graph.nodes)


def failing_run(server) -> None:
    """Fails in the middle of sampling: HyperTile cuts the queries of self-attention into tiles."""
    graph = DemoGraph()
    tiled = graph.add("HyperTile", model=graph.model, tile_size=1, swap_size=1, max_depth=1, scale_depth=False)
    graph.keep(graph.p2p(graph.align()[0], model=tiled[0])[1])
    with pytest.raises(WorkflowError) as failure:
        server.run(graph.nodes)
    assert [error.node_type for error in failure.value.errors] == ["P2PSampler"]


def interrupted_run(server) -> None:
    graph = DemoGraph()
    graph.keep(graph.p2p(graph.align()[0], seed=2, steps=200)[1])

    def stop_at_the_fifth_step(_node, value, _maximum):
        if value == 5:
            server.interrupt()

    with pytest.raises(Interrupted):
        server.run(graph.nodes, progress=stop_at_the_fifth_step)


@pytest.mark.parametrize("run", [p2p_run, failing_run, interrupted_run])
def test_ksampler_is_unchanged_to_the_bit_after(server, run):
    before, _ = plain_run(server)
    run(server)
    after, sampled = plain_run(server)
    assert sampled  # the run in between shares the model, and has pushed the sampler out of the cache
    assert torch.equal(after, before)


def test_a_p2p_run_is_unchanged_to_the_bit_after_others(server):
    def edited():
        graph = DemoGraph()
        kept = graph.keep(graph.p2p(graph.align()[0], seed=3)[1])
        return latent(server, server.run(graph.nodes), kept)

    before = edited()
    interrupted_run(server)
    plain_run(server)
    assert torch.equal(edited(), before)


def test_a_sampler_whose_edit_edits_nothing_says_why_below_its_widgets(server):
    graph = DemoGraph()
    edit = graph.schedule(graph.align()[0], cross_strength=0.0, self_strength=0.0)
    sampled = graph.p2p(edit, steps=2)
    listener = Listener(server)
    listener.queue(Job("nothing", graph, (graph.keep(sampled[1]),), sampled))
    listener.start()
    listener.join()
    (note,) = listener.told.notes
    assert note.startswith("Nothing was edited: cross_strength and self_strength are 0")
