"""Makes the demo model: `python -m p2p_core.demo.train`. Resumable: started again, it goes on where it was killed.

Stages, each with its checkpoint in --folder:

    vae       encoder and decoder on crops of drawn scenes
    decoder   the decoder alone, on whole scenes and frozen, slightly noisy latents, as a sampler leaves them
    latents   the latents and captions of many scenes, once
    denoiser  text encoder and UNet together: noise prediction, min-SNR weights, a tenth of the captions empty
    export    the moving averages, fp16, in `layout`'s form

From nothing, all five run. With --init FILE the networks start from an exported model, whose encoder and so whose
latent space are kept: give the stages to run, e.g. --init FILE --stages decoder latents denoiser export.

With --architecture transformer a transformer (transformer.py, flow.py) is trained in the UNet's place, by the last
three stages, over the text encoder and the VAE of the file that ships with the pack.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from torch import nn

from . import layout
from .fit import fit, save
from .flow import train_transformer
from .modules import BETAS, CLIP_CONFIG, UNET_CONFIG, build, compact, load, text_core
from .scenes import draw, sample, vocabulary
from .transformer import CONFIG, Transformer, load_transformer, save_transformer
from .words import token_ids, tokenize

STAGES = ("vae", "decoder", "latents", "denoiser", "export")


def pictures(generator: torch.Generator, count: int, size: int = 128) -> torch.Tensor:
    """Freshly drawn scenes: [count, 3, size, size] in [-1, 1]."""
    rng = random.Random(int(torch.randint(2**62, (1,), generator=generator)))
    images = np.stack([np.asarray(draw(sample(rng), rng, size)) for _ in range(count)])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def crops(images: torch.Tensor, side: int, generator: torch.Generator) -> torch.Tensor:
    """One random square of each picture, at any offset: [B, 3, side, side]."""
    span = images.shape[-1] - side + 1
    corners = torch.randint(span, (len(images), 2), generator=generator).tolist()
    return torch.stack([image[:, y : y + side, x : x + side] for image, (y, x) in zip(images, corners)])


def picture_loss(made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """L1, L1 of the differences between neighbours (edges), and squared error: sharp without a discriminator."""
    made = made.float()
    edges = sum((torch.diff(made, dim=d) - torch.diff(wanted, dim=d)).abs().mean() for d in (-1, -2))
    return (made - wanted).abs().mean() + 0.5 * edges + F.mse_loss(made, wanted)


def train_vae(vae, args) -> nn.Module:
    def loss(generator):
        x = crops(pictures(generator, 16), 64, generator).to(args.device)
        z = vae.encode(x).latents
        z = z + 0.05 * torch.randn(z.shape, generator=generator).to(z)
        return picture_loss(vae.decode(z).sample, x)

    return fit("vae", vae, loss, steps=args.vae_steps, lr=1e-3, folder=args.folder)


def train_decoder(vae, args) -> nn.Module:
    """Whole scenes: trained on crops alone, a decoder draws a faint frame at the picture's edge."""
    vae.encoder.requires_grad_(False)
    vae.decoder.requires_grad_(True)

    def loss(generator):
        x = pictures(generator, 6).to(args.device)
        with torch.no_grad():
            z = vae.encode(x).latents
        z = z + 0.06 * torch.randn(z.shape, generator=generator).to(z)
        return picture_loss(vae.decode(z).sample, x)

    return fit("decoder", vae, loss, steps=args.decoder_steps, lr=args.decoder_lr, folder=args.folder)


@torch.no_grad()
def make_latents(vae, args) -> dict[str, torch.Tensor]:
    """-> latents [N, 4, 16, 16] in fp16 and tokens [N, 77] of args.scenes scenes; kept in the folder."""
    path = args.folder / "latents.pt"
    if not path.exists():
        latents, tokens = [], []
        for seed in range(0, args.scenes, 32):
            rng = random.Random(seed)
            scenes = [sample(rng) for _ in range(32)]
            x = torch.from_numpy(np.stack([np.asarray(draw(scene, rng)) for scene in scenes])).to(args.device)
            with torch.autocast(args.device, torch.bfloat16):
                latents.append(vae.encode(x.permute(0, 3, 1, 2) / 127.5 - 1).latents.to("cpu", torch.float16))
            tokens += [tokenize(scene.caption) for scene in scenes]
            if seed % 2048 == 0:
                print(f"latents {seed}/{args.scenes}", flush=True)
        save(path, {"latents": torch.cat(latents), "tokens": torch.tensor(tokens)})
    return torch.load(path, weights_only=True)


def train_denoiser(unet, text, data: dict[str, torch.Tensor], args) -> nn.Module:
    """min-SNR (Hang et al. 2023), gamma 5, for noise prediction: weights min(SNR, 5) / SNR."""
    schedule = DDPMScheduler(**BETAS, num_train_timesteps=1000)
    snr = schedule.alphas_cumprod / (1 - schedule.alphas_cumprod)
    weight = (snr.clamp(max=5) / snr).to(args.device)
    tokens_of = torch.searchsorted(torch.tensor(token_ids()), data["tokens"])  # rows of the compact table
    empty = torch.searchsorted(torch.tensor(token_ids()), torch.tensor(tokenize("")))
    both = nn.ModuleDict({"unet": unet, "text": text})

    def loss(generator):
        rows = torch.randint(len(data["latents"]), (args.batch,), generator=generator)
        tokens = tokens_of[rows]
        tokens[torch.rand(args.batch, generator=generator) < 0.1] = empty
        x = data["latents"][rows].float().to(args.device)
        noise = torch.randn(x.shape, generator=generator).to(args.device)
        t = torch.randint(1000, (args.batch,), generator=generator).to(args.device)
        made = unet(schedule.add_noise(x, noise, t), t, text(tokens.to(args.device)).last_hidden_state).sample
        return (weight[t] * (made.float() - noise).square().mean((1, 2, 3))).mean()

    return fit("denoiser", both, loss, steps=args.steps, lr=args.lr, folder=args.folder)


def export(unet, text, vae, path: Path, **metadata) -> None:
    tensors = layout.pack(
        unet.state_dict(),
        text_core(text).state_dict(),
        vae.state_dict(),
        UNET_CONFIG["num_res_blocks"][0],
        torch.tensor(token_ids()),
    )
    layout.write(path, tensors, UNET_CONFIG, CLIP_CONFIG, vocabulary(), **metadata)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder",
        type=Path,
        default=layout.FILE.with_name("training"),
        help="checkpoints, latents and the exported file",
    )
    parser.add_argument("--architecture", choices=("unet", "transformer"), default="unet")
    parser.add_argument("--init", type=Path, help="start from this exported model instead of random weights")
    parser.add_argument("--stages", nargs="+", choices=STAGES, help="all, or the last three for a transformer")
    parser.add_argument("--vae-steps", type=int, default=3000)
    parser.add_argument("--decoder-steps", type=int, default=4000)
    parser.add_argument("--decoder-lr", type=float, default=6e-4)
    parser.add_argument("--scenes", type=int, default=16384)
    parser.add_argument("--steps", type=int, default=6000, help="of the denoiser")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--lr", type=float, default=6e-4, help="of the denoiser")
    parser.add_argument("--cooldown", type=int, help="only so many last steps of the denoiser have a falling rate")
    parser.add_argument("--whole", type=float, default=0.2, help="share of a transformer's batches with all 77 places")
    parser.add_argument("--threads", type=int, help="of torch on a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    args.stages = args.stages or (STAGES if args.architecture == "unet" else STAGES[2:])
    return args


def main() -> None:
    args = parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.architecture == "transformer":
        make_transformer(args)
    else:
        make_unet(args)


def make_transformer(args) -> None:
    """Over the text encoder and VAE of the model that ships with the pack, which stay as they are."""
    _, text, vae = load(device=args.device)
    data = make_latents(vae, args)
    model, before = load_transformer(args.init) if args.init else (Transformer(**CONFIG), {})
    scale = before.get("latent_scale", 1 / float(data["latents"].float().std()))
    if "denoiser" in args.stages:
        model = model.to(args.device).train().requires_grad_(True)
        model = train_transformer(model, compact(text), data, scale, args)
    if "export" in args.stages:
        save_transformer(
            args.folder / "demo_transformer.safetensors",
            model.state_dict(),
            before.get("transformer_config", CONFIG),
            latent_scale=scale,
            shift=before.get("shift", 1.5),
            steps=int(before.get("steps", 0)) + args.steps,
        )


def make_unet(args) -> None:
    unet, text, vae = load(args.init) if args.init else build()
    unet, text, vae = (module.to(args.device).train().requires_grad_(True) for module in (unet, compact(text), vae))
    if "vae" in args.stages:
        vae = train_vae(vae, args)
    if "decoder" in args.stages:
        vae = train_decoder(vae, args)
    if "latents" in args.stages or "denoiser" in args.stages:
        data = make_latents(vae, args)
    if "denoiser" in args.stages:
        both = train_denoiser(unet, text, data, args)
        unet, text = both["unet"], both["text"]
    if "export" in args.stages:
        export(unet, text, vae, args.folder / "demo_model.safetensors", steps=args.steps)


if __name__ == "__main__":
    main()
