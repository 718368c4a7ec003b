"""Bad input gets a clear error that says what to do, on the node that caused it."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from support.graphs import DemoGraph, fails


def sampled(graph: DemoGraph, edit: list, **how) -> DemoGraph:
    graph.keep(graph.p2p(edit, **how)[1])
    return graph


def test_a_word_that_is_not_in_the_prompt(server):
    graph = DemoGraph()
    edit = graph.reweight(graph.align()[0], "wolf")
    fails(server, sampled(graph, edit), "AttentionReweight", "words", "wolf", "dog", "sitting")


def test_an_occurrence_that_is_not_in_the_prompt(server):
    graph = DemoGraph()
    edit = graph.reweight(graph.align()[0], "dog#2")
    fails(server, sampled(graph, edit), "AttentionReweight", "dog#2")


def test_a_word_window_of_a_word_that_is_not_in_the_prompt(server):
    graph = DemoGraph()
    edit = graph.schedule(graph.align()[0], word_windows="dog: 0.0-0.3\nwolf: 0.0-0.3")
    fails(server, sampled(graph, edit), "AttentionInjectSchedule", "word_windows", "wolf", "dog")


@pytest.mark.parametrize("line", ["dog", "dog: soon", "dog: 0.5", "dog: 0.8-0.2"])
def test_a_word_window_that_is_none(server, line):
    graph = DemoGraph()
    edit = graph.schedule(graph.align()[0], word_windows=line)
    fails(server, sampled(graph, edit), "AttentionInjectSchedule", "word_windows", line)


def test_replace_with_different_word_counts(server):
    graph = DemoGraph()
    edit = graph.align(edit="a big dog sitting on a car", mode="replace")
    fails(server, sampled(graph, edit[0]), "PromptPairAlign", "replace", "6", "7", "auto")


@pytest.mark.parametrize("window", ["cross", "self"])
def test_a_window_with_start_after_end(server, window):
    graph = DemoGraph()
    backwards = {"cross": (0.0, 0.8), "self_": (0.0, 0.4), "cross" if window == "cross" else "self_": (0.8, 0.2)}
    edit = graph.schedule(graph.align()[0], **backwards)
    fails(server, sampled(graph, edit), "AttentionInjectSchedule", f"{window}_start", f"{window}_end", "0.8", "0.2")


def test_a_reweight_window_with_start_after_end(server):
    graph = DemoGraph()
    edit = graph.reweight(graph.align()[0], "dog", start=0.8, end=0.2)
    fails(server, sampled(graph, edit), "AttentionReweight", "start", "end", "0.8", "0.2")


def test_blocks_that_are_none(server):
    graph = DemoGraph()
    edit = graph.schedule(graph.align()[0], blocks="input, sideways")
    fails(server, sampled(graph, edit), "AttentionInjectSchedule", "blocks", "sideways", "input, middle, output")


def test_blocks_that_the_model_lacks(server):
    graph = DemoGraph()
    edit = graph.schedule(graph.align()[0], blocks="output:90")
    said = "blocks is an input of AttentionInjectSchedule"
    fails(server, sampled(graph, edit), "P2PSampler", "blocks", "output:90", "output:5", said)


def test_words_whose_maps_are_only_of_an_area(server):
    """No map of the whole picture: what the engine says of it, and where the words were given."""
    graph = DemoGraph()
    aligned = graph.align()
    edit = graph.add(
        "AttentionLocalBlend", edit=aligned[0], source_words="cat", edit_words="dog", threshold=0.3, start=0.0
    )
    area = {"width": 64, "height": 128, "x": 64, "y": 0, "strength": 1.0}
    source, edited = (graph.add("ConditioningSetArea", conditioning=aligned[i], **area)[0] for i in (1, 2))
    said = "source_words and edit_words are inputs of AttentionLocalBlend"
    fails(server, sampled(graph, edit[0], source=source, edited=edited), "P2PSampler", "Connect a mask", said)


def test_an_override_with_the_wrong_number_of_rows(server):
    graph = DemoGraph()
    first = graph.align()
    both = graph.align(edit="a fox sitting on a car", more=first[0])
    fails(server, sampled(graph, both[0], edited=first[2]), "P2PSampler", "edited", "2", "1")


def test_an_override_of_another_length_than_the_edit_was_aligned_for(server):
    """What an edit made with another text encoder looks like from the sampler."""
    graph = DemoGraph()
    edit = graph.align()
    longer = graph.add("ConditioningConcat", conditioning_to=edit[1], conditioning_from=graph.text("at night"))
    fails(server, sampled(graph, edit[0], source=longer[0]), "P2PSampler", "source", "154", "77")


def test_edits_of_different_sources_do_not_stack(server):
    graph = DemoGraph()
    first = graph.align()
    other = graph.align(source="a bird sitting on a car", edit="a fox sitting on a car", more=first[0])
    fails(server, sampled(graph, other[0]), "PromptPairAlign", "source_prompt", "a cat sitting on a car")


def test_a_text_encoder_of_another_model(server):
    """The demo's, on a Stable Diffusion 3 of one block, 64 wide."""
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper

    embedder = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 64}}
    model = OpenAISignatureMMDITWrapper(
        input_size=None,
        pos_embed_max_size=16,
        adm_in_channels=2048,
        context_embedder_config=embedder,
        in_channels=16,
        depth=1,
        dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )
    folder = server.base / "models" / "diffusion_models"
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k: torch.zeros_like(v) for k, v in model.state_dict().items()}
    save_file(weights, folder / "tiny_sd3.safetensors")

    graph = DemoGraph()
    loaded = graph.add("UNETLoader", unet_name="tiny_sd3.safetensors", weight_dtype="default")
    fails(server, sampled(graph, graph.align()[0], model=loaded[0]), "P2PSampler", "128", "4096", "CLIP")


# -- what nodes that fill every free input bring -----------------------------------------------------


def decoded(graph, sampled, output: int) -> list:
    return graph.add("VAEDecode", samples=sampled[output], vae=graph.vae)[0]


@pytest.mark.parametrize(
    ("other", "said"), [({"width": 64}, "64 x 128 pixels"), ({"batch_size": 3}, "3 pictures")], ids=str
)
def test_pictures_of_another_run_are_named(server, other, said):
    graph = DemoGraph()
    pictures = graph.add("EmptyImage", **{"width": 128, "height": 128, "batch_size": 1, "color": 255, **other})[0]
    maps = graph.p2p(graph.align()[0], steps=1)[2]
    heat = graph.add("P2PAttentionMaps", maps=maps, words="", prompt="source", image=pictures)
    graph.add("PreviewImage", images=heat[0])
    fails(server, graph, "P2PAttentionMaps", "image", said, "disconnect")


def test_maps_and_an_edit_of_other_prompts_are_named(server):
    graph = DemoGraph()
    sampled = graph.p2p(graph.align()[0], steps=1)
    pictures = {name: decoded(graph, sampled, output) for output, name in enumerate(("source", "edited"))}
    graph.add("P2PCompare", maps=sampled[2], edit=graph.align(edit="a fox sitting on a car")[0], **pictures)
    fails(server, graph, "P2PCompare", "maps and edit", "different prompts")


def test_an_edit_of_another_source_is_named(server):
    graph = DemoGraph()
    other = graph.align(source="an owl on a bus", edit="a fox on a bus")[0]
    graph.keep(graph.p2p(graph.align(more=other)[0], steps=1)[1])
    fails(server, graph, "PromptPairAlign", "edit", "another source_prompt", "disconnect edit")


def test_a_mask_without_anything_in_it_is_named(server):
    graph = DemoGraph()
    mask = graph.add("SolidMask", value=0.0, width=64, height=64)[0]
    words = {"source_words": "cat", "edit_words": "dog", "threshold": 0.3, "start": 0.2}
    blend = graph.add("AttentionLocalBlend", edit=graph.align()[0], mask=mask, **words)[0]
    graph.keep(graph.p2p(blend, steps=1)[1])
    fails(server, graph, "AttentionLocalBlend", "mask", "0 everywhere", "disconnect")
