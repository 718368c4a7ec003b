"""Training of the demo's transformer: rectified flow over the frozen text encoder and latents of the demo's UNet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .fit import fit
from .modules import pooled
from .words import token_ids, tokenize

LONGEST = 20  # places of a caption's words and its first pads: the longest caption has 16 with its start and end


def times(count: int, generator: torch.Generator) -> Tensor:
    """Where on the way from picture (0) to noise (1): sigmoid(N(0.3, 1)), the middle most often. -> [count]

    One of each of `count` equally likely stretches, in random order: the loss of a batch varies less.
    """
    even = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    return torch.sigmoid(torch.special.ndtri(even.double().clamp(1e-6, 1 - 1e-6)).float() + 0.3)


def train_transformer(model: nn.Module, text: nn.Module, data: dict[str, Tensor], scale: float, args) -> nn.Module:
    """text: `modules.compact`ed; data: latents [N, 4, 16, 16] and tokens [N, 77]; scale: brings latents to unit size.

    Most batches hold each caption's first 20 places alone, args.whole of them all 77: the other pads say nothing and
    cost nearly half the time.
    """
    text.eval().requires_grad_(False)
    rows_of = torch.tensor(token_ids())  # ids -> rows of the compact table
    empty = torch.tensor(tokenize(""))

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(data["latents"]), (args.batch,), generator=generator)
        tokens = data["tokens"][rows]
        tokens[torch.rand(args.batch, generator=generator) < 0.1] = empty
        if torch.rand((), generator=generator) >= args.whole:
            tokens = tokens[:, :LONGEST].contiguous()
        x = scale * data["latents"][rows].float()
        noise = torch.randn(x.shape, generator=generator)
        t = times(args.batch, generator)
        x, noise, t = (tensor.to(args.device) for tensor in (x, noise, t))
        share = t[:, None, None, None]
        with torch.no_grad():
            context = text(torch.searchsorted(rows_of, tokens).to(args.device)).last_hidden_state
        made = model((1 - share) * x + share * noise, t, context, pooled(context, tokens))
        return (made.float() - (noise - x)).square().mean()

    return fit(
        "transformer",
        model,
        loss,
        steps=args.steps,
        lr=args.lr,
        folder=args.folder,
        cooldown=args.cooldown,
        decay=0.998,
    )
