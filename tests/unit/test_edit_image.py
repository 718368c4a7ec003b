"""edit_image against CrossAttentionControl's procedure, written out with whole attention maps."""

from __future__ import annotations

from difflib import SequenceMatcher

import pytest
import torch
from diffusers import LMSDiscreteScheduler
from PIL import Image
from prompt_to_prompt.p2p_core.edit_image import edit_image
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.diffusers.unet import attention_layers

from support.small_pipelines import SIZE, small_pipeline

SOURCE, EDIT = "a cat sitting on a car", "a dog sitting on a red car at night"


class WholeMaps:
    """An attention processor that keeps the map of one pass and uses it in another."""

    def __init__(self, is_cross: bool, control: dict):
        self.is_cross, self.control = is_cross, control

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        own = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
        if self.control["stage"] == "source":
            self.source = own
        elif self.control["stage"] == "edit":
            own = self.edited(own)
        return attn.to_out[0]((own @ v).transpose(1, 2).flatten(2))

    def edited(self, own):
        control = self.control
        if not self.is_cross:
            return self.source if control["spatial"] else own
        if control["tokens"]:
            own = own * (1 - control["mask"]) + self.source[..., control["indices"]] * control["mask"]
        return own * control["weights"]


def cross_attention_control(
    pipe,
    prompt,
    prompt_edit,
    weights=(),
    tokens=(0.0, 1.0),
    spatial=(0.0, 1.0),
    scale=7.5,
    steps=6,
    seed=0,
    skip=0,
    x0=None,
):
    """One latent, three passes a step: nothing, the source's prompt with its maps kept, the edit's with them used."""
    ids = [pipe.tokenizer(text, padding="max_length").input_ids for text in (prompt, prompt_edit, "")]
    source, edit, nothing = (pipe.text_encoder(torch.tensor([row])).last_hidden_state for row in ids)
    indices, mask = torch.zeros(77, dtype=torch.long), torch.zeros(77, dtype=torch.float64)
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, ids[0], ids[1]).get_opcodes():
        if tag == "equal" or (tag == "replace" and i2 - i1 == j2 - j1):
            indices[j1:j2], mask[j1:j2] = torch.arange(i1, i2), 1
    columns = torch.ones(77, dtype=torch.float64)
    for index, weight in weights:
        columns[index] = weight
    control = {"indices": indices, "mask": mask, "weights": columns}
    for layer, attention in attention_layers(pipe.unet):
        attention.set_processor(WholeMaps(layer.kind == "cross", control))

    scheduler = LMSDiscreteScheduler.from_config(pipe.scheduler.config)
    scheduler.set_timesteps(steps)
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x0 = torch.zeros_like(noise) if x0 is None else x0
    latent = x0 + noise * scheduler.sigmas[skip]

    def predict(name, encoding):
        control["stage"] = name
        return pipe.unet(scheduler.scale_model_input(latent, t), t, encoding).sample

    for t in scheduler.timesteps[skip:]:
        control["tokens"] = tokens[0] <= t / 1000 <= tokens[1]
        control["spatial"] = spatial[0] <= t / 1000 <= spatial[1]
        without, _, given = predict("none", nothing), predict("source", source), predict("edit", edit)
        latent = scheduler.step(without + scale * (given - without), t, latent).prev_sample
    return latent


@pytest.fixture
def pipe():
    with torch.no_grad():
        yield small_pipeline("text", torch.float64)


@pytest.fixture
def latent_of(pipe, monkeypatch):
    """edit_image, but the latent of its picture before it is rounded to pixels."""

    def latent_of(*args, **kwargs) -> torch.Tensor:
        latents, decode = [], pipe.vae.decode
        with monkeypatch.context() as patch:
            patch.setattr(pipe.vae, "decode", lambda x, *a, **k: (latents.append(x), decode(x, *a, **k))[1])
            edit_image(pipe, *args, **PLACE, **kwargs)
        return latents[0][-1:] * pipe.vae.config.scaling_factor

    return latent_of


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=0, atol=1e-8)


PLACE = {"steps": 6, "seed": 3, "width": SIZE + 63, "height": SIZE}


@pytest.mark.parametrize(
    "windows",
    [
        {},
        {"tokens": (0.0, 0.6), "spatial": (0.7, 1.0)},
        {"tokens": (0.35, 0.8), "spatial": (0.2, 0.5)},
        {"tokens": (1.0, 1.0), "spatial": (0.0, 0.0)},
    ],
)
def test_it_is_the_procedure_of_three_passes(pipe, latent_of, windows):
    weights = [(2, 1.5), (6, -0.5)]
    given = {
        f"prompt_edit_{name}_{end}": value
        for name, ends in windows.items()
        for end, value in zip(("start", "end"), ends)
    }
    latent = latent_of(SOURCE, EDIT, weights, **given)
    assert not close(latent, latent_of(SOURCE, EDIT, weights, prompt_edit_tokens_end=0.25))
    assert close(latent, cross_attention_control(pipe, SOURCE, EDIT, weights, **windows, seed=3))


def test_without_an_edit_the_weights_are_the_prompts(pipe, latent_of):
    latent = latent_of(SOURCE, prompt_edit_token_weights=[(2, 3.0)])
    expected = cross_attention_control(pipe, SOURCE, SOURCE, [(2, 3.0)], tokens=(2, 2), spatial=(2, 2), seed=3)
    assert close(latent, expected)


def test_an_image_to_start_from_is_put_on_white(pipe, latent_of):
    image = Image.new("RGBA", (90, 30), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 45, 30))
    white = Image.new("RGB", image.size, "white")
    white.paste((0, 0, 255), (0, 0, 45, 30))
    x0 = pipe.vae.encode(pipe.image_processor.preprocess(white.resize((SIZE, SIZE), Image.Resampling.LANCZOS)).double())
    latent = latent_of(SOURCE, EDIT, init_image=image, init_image_strength=0.7)
    expected = cross_attention_control(
        pipe, SOURCE, EDIT, seed=3, skip=2, x0=x0.latents * pipe.vae.config.scaling_factor
    )
    assert close(latent, expected)


def test_what_makes_no_sense_is_said(pipe):
    for wrong, message in (
        ({"prompt_edit_spatial_start": 0.7, "prompt_edit_spatial_end": 0.2}, "prompt_edit_spatial_start"),
        ({"init_image": Image.new("RGB", (64, 64)), "init_image_strength": 0.1}, "init_image_strength"),
        ({"prompt_edit_token_weights": [(77, 2.0)]}, "is not a token position"),
        ({"scheduler": "KarrasScheduler"}, "KarrasScheduler"),
    ):
        with pytest.raises(EditError, match=message):
            edit_image(pipe, SOURCE, EDIT, **{**PLACE, **wrong})


def test_the_pipeline_keeps_its_scheduler_and_processors(pipe):
    scheduler, processors = pipe.scheduler, dict(pipe.unet.attn_processors)
    edit_image(pipe, SOURCE, EDIT, **{**PLACE, "steps": 2})
    assert pipe.scheduler is scheduler
    assert dict(pipe.unet.attn_processors) == processors
