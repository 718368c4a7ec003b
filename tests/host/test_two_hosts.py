"""One edit through ComfyUI and through diffusers: the same networks, noise and sigmas give the same latents.

The networks compute in float64 in both, but ComfyUI keeps latents and sigmas in float32, whose rounding is 1.2e-7
of a value, and guidance of 4 multiplies a rounding by 7 at every evaluation. So latents may differ by 5e-6
of the largest.
"""

from __future__ import annotations

import comfy.sample
import comfy.samplers
import comfy.utils
import diffusers
import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from prompt_to_prompt.p2p_core.demo.modules import BETAS
from prompt_to_prompt.p2p_core.demo.pipeline import load_pipeline
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts import comfy as comfy_host
from prompt_to_prompt.p2p_core.hosts import diffusers as diffusers_host
from prompt_to_prompt.p2p_core.hosts.diffusers.unet import attention_layers
from prompt_to_prompt.p2p_core.layers import parse_blocks
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows

from support import small_models

TOLERANCE = 5e-6
CFG = 4.0
SAMPLERS = {
    "euler": "EulerDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "dpmpp_2m": "DPMSolverMultistepScheduler",
}
STEPS = 4  # timesteps 999, 666, 333, 0: whole numbers, to which ComfyUI rounds

EDITS = {
    "swap": lambda edit: edit,
    "nothing": lambda edit: edit.schedule(InjectSchedule(cross_window=Window(0, 0), self_window=Window(0, 0))),
    "reweight": lambda edit: edit.reweight("dog", 3.0).reweight("car", -1.0, 0.25, 0.75),
    "everywhere": lambda edit: edit.schedule(InjectSchedule(self_layers="all", self_window=Window(0, 1))),
    "strength": lambda edit: edit.schedule(InjectSchedule(cross_strength=0.6, self_strength=0.5, ramp="cosine")),
    "key_value": lambda edit: edit.schedule(InjectSchedule(self_mode="key_value", self_layers="all")),
    "output": lambda edit: edit.schedule(InjectSchedule(self_mode="output", self_window=Window(0.2, 0.9))),
    "blocks": lambda edit: edit.schedule(InjectSchedule(blocks=parse_blocks("middle, output:1-3"))),
    "word_windows": lambda edit: edit.schedule(InjectSchedule(word_windows=parse_word_windows("dog: 0.0-0.3"))),
    "local_blend": lambda edit: edit.local_blend("cat", "dog", threshold=0.7, subtract_words="car", start=0.3),
    "mask": lambda edit: edit.local_blend(
        "", "", mask=torch.eye(2).repeat_interleave(4, 0).repeat_interleave(4, 1), start=0.0
    ),
    "picture": lambda edit: edit.real_picture(noise="fixed"),
    "picture, guided": lambda edit: edit.real_picture(0.7, source_cfg=2.0, noise="fixed", release=0.25),
    "picture, blend": lambda edit: EDITS["mask"](edit.real_picture(noise="fixed")),
}
PICTURE = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))  # such as the UNet predicts it


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def as_pipeline(name: str):
    """The pipeline of a model of small_models, in float64, its text encoders left out."""
    model = small_models.small_model(name, torch.float64)
    _, sizes = small_models.ARCHITECTURES[name]
    channels = [small_models.COMMON["model_channels"] * mult for mult in sizes["channel_mult"]]
    depths = sizes["transformer_depth"]
    config = {
        "sample_size": 8,
        "block_out_channels": channels,
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": [depth or 1 for depth in depths],
        "cross_attention_dim": sizes["context_dim"],
        "norm_num_groups": 32,
    }
    if name == "sdxl":
        config |= {
            "attention_head_dim": [width // sizes["num_head_channels"] for width in channels],
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": sizes["adm_in_channels"],
        }
    else:
        config["attention_head_dim"] = sizes["num_heads"]
    unet = UNet2DConditionModel(**config)
    theirs = model.model.diffusion_model.state_dict()
    names = comfy.utils.unet_to_diffusers(sizes | {"num_res_blocks": sizes["num_res_blocks"][:]})
    own = unet.state_dict()
    unet.load_state_dict({new: theirs[old] for new, old in names.items() if new in own})
    parts = {"vae": small_vae(), "unet": unet.double().eval(), "scheduler": scheduler("euler"), "tokenizer": None}
    if name == "sdxl":
        return StableDiffusionXLPipeline(
            **parts, text_encoder=None, text_encoder_2=None, tokenizer_2=None, add_watermarker=False
        )
    checker = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return StableDiffusionPipeline(**parts, text_encoder=None, **checker)


def small_vae() -> AutoencoderTiny:
    widths, counts = (8,) * 4, (1,) * 4
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=counts,
        num_decoder_blocks=counts,
    )


def scheduler(sampler: str):
    settings = {"num_train_timesteps": 1000, "timestep_spacing": "linspace", "steps_offset": 1}
    return getattr(diffusers, SAMPLERS[sampler])(**BETAS, **settings)


def embeddings(edit: Edit) -> dict[str, torch.Tensor]:
    """The prompts' and the negative's encodings as diffusers' pipelines take them."""
    rows = [prompt.encoding[0] for prompt in (edit.source, *(variant.prompt for variant in edit.variants))]
    negative = [small_models.NEGATIVE[0]] * len(rows)
    given = {}
    for name, entries in (("", rows), ("negative_", negative)):
        given[f"{name}prompt_embeds"] = torch.cat([entry[0] for entry in entries]).double()
        given[f"{name}pooled_prompt_embeds"] = torch.cat([entry[1]["pooled_output"] for entry in entries]).double()
    return given


def by_diffusers(pipe, edit, noise, sampler="euler", trajectory="dual", keep_maps=False):
    pipe.scheduler = scheduler(sampler)
    pipe.set_progress_bar_config(disable=True)
    given = embeddings(edit)
    if isinstance(pipe, StableDiffusionXLPipeline):
        given |= {"original_size": (64, 64), "target_size": (64, 64)}  # ComfyUI's: the picture's
    else:
        given = {name: value for name, value in given.items() if "pooled" not in name}
    # DPM-Solver++(2M) begins after 999, as diffusers spaces it; the others at 999.
    steps = {"timesteps": [999, 666, 333, 1]} if sampler == "dpmpp_2m" else {"num_inference_steps": STEPS}
    pipe.scheduler.set_timesteps(**({"num_inference_steps": STEPS} if "timesteps" not in steps else steps))
    # ComfyUI begins with noise of the size that x has in training at the highest sigma, diffusers a little below.
    largest = float(pipe.scheduler.sigmas[0])
    is_scaled = float(pipe.scheduler.init_noise_sigma) != 1
    picture = torch.zeros_like(noise) if edit.picture is None else PICTURE
    start = picture + noise * (1 + largest**2) ** 0.5
    start = start / (pipe.scheduler.init_noise_sigma if is_scaled else (1 + largest**2) ** 0.5)
    latents = start.double().repeat(1 + len(edit.variants), 1, 1, 1)
    given_picture = None if edit.picture is None else picture.double()
    with diffusers_host.prompt_to_prompt(pipe, edit, trajectory, keep_maps, picture=given_picture) as run:
        out = pipe(**given, **steps, guidance_scale=CFG, latents=latents, output_type="latent").images
    return out, run


def by_comfy(model, edit, noise, sigmas, sampler="euler", trajectory="dual", keep_maps=False):
    guider = comfy_host.EditGuider(model, edit, small_models.NEGATIVE, CFG, trajectory=trajectory, keep_maps=keep_maps)
    sampling = comfy.samplers.sampler_object(sampler)
    image = torch.zeros_like(noise) if edit.picture is None else model.model.process_latent_out(PICTURE)
    latents, run = guider.run(noise, image, sampling, sigmas.float(), disable_pbar=True)
    return model.model.process_latent_in(latents), run  # at the UNet's scale, as diffusers gives them


@pytest.fixture(scope="module")
def pipes():
    return {name: as_pipeline(name) for name in ("sd1", "sdxl")}


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_both_hosts_see_the_same_layers(pipes, name):
    mine = [layer for layer, _ in attention_layers(pipes[name].unet)]
    assert mine == comfy_host.attention_layers(small_models.small_model(name, torch.float64))


def compare(pipe, name, edit, **how):
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    mine, run = by_diffusers(pipe, edit, noise, **how)
    sigmas = pipe.scheduler.sigmas
    if how.get("sampler") == "heun":
        sigmas = torch.cat([sigmas[:1], sigmas[1:-1:2], sigmas[-1:]])
    theirs, engine = by_comfy(small_models.small_model(name, torch.float64), edit, noise, sigmas, **how)
    assert float((mine - theirs).abs().max() / theirs.abs().max()) < TOLERANCE
    assert torch.equal(run.masks(), engine.masks())
    return mine, run, engine


@pytest.mark.parametrize("trajectory", ["dual", "shared"])
@pytest.mark.parametrize("kind", EDITS)
@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_every_kind_of_edit_is_the_same(pipes, name, kind, trajectory):
    edit = EDITS[kind](small_models.edit_of("a cat on a car", "a big dog on a car"))
    compare(pipes[name], name, edit, trajectory=trajectory)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_that_both_have_is_the_same(pipes, sampler):
    edit = EDITS["local_blend"](small_models.edit_of("a cat on a car", "a big dog on a car", "a cat on a box"))
    compare(pipes["sd1"], "sd1", edit, sampler=sampler)


def test_the_maps_are_the_same(pipes):
    edit = small_models.edit_of()
    _, run, engine = compare(pipes["sd1"], "sd1", edit, keep_maps=True)
    for mine, theirs in zip((run.maps().source, *run.maps().variants), (engine.maps().source, *engine.maps().variants)):
        assert list(mine.blocks) == list(theirs.blocks)
        assert all(torch.allclose(mine.blocks[name], theirs.blocks[name], atol=1e-6) for name in mine.blocks)


@pytest.mark.parametrize("trajectory", ["dual", "shared"])
def test_the_demo_model_with_its_own_encoder_and_noise(trajectory):
    """Prompts, noise and seed as users give them, in float32: each host's own encoder, tokenizer and noise."""
    source, changed, timesteps = "a cat sitting on a car", "a dog sitting on a red car", [981, 640, 280]
    pipe, (model, clip, _) = load_pipeline(), comfy_host.load_demo()
    pipe.scheduler = scheduler("euler")
    pipe.set_progress_bar_config(disable=True)

    def change(edit):
        return edit.reweight("red", 2.0).local_blend("cat", "dog", threshold=0.7)

    edit = change(diffusers_host.align(pipe, source, changed))
    settings = {"guidance_scale": CFG, "timesteps": timesteps, "height": 128, "width": 128, "output_type": "latent"}
    with diffusers_host.prompt_to_prompt(pipe, edit, trajectory) as run:
        mine = pipe(run.prompts, generator=torch.Generator().manual_seed(1), **settings).images

    theirs_edit = change(Edit(comfy_host.encode(clip, source)).add(comfy_host.encode(clip, changed)))
    assert [v.alignment for v in edit.variants] == [v.alignment for v in theirs_edit.variants]
    negative = comfy_host.encode(clip, "").encoding
    guider = comfy_host.EditGuider(model, theirs_edit, negative, CFG, trajectory=trajectory)
    latent = torch.zeros(1, 4, 16, 16)
    noise = comfy.sample.prepare_noise(latent, 1)
    sampler = comfy.samplers.sampler_object("euler")
    theirs, engine = guider.run(noise, latent, sampler, pipe.scheduler.sigmas, disable_pbar=True)
    assert 0 < engine.masks().mean() < 1
    assert torch.equal(run.masks(), engine.masks())
    assert (
        float((mine - theirs).abs().max()) < 1e-4
    )  # networks in float32, each of whose hundreds of sums rounds on its own
