"""Other people's packs that an edit can't get along with, as they are: each is refused on the node, and named.

As in test_other_packs.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, Sampling, sample

from support.graphs import EDIT, SOURCE, fails
from support.inside_comfyui import load_pack
from support.other_packs import GIVEN, PRESENT, Canvas, of, patch, server_beside_packs, tiles
from support.small_models import NEGATIVE, edit_of, small_controlnet, small_model

STEPS = 8

pytestmark = pytest.mark.skipif(not PRESENT, reason="other packs aren't here: `make packs` fetches them and runs this")


@pytest.fixture(scope="module")
def server():
    with server_beside_packs() as running:
        yield running


def couple(graph: Canvas) -> list:
    regions = {"base_mask": graph.mask(128), "cond_1": graph.text("a fox"), "mask_1": graph.mask(64)}
    return graph.patch("AttentionCouplePPM", base_cond=graph.text(SOURCE), **regions)


def negpip(graph: Canvas) -> list:
    both = graph.place("CLIPNegPip", model=graph.model, clip=graph.clip)
    graph.clip = both[1]
    return both[0]


REFUSED = [
    *of("ComfyUI-ppm", couple=(couple, "regional-prompt"), negpip=(negpip, "NegPip")),
    *of("ComfyUI-AnimateDiff-Evolved", no_context=(patch("ADE_UseEvolvedSampling"), "AnimateDiff")),
    *of("ComfyUI-TiledDiffusion", tiles=(tiles(), "tile_batch_size")),
    *of("comfyui_jankhidiffusion", windows=(patch("ApplyMSWMSAAttention", input_blocks="3"), "MSW-MSA")),
    *of(
        "ComfyUI-AutomaticCFG",
        preset=(patch("Automatic CFG - Preset Loader", preset="Excellent_attention"), "Automatic CFG"),
    ),
]


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_t_work_together_says_so(server, case):
    on_model, mentioned = case
    graph = Canvas(server)
    model = on_model(graph)
    graph.keep(graph.p2p(graph.align()[0], model, steps=STEPS)[1])
    fails(server, graph, "P2PSampler", mentioned)


@pytest.mark.parametrize("case", of("ComfyUI-AnimateDiff-Evolved", context="ADE_StandardStaticContextOptions"))
def test_a_film_s_context_windows_say_so(server, case):
    graph = Canvas(server, batch=10)
    model = graph.patch("ADE_UseEvolvedSampling", context_options=graph.place(case)[0])
    graph.keep(graph.p2p(graph.align()[0], model, steps=2)[1])
    fails(server, graph, "P2PSampler", "AnimateDiff")


@pytest.mark.parametrize("through", ["by its steps", "by itself"])
@pytest.mark.parametrize("case", of("ComfyUI-Advanced-ControlNet", latent_keyframes="latent keyframes"))
def test_strengths_by_a_picture_s_number_say_so(case, through):
    pack = load_pack(Path(GIVEN) / "ComfyUI-Advanced-ControlNet", "advanced_controlnet").NODE_CLASS_MAPPINGS
    (of_second,) = pack["LatentKeyframe"]().load_keyframe(1, 0.5)
    (keyframes,) = pack["TimestepKeyframe"]().load_keyframe(0.0, latent_keyframe=of_second)
    control = small_controlnet()
    edit, image = edit_of(), torch.rand(2, 64, 64, 3)

    def applied(conditioning):
        how = (control, image, 1.0, 0.0, 1.0)
        given = {"timestep_kf": keyframes} if through == "by its steps" else {"latent_kf_override": of_second}
        return pack["ACN_AdvancedControlNetApply_v2"]().apply_controlnet(conditioning, None, *how, **given)[0]

    source, edited = map(applied, (edit.source.encoding, edit.variants[0].prompt.encoding))
    with pytest.raises(EditError, match=case):
        EditGuider(small_model("sd1"), edit, NEGATIVE, 5.0, source=source, edited=edited)


@pytest.mark.parametrize("case", of("comfyui-prompt-control", couple=" COUPLE MASK(0 0.5) a fox"))
def test_an_attention_couple_within_the_prompts_says_so(server, case):
    graph = Canvas(server)
    source, edited = (graph.add("PCLazyTextEncode", clip=graph.clip, text=text + case)[0] for text in (SOURCE, EDIT))
    graph.keep(graph.p2p(graph.align()[0], source=source, edited=edited, steps=STEPS)[1])
    fails(server, graph, "P2PSampler", "attention couple")


@pytest.mark.parametrize("case", of("attention-couple-ComfyUI", own_prompts="Attention couple"))
def test_a_pack_that_puts_its_own_prompts_in_place_of_the_edit_s_says_so(case):
    """It knows SD 1's blocks by number, so this is a model with all of them."""
    node = load_pack(Path(GIVEN) / "attention-couple-ComfyUI", "attention_couple").NODE_CLASS_MAPPINGS[case]()
    edit = edit_of()
    regions = [[edit.source.encoding[0][0], {"mask": torch.ones(1, 128, 128), "mask_strength": 1.0}] for _ in range(2)]
    model, _, _ = node.attention_couple(small_model("sd1_blocks"), regions, NEGATIVE, "Attention")
    latents = {"samples": torch.zeros(1, 4, 16, 16)}
    with pytest.raises(EditError, match="prompts of its own"):
        sample(EditGuider(model, edit, NEGATIVE, 5.0), latents, Sampling(3, 2, "euler", "karras"))
