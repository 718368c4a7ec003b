"""The demo's transformer: ComfyUI's own Flux class in every number, its file, and a training cut anywhere."""

from __future__ import annotations

import sys

import comfy.ops
import pytest
import torch
from comfy.ldm.flux.model import Flux
from prompt_to_prompt.nodes.demo_model import P2PDemoModel
from prompt_to_prompt.p2p_core.demo import fit, flow, modules, train
from prompt_to_prompt.p2p_core.demo.transformer import (
    CONFIG,
    FILE,
    Transformer,
    is_transformer,
    load_transformer,
    patches,
    picture,
    read_transformer,
    save_transformer,
)
from prompt_to_prompt.p2p_core.demo.words import PADDED, tokenize

SMALL = CONFIG | {"hidden_size": 48, "num_heads": 2, "axes_dim": [8, 8, 8], "depth": 1, "depth_single_blocks": 1}


def comfyui_s(config: dict, weights: dict) -> Flux:
    model = Flux(image_model="flux", dtype=torch.float32, operations=comfy.ops.disable_weight_init, **config)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def random_weights(config: dict) -> dict:
    """No zero anywhere, so that every part counts."""
    shapes = Transformer(**config).state_dict()
    return {name: 0.3 * torch.randn_like(tensor) + 0.1 for name, tensor in shapes.items()}


@pytest.mark.parametrize("source", ["file", "random", "random, patch 1"])
def test_is_comfyui_s_flux_in_every_number(source):
    if source == "file":
        weights, metadata = read_transformer()
        weights = {name: tensor.float() for name, tensor in weights.items()}
        config = metadata["transformer_config"]
    else:
        config = SMALL | {"patch_size": 1 if "patch" in source else 2}
        weights = random_weights(config)
    model = Transformer(**config)
    model.load_state_dict(weights)
    inputs = torch.randn(3, 4, 8, 12), torch.tensor([0.01, 0.5, 1.0]), torch.randn(3, 21, 128), torch.randn(3, 128)
    with torch.no_grad():
        ours, theirs = model(*inputs), comfyui_s(config, weights)(*inputs)
    assert ours.shape == (3, 4, 8, 12) and ours.abs().max() > 0.1
    assert (ours - theirs).abs().max() <= 1e-5 * max(1, float(theirs.abs().max()))


def test_bf16_on_a_cpu_is_the_same_to_its_rounding():
    model, _ = load_transformer()
    inputs = torch.randn(2, 4, 16, 16), torch.tensor([0.2, 0.9]), torch.randn(2, PADDED, 128), torch.randn(2, 128)
    exact = model(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(*inputs).float()
    assert (rounded - exact).square().mean() < 1e-3 * exact.square().mean()


def test_patches_come_back():
    x = torch.randn(2, 4, 6, 10)
    assert patches(x, 2).shape == (2, 15, 16) and torch.equal(picture(patches(x, 2), 3, 5, 2), x)


def test_starts_as_zero_and_learns():
    model = Transformer(**SMALL)
    inputs = torch.randn(2, 4, 4, 4), torch.rand(2), torch.randn(2, 5, 128), torch.randn(2, 128)
    assert model(*inputs).abs().max() == 0
    model.load_state_dict(random_weights(SMALL))
    model(*inputs).square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_text_is_what_comfyui_s_clip_gives():
    captions = ["", "a smiling fox wearing a hat sitting on a red car in the snow"]
    _, text, _ = modules.load()
    clip = P2PDemoModel.execute().result[1]
    tokens = torch.tensor([tokenize(caption) for caption in captions])
    hidden = text(tokens).last_hidden_state
    pooled = modules.pooled(hidden, tokens)
    for i, caption in enumerate(captions):
        theirs, their_pooled = clip.encode_from_tokens(clip.tokenize(caption), return_pooled=True)
        assert torch.allclose(theirs[0].float(), hidden[i], atol=1e-4)
        assert torch.allclose(their_pooled[0].float(), pooled[i], atol=1e-4)


def test_the_file_that_ships():
    weights, metadata = read_transformer()
    assert is_transformer(FILE) and FILE.stat().st_size <= 24e6
    assert all(tensor.dtype == torch.float16 and tensor.isfinite().all() for tensor in weights.values())
    assert 0.9 < metadata["latent_scale"] < 1.1 and metadata["shift"] == 1.5
    text, _ = modules.load()[1:]
    assert metadata["transformer_config"]["context_in_dim"] == text.config.hidden_size


def test_share_of_the_learning_rate():
    whole = [fit.share(step, 1000, 100) for step in range(1000)]
    assert whole[0] == 0.01 and max(whole) == whole[100] == 1 and whole[999] < 1e-4
    late = [fit.share(step, 1000, 100, 200) for step in range(1000)]
    assert late[:100] == whole[:100] and set(late[100:801]) == {1} and late[900] == pytest.approx(0.5)
    assert fit.share(500, 1000, 100, 0) == 1


def test_a_training_cut_in_two_is_the_same(tmp_path):
    def loss_of(module):
        return lambda generator: module(torch.randn(8, 3, generator=generator)).square().mean()

    def run(folder, steps):
        torch.manual_seed(1)
        module = torch.nn.Linear(3, 2)
        folder.mkdir(exist_ok=True)
        return fit.fit("x", module, loss_of(module), steps=steps, lr=1e-2, folder=folder, warmup=3, cooldown=0)

    whole = run(tmp_path / "a", 8)
    run(tmp_path / "b", 5)
    again = run(tmp_path / "b", 8)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters()))


def test_training_writes_a_file_that_training_starts_from(tmp_path, monkeypatch):
    tokens = torch.tensor([tokenize("a cat"), tokenize("an owl next to a red car at night")] * 4)
    torch.save({"latents": torch.randn(8, 4, 16, 16).half(), "tokens": tokens}, tmp_path / "latents.pt")
    first = tmp_path / "first.safetensors"
    save_transformer(first, Transformer(**SMALL).state_dict(), SMALL, latent_scale=1.25, shift=1.5, steps=7)

    def run(*more):
        arguments = ["--architecture", "transformer", "--folder", str(tmp_path), "--batch", "4", "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["train", *arguments, *more])
        train.main()

    run("--init", str(first), "--steps", "2")
    model, metadata = load_transformer(tmp_path / "demo_transformer.safetensors")
    assert metadata["steps"] == "9" and metadata["latent_scale"] == 1.25 and metadata["transformer_config"] == SMALL
    assert model.final_layer.linear.weight.abs().max() > 0
    run("--init", str(first), "--steps", "3")  # goes on from its checkpoint
    assert load_transformer(tmp_path / "demo_transformer.safetensors")[1]["steps"] == "10"


def test_most_batches_are_short_and_some_are_whole(tmp_path):
    seen = []

    class Watching(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, x, t, context, pooled):
            seen.append(context.shape[1])
            assert t.min() > 0 and t.max() < 1 and pooled.shape == (len(x), 128)
            return self.weight * x

    class Args:
        batch, steps, lr, folder, cooldown, whole, device = 2, 40, 1e-3, tmp_path, None, 0.3, "cpu"

    tokens = torch.tensor([tokenize("a cat")] * 4)
    data = {"latents": torch.randn(4, 4, 16, 16).half(), "tokens": tokens}
    flow.train_transformer(Watching(), modules.compact(modules.load()[1]), data, 1.0, Args)
    assert set(seen) == {flow.LONGEST, PADDED} and seen.count(PADDED) < 20
    longest = tokenize("a smiling penguin wearing a crown sitting on a purple pumpkin in the desert")
    assert longest.index(49407) < flow.LONGEST


def test_times_are_spread_over_the_whole_way():
    t = flow.times(1000, torch.Generator().manual_seed(0))
    assert not t.equal(t.sort().values) and (t < 0.5).float().mean() == pytest.approx(0.382, abs=0.002)
    logits = torch.logit(t.double())
    assert logits.mean() == pytest.approx(0.3, abs=0.01) and logits.std() == pytest.approx(1, abs=0.01)


def test_draws_pictures():
    model, metadata = load_transformer()
    _, text, vae = modules.load()
    scale, shift = metadata["latent_scale"], metadata["shift"]
    made = modules.flow(model, text, vae, ["a cat", "a car at night"], [0, 1], scale=scale, shift=shift, steps=4)
    assert made.shape == (2, 3, 128, 128) and made.min() >= 0 and made.max() <= 1
    assert made[1].mean() < 0.5 * made[0].mean()  # night is dark
