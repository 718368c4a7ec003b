"""Other people's packs, as they are, in one graph with an edit: what composes does all of its part, the rest says so.

They are real packs at the commits of other_packs.py, all of them in one ComfyUI, which is how people have them.
`make packs` fetches them and runs this file and its neighbours; with P2P_OTHER_PACKS=/a/folder with those in it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support.graphs import EDIT, SOURCE, latent
from support.other_packs import PRESENT, Canvas, of, patch, server_beside_packs, tiles

STEPS = 8

pytestmark = pytest.mark.skipif(not PRESENT, reason="other packs aren't here: `make packs` fetches them and runs this")


@pytest.fixture(scope="module")
def server():
    with server_beside_packs() as running:
        write_ip_adapter(running.base)
        yield running


# -- on the model -----------------------------------------------------------------------------------

IP_TOKENS, IP_WIDTH, EMBEDDING = 4, 32, 48
# The pack knows SD 1's blocks by number; these are the ones of them that the demo model has, and their widths.
IP_LAYERS = [("input", i) for i in (1, 2, 4, 5, 7, 8)] + [("output", i) for i in range(3, 12)] + [("middle", 0)]
WIDTHS = {("input", 1): 64, ("input", 5): 192, ("output", 3): 128, ("output", 4): 64, ("output", 5): 64}


def write_ip_adapter(base: Path) -> None:
    """An IPAdapter for the demo model, and pictures as its image encoder would give them, all made up."""
    draw = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return 0.2 * torch.randn(shape, generator=draw)

    tensors = {
        "image_proj.proj.weight": random(IP_TOKENS * IP_WIDTH, EMBEDDING),
        "image_proj.proj.bias": torch.zeros(IP_TOKENS * IP_WIDTH),
        "image_proj.norm.weight": torch.ones(IP_WIDTH),
        "image_proj.norm.bias": torch.zeros(IP_WIDTH),
    }
    for number, block in enumerate(IP_LAYERS):
        for kind in ("k", "v"):
            tensors[f"ip_adapter.{2 * number + 1}.to_{kind}_ip.weight"] = random(WIDTHS.get(block, 192), IP_WIDTH)
    (base / "models" / "ipadapter").mkdir(parents=True)
    save_file(tensors, base / "models" / "ipadapter" / "made_up.safetensors")
    torch.save(5 * random(1, EMBEDDING), base / "input" / "picture.ipadpt")
    torch.save(5 * random(2, EMBEDDING), base / "input" / "two.ipadpt")
    torch.save(torch.zeros(1, EMBEDDING), base / "input" / "nothing.ipadpt")


def ip_adapter(
    graph: Canvas, model: list | None = None, picture="picture", node: str = "IPAdapterEmbeds", **given
) -> list:
    embeds = {
        name: graph.add("IPAdapterLoadEmbeds", embeds=f"{file}.ipadpt")[0]
        for name, file in (("pos_embed", picture), ("neg_embed", "nothing"))
    }
    adapter = graph.add("IPAdapterModelLoader", ipadapter_file="made_up.safetensors")[0]
    return graph.patch(node, model, ipadapter=adapter, **embeds, **given)


def several_masks(graph: Canvas) -> list:
    one, other = (graph.add("MaskToImage", mask=graph.mask(width))[0] for width in (64, 128))
    both = graph.add("ImageBatch", image1=one, image2=other)[0]
    return graph.add("ImageToMask", image=both, channel="red")[0]


def nag(graph: Canvas, model: list | None = None) -> list:
    return graph.patch("NormalizedAttentionGuidance", model, negative=graph.text("a red car"))


def together(graph: Canvas) -> list:
    """What people stack: a picture as a prompt, two kinds of guidance, a shortcut."""
    guided = graph.patch("PerturbedAttention", nag(graph, ip_adapter(graph)))
    return graph.patch("ApplyFBCacheOnModel", guided, residual_diff_threshold=0.1)


COMPOSE = [
    *of(
        "ComfyUI_IPAdapter_plus",
        plain=ip_adapter,
        mask=lambda graph: ip_adapter(graph, attn_mask=graph.mask(64)),
        style=lambda graph: ip_adapter(graph, weight_type="style transfer"),
        until_half=lambda graph: ip_adapter(graph, end_at=0.5),
        with_others=together,
    ),
    *of(
        "sd-perturbed-attention",
        PAG=patch("PerturbedAttention"),
        PAG_of_blocks=patch("PerturbedAttention", unet_block_list="d0,u1.0"),
        SEG=patch("SmoothedEnergyGuidanceAdvanced"),
        SWG=patch("SlidingWindowGuidanceAdvanced", tile_width=96, tile_height=96, tile_overlap=32, sigma_end=0.5),
        NAG=nag,
        PLADIS=patch("PLADIS"),
        TPG=patch("TokenPerturbationGuidance", unet_block_list="d2,u0"),
    ),
    *of(
        "ComfyUI-TiledDiffusion",
        mixture=tiles(tile_batch_size=1),
        multi=tiles(tile_batch_size=1, method="MultiDiffusion"),
        spot=tiles(tile_batch_size=1, method="SpotDiffusion"),
    ),
    *of("ComfyUI-deepcache", plain=patch("DeepCache", cache_interval=3, cache_depth=2)),
    *of("ComfyUI-AutomaticCFG", plain=patch("Automatic CFG")),
    *of("ComfyUI-bleh", deep_shrink=patch("BlehDeepShrink"), HyperTile=patch("BlehHyperTile", tile_size=32)),
    *of("comfyui_jankhidiffusion", windows=patch("ApplyMSWMSAAttention", input_blocks="1", output_blocks="4,5")),
]


@pytest.mark.parametrize("case", COMPOSE)
def test_a_pack_on_the_model_does_its_part_and_the_edit_too(server, case):
    graph = Canvas(server)
    model = case(graph)
    source, _, edited = check(server, graph, model)
    graph = Canvas(server)
    without = graph.keep(graph.ksampler(graph.text(SOURCE), steps=STEPS)[0])
    assert apart(source, latent(server, server.run(graph.nodes), without)) > 1e-2, "the pack did nothing"
    assert apart(edited, source) > 1e-2


@pytest.mark.parametrize("case", of("Comfy-WaveSpeed", first_block_cache="ApplyFBCacheOnModel"))
def test_a_cache_skips_steps_for_source_and_edits_together(server, case):
    """By how far all rows have moved: so which ones are skipped, and with it the source, may be others than alone."""
    graph = Canvas(server)
    cached = graph.patch(case, residual_diff_threshold=0.2)
    sampled = [graph.p2p(graph.align()[0], model, steps=STEPS) for model in (cached, graph.model)]
    kept = [graph.keep(node[output]) for node in sampled for output in (0, 1)]
    result = server.run(graph.nodes)
    source, edited, plain_source, plain_edit = (latent(server, result, node) for node in kept)
    assert apart(source, plain_source) > 1e-3 and apart(edited, plain_edit) > 1e-3, "the pack did nothing"
    assert apart(edited, source) > 1e-2


OF_EACH_PICTURE = of(
    "ComfyUI_IPAdapter_plus",
    references=lambda graph: ip_adapter(graph, picture="two", node="IPAdapterEmbedsBatch"),
    masks=lambda graph: ip_adapter(graph, attn_mask=several_masks(graph)),
)


@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("case", OF_EACH_PICTURE)
def test_a_pack_s_own_for_each_picture_is_that_picture_s_in_source_and_edit(server, case, batch):
    graph = Canvas(server, batch)
    check(server, graph, case(graph))


def check(server, graph: Canvas, model: list, prompts=None, **how) -> tuple[torch.Tensor, ...]:
    """The rows of an edit are KSampler's, but for what is edited. Returns source, edit without injection, edit."""
    how = {"steps": STEPS, **how}
    edit = graph.align()
    given = dict(zip(("source", "edited"), prompts or ()))
    nothing = graph.schedule(edit[0], cross=(0.0, 0.0), self_=(0.0, 0.0))
    with_edit, without = graph.p2p(edit[0], model, **given, **how), graph.p2p(nothing, model, **given, **how)
    plain = [graph.ksampler(prompt, model, **how) for prompt in prompts or (edit[1], edit[2])]
    kept = [graph.keep(out) for out in (with_edit[0], with_edit[1], without[1], plain[0][0], plain[1][0])]
    result = server.run(graph.nodes)
    source, edited, unedited, plain_source, plain_edit = (latent(server, result, node) for node in kept)
    assert apart(source, plain_source) < 1e-2
    assert apart(unedited, plain_edit) < 1e-2
    assert apart(edited, unedited) > 5e-2, "nothing was edited"
    return source, unedited, edited


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Rounding makes about 1e-5 of it, and up to 5e-3 behind nodes that decide by it."""
    assert torch.isfinite(a).all()
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("case", of("sd-perturbed-attention", TPG=patch("TokenPerturbationGuidance")))
def test_wrappers_that_another_run_left_in_the_model_are_seen_through(server, case):
    """Token perturbation wraps the model's transformers, and the host leaves them so until the next is loaded."""
    graph = Canvas(server)
    wrapped = graph.patch("TokenPerturbationGuidance", unet_block_list="d2,u0")
    graph.keep(graph.ksampler(graph.text(SOURCE), wrapped, steps=2)[0])
    server.run(graph.nodes)
    graph = Canvas(server)
    check(server, graph, graph.model)


# -- in the conditioning ----------------------------------------------------------------------------


def cutoff(graph: Canvas, text: str) -> list:
    regions = graph.add("BNK_CutoffBasePrompt", clip=graph.clip, text=text)[0]
    regions = graph.place("BNK_CutoffSetRegions", clip_regions=regions, region_text="a car", target_text="car")[0]
    return graph.place("BNK_CutoffRegionsToConditioning", clip_regions=regions, mask_token="")[0]


def advanced_encode(graph: Canvas, text: str) -> list:
    ways = {"token_normalization": "length+mean", "weight_interpretation": "A1111"}
    return graph.add("BNK_CLIPTextEncodeAdvanced", clip=graph.clip, text=text.replace("car", "(car:1.4)"), **ways)[0]


def prompt_control(graph: Canvas, text: str) -> list:
    return graph.add("PCTextEncode", clip=graph.clip, text=text)[0]


def scheduled(graph: Canvas, text: str) -> list:
    return graph.add("PCLazyTextEncode", clip=graph.clip, text=f"[{text}:{text}, a red car:0.5]")[0]


CONDITIONINGS = [
    *of("ComfyUI_Cutoff", regions=cutoff),
    *of("ComfyUI_ADV_CLIP_emb", weights=advanced_encode),
    *of("comfyui-prompt-control", plain=prompt_control, scheduled=scheduled),
]


@pytest.mark.parametrize("case", CONDITIONINGS)
def test_a_pack_s_conditioning_is_edited(server, case):
    graph = Canvas(server)
    check(server, graph, graph.model, (case(graph, SOURCE), case(graph, EDIT)))


# -- samplers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", of("RES4LYF", **{n: n for n in ("res_2m", "res_2s", "res_3m_ode", "deis_2m")}))
def test_samplers_that_a_pack_adds(server, case):
    graph = Canvas(server)
    check(server, graph, graph.model, sampler_name=case)


@pytest.mark.parametrize("case", of("ComfyUI-ppm", euler=""))
def test_every_sampler_and_scheduler_that_packs_add_is_offered(server, case):
    ours, theirs = (server.known[node]["input"]["required"] for node in ("P2PSampler", "KSampler"))
    for name in ("sampler_name", "scheduler"):
        assert ours[name][1]["options"] == theirs[name][0]


@pytest.mark.parametrize("case", of("RES4LYF", ClownSampler="ClownSampler_Beta"))
def test_a_pack_s_sampler_with_our_guider(server, case):
    graph = Canvas(server)
    edit = graph.align()

    def sampled(guider: list) -> list:
        noise = graph.add("RandomNoise", noise_seed=1)[0]
        sigmas = graph.add("BasicScheduler", model=graph.model, scheduler="normal", steps=STEPS, denoise=1.0)[0]
        sampler = graph.place(case, seed=3, eta=0.5)[0]
        links = {"noise": noise, "sigmas": sigmas, "sampler": sampler, "guider": guider, "latent_image": graph.latent}
        return graph.keep(graph.add("SamplerCustomAdvanced", **links)[0])

    guided = {"model": graph.model, "negative": graph.negative, "cfg": 4.0}
    ours = sampled(graph.add("P2PGuider", edit=edit[0], **guided)[0])
    theirs = sampled(graph.add("CFGGuider", positive=edit[1], **guided)[0])
    result = server.run(graph.nodes)
    both, source = latent(server, result, ours), latent(server, result, theirs)
    assert apart(both[:1], source) < 1e-2
    assert apart(both[1:], source) > 1e-2
