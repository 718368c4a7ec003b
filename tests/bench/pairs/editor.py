"""A small InstructPix2Pix (Brooks et al. 2023, section 3.2) over the demo UNet: it edits a picture by an instruction.

The latents of the picture to edit are four more channels of the UNet's input. Their weights begin at zero, so that at
first it draws what the demo model draws. Instructions have words that captions lack; these get embeddings of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch import nn

from p2p_core.demo.fit import fit
from p2p_core.demo.modules import BETAS, load, text_core
from p2p_core.demo.words import TOKENS

INSTRUCTING = ("add", "it", "longer", "make", "no", "remove", "replace", "set", "with")
WORDS = ("", *sorted({*TOKENS, *INSTRUCTING}))  # the first is the start; the end comes after all others
PLACES = 16  # an instruction is shorter
DROPPED = 0.05  # of the examples without instruction, as many without picture, and as many without both
PICTURE_GUIDANCE, TEXT_GUIDANCE = 3.0, 4.0  # the best of six pairs tried on 36 other pictures


class Editor(nn.Module):
    """Predicts the noise of latents [B, 4, h, w] from a picture's latents and an instruction's tokens [B, 16]."""

    def __init__(self):
        super().__init__()
        unet, text, _ = load()
        first = unet.conv_in
        unet.conv_in = nn.Conv2d(8, first.out_channels, first.kernel_size, padding=first.padding)
        with torch.no_grad():
            unet.conv_in.weight.zero_()[:, :4] = first.weight
            unet.conv_in.bias.copy_(first.bias)
        unet.register_to_config(in_channels=8)
        text_core(text).embeddings.token_embedding = nn.Embedding.from_pretrained(_embeddings(text), freeze=False)
        self.unet, self.text = unet.requires_grad_(True), text.requires_grad_(True)

    def forward(
        self, noisy: torch.Tensor, t: torch.Tensor, picture: torch.Tensor, tokens: torch.Tensor
    ) -> torch.Tensor:
        return self.unet(torch.cat([noisy, picture], 1), t, self.text(tokens).last_hidden_state).sample


def _embeddings(text) -> torch.Tensor:
    """Of WORDS and of the end: the demo model's where it has them, and of their size at random."""
    known = text_core(text).embeddings.token_embedding.weight.detach()
    old = {"": 49406, **TOKENS}
    typical = known[list(TOKENS.values())].std()
    generator = torch.Generator().manual_seed(0)
    new = [torch.randn(known.shape[1], generator=generator) * typical if w not in old else known[old[w]] for w in WORDS]
    return torch.stack([*new, known[49407]])


def tokens(instruction: str) -> list[int]:
    """16 numbers of words. ValueError on a word that neither captions nor INSTRUCTING have."""
    words = instruction.split()
    if unknown := set(words) - set(WORDS):
        raise ValueError(f"no embeddings of {', '.join(sorted(unknown))}")
    ids = [0, *map(WORDS.index, words)][: PLACES - 1]
    return ids + [len(WORDS)] * (PLACES - len(ids))


def train(name: str, data: dict[str, torch.Tensor], *, steps: int, batch: int, lr: float, folder: Path) -> Editor:
    """On `source` and `edited`, latents [N, 4, h, w] each, and `tokens` [N, 16]. Resumable; see fit."""
    schedule = DDPMScheduler(**BETAS, num_train_timesteps=1000)
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    weight = snr.clamp(max=5) / snr
    torch.manual_seed(0)
    editor = Editor().train()
    empty = torch.tensor(tokens(""))

    def loss(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(data["tokens"]), (batch,), generator=generator)
        words, picture, wanted = data["tokens"][rows], data["source"][rows].float(), data["edited"][rows].float()
        chance = torch.rand(batch, generator=generator)
        words[chance < 2 * DROPPED] = empty
        picture[(chance >= DROPPED) & (chance < 3 * DROPPED)] = 0
        noise = torch.randn(wanted.shape, generator=generator)
        t = torch.randint(1000, (batch,), generator=generator)
        with torch.autocast("cpu", enabled=False):  # bfloat16 takes twice as long on many processors
            made = editor(schedule.add_noise(wanted, noise, t), t, picture, words)
        return (weight[t] * (made.float() - noise).square().mean((1, 2, 3))).mean()

    return fit(name, editor, loss, steps=steps, lr=lr, folder=folder).eval()


@torch.no_grad()
def edit(
    editor: Editor, pictures: torch.Tensor, instructions: Sequence[str], seeds: Sequence[int], steps: int = 20
) -> torch.Tensor:
    """Latents [B, 4, h, w] of pictures -> those of the edited ones, by DPM-Solver++(2M), with both guidances."""
    scheduler = DPMSolverMultistepScheduler(**BETAS, num_train_timesteps=1000, timestep_spacing="linspace")
    scheduler.set_timesteps(steps)
    x = torch.cat([torch.randn(1, *pictures.shape[1:], generator=torch.Generator().manual_seed(s)) for s in seeds])
    x = x * scheduler.init_noise_sigma
    empty = [tokens("")] * len(x)
    words = torch.tensor([*empty, *empty, *(tokens(instruction) for instruction in instructions)])
    shown = torch.cat([torch.zeros_like(pictures), pictures, pictures])
    for t in scheduler.timesteps:
        model_input = scheduler.scale_model_input(torch.cat([x] * 3), t)
        nothing, picture, both = editor(model_input, t, shown, words).chunk(3)
        noise = nothing + PICTURE_GUIDANCE * (picture - nothing) + TEXT_GUIDANCE * (both - picture)
        x = scheduler.step(noise, t, x).prev_sample
    return x
