"""A real picture that is nothing like those that the model was trained on."""

from __future__ import annotations

import io

import numpy
import torch
from PIL import Image
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider, encode, load_demo, sample

from support.sampling import assert_same, sampling


def test_pictures_unlike_any_that_the_model_saw():
    """Noise, stripes and a gradient in bad JPEG, through a trained model's VAE; it has seen flat drawings alone."""
    model, clip, vae = load_demo()
    noise = torch.rand(128, 128, 3, generator=torch.Generator().manual_seed(2))
    stripes = ((torch.arange(128) // 3) % 2).float()[:, None, None].expand(128, 128, 3)
    gradient = torch.stack([torch.linspace(0, 1, 128).expand(128, 128), torch.rand(128, 1).expand(128, 128)], -1)
    gradient = _as_jpeg(torch.cat([gradient, 1 - gradient[..., :1]], -1))
    own = vae.encode(torch.stack([noise, stripes, gradient]))
    cat, dog, nothing = (encode(clip, text) for text in ("a cat on a car", "a dog on a car", ""))
    guider = EditGuider(model, Edit(cat).add(cat).add(dog).real_picture(), nothing.encoding, 4.0, latent_holds="source")
    latents, _ = sample(guider, {"samples": own}, sampling())
    source, same, edited = latents.chunk(3)
    assert torch.equal(source, own)
    assert_same(same, own, 5e-3)
    assert ((edited - own).flatten(1).abs().amax(1) > 0.1).all()


def _as_jpeg(pixels: torch.Tensor) -> torch.Tensor:
    """[height, width, 3] in [0, 1]."""
    file = io.BytesIO()
    Image.fromarray((pixels * 255).byte().numpy()).save(file, "JPEG", quality=10)
    return torch.from_numpy(numpy.array(Image.open(file))).float() / 255
