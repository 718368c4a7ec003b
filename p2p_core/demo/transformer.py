"""The demo's transformer: Flux.1's shape, small, written for training. Its weights' names are ComfyUI's `Flux` class's.

    model = Transformer(**CONFIG)             # from nothing; or:
    model, metadata = load_transformer()      # the file that ships with the pack
    velocity = model(x, t, context, pooled)  # x_t = (1 - t) latents + t noise; velocity = noise - latents

Text and image places attend to each other in one softmax: in the double blocks through weights of their own, in the
single blocks through common ones. Needs torch and safetensors alone.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FILE = Path(__file__).with_name("demo_transformer.safetensors")

CONFIG = {  # in ComfyUI's words
    "in_channels": 4,
    "out_channels": 4,
    "vec_in_dim": 128,  # width of the pooled text
    "context_in_dim": 128,
    "hidden_size": 192,
    "mlp_ratio": 4.0,
    "num_heads": 3,
    "depth": 2,  # double blocks
    "depth_single_blocks": 6,
    "axes_dim": [16, 24, 24],  # a head's channels by axis of the rotary positions: nothing, row, column
    "theta": 10000,
    "patch_size": 2,
    "qkv_bias": True,
    "guidance_embed": False,
}


class Transformer(nn.Module):
    """Predicts the velocity noise - latents. Starts as zero, whatever goes in: modulations and last layer are zero."""

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        vec_in_dim: int,
        context_in_dim: int,
        hidden_size: int,
        mlp_ratio: float,
        num_heads: int,
        depth: int,
        depth_single_blocks: int,
        axes_dim: list[int],
        theta: int,
        patch_size: int,
        qkv_bias: bool,
        guidance_embed: bool,
    ):
        super().__init__()
        if guidance_embed or sum(axes_dim) * num_heads != hidden_size:
            raise ValueError("no guidance embedding here, and axes_dim has to add up to a head's width")
        self.patch_size, self.axes_dim, self.theta = patch_size, axes_dim, theta
        self.img_in = nn.Linear(in_channels * patch_size**2, hidden_size)
        self.txt_in = nn.Linear(context_in_dim, hidden_size)
        self.time_in = _Embedder(256, hidden_size)
        self.vector_in = _Embedder(vec_in_dim, hidden_size)
        inner = int(hidden_size * mlp_ratio)
        self.double_blocks = nn.ModuleList(_Double(hidden_size, num_heads, inner, qkv_bias) for _ in range(depth))
        self.single_blocks = nn.ModuleList(_Single(hidden_size, num_heads, inner) for _ in range(depth_single_blocks))
        self.final_layer = _Last(hidden_size, out_channels * patch_size**2)

    def forward(self, x: Tensor, t: Tensor, context: Tensor, pooled: Tensor) -> Tensor:
        """x: [B, C, H, W], H and W multiples of the patch; t: [B] in [0, 1], 1 is noise alone; context: [B, T,
        context_in_dim]; pooled: [B, vec_in_dim] -> [B, C, H, W]"""
        height, width = x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size
        vec = self.time_in(waves(t, 256).to(x.dtype)) + self.vector_in(pooled)
        img, txt = self.img_in(patches(x, self.patch_size)), self.txt_in(context)
        turn = rotations(context.shape[1], height, width, self.axes_dim, self.theta, x.device)
        for block in self.double_blocks:
            img, txt = block(img, txt, vec, turn)
        both = torch.cat([txt, img], 1)
        for block in self.single_blocks:
            both = block(both, vec, turn)
        return picture(self.final_layer(both[:, context.shape[1] :], vec), height, width, self.patch_size)


def patches(x: Tensor, size: int) -> Tensor:
    """[B, C, H, W] -> [B, (H / size) (W / size), C size size]"""
    b, c, h, w = x.shape
    x = x.reshape(b, c, h // size, size, w // size, size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * size * size)


def picture(x: Tensor, height: int, width: int, size: int) -> Tensor:
    """The inverse of `patches`, height and width in patches."""
    x = x.reshape(x.shape[0], height, width, -1, size, size)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(x.shape[0], -1, height * size, width * size)


def waves(t: Tensor, size: int) -> Tensor:
    """[B] in [0, 1] -> [B, size]: cosines and sines of 1000 t at falling frequencies."""
    frequencies = torch.exp(-math.log(10000) * torch.arange(size // 2, device=t.device, dtype=torch.float32) * 2 / size)
    angles = 1000 * t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def rotations(text: int, height: int, width: int, axes: list[int], theta: int, device=None) -> tuple[Tensor, Tensor]:
    """Cosines and sines [text + height width, head width / 2] of the rotary positions; text has position 0 all over."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ids = torch.stack([torch.zeros(height * width), rows.flatten(), columns.flatten()], -1)
    ids = torch.cat([torch.zeros(text, 3), ids]).double()
    speeds = [1 / theta ** (torch.arange(0, size, 2, dtype=torch.float64) / size) for size in axes]
    angles = torch.cat([ids[:, i : i + 1] * speed for i, speed in enumerate(speeds)], -1)
    return angles.cos().float().to(device), angles.sin().float().to(device)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turns neighbouring pairs of channels by their angles. x: [B, heads, L, D], turn: [L, D / 2] each."""
    cos, sin = turn
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack([cos * a - sin * b, sin * a + cos * b], -1).flatten(-2).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """[B, heads, L, D] each -> [B, L, heads D]"""
    q, k = rotate(q, turn), rotate(k, turn)
    if v.dtype == torch.bfloat16 and v.device.type == "cpu":  # three times as fast there, backwards included
        out = torch.softmax(q * q.shape[-1] ** -0.5 @ k.transpose(2, 3), -1).to(v.dtype) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).flatten(2)


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class _Embedder(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.in_layer = nn.Linear(width, hidden)
        self.out_layer = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_layer(F.silu(self.in_layer(x)))


class _Modulation(nn.Module):
    """[B, width] -> `parts` tensors [B, 1, width]: shift, scale and gate, once or twice."""

    def __init__(self, width: int, parts: int):
        super().__init__()
        self.parts, self.lin = parts, _zero(nn.Linear(width, parts * width))

    def forward(self, vec: Tensor) -> tuple[Tensor, ...]:
        return self.lin(F.silu(vec))[:, None].chunk(self.parts, -1)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class _Scale(nn.Module):
    """RMS norm of a head's channels."""

    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.scale.to(x.dtype), 1e-6)


class _Norms(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.query_norm, self.key_norm = _Scale(width), _Scale(width)

    def forward(self, qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        """[B, L, 3 heads D] -> q, k normalised and v, each [B, heads, L, D]"""
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, -1))
        return self.query_norm(q), self.key_norm(k), v


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, bias: bool):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.norm = _Norms(width // heads)
        self.proj = nn.Linear(width, width)


class _Double(nn.Module):
    """Text and image with weights of their own, one attention over both."""

    def __init__(self, width: int, heads: int, inner: int, bias: bool):
        super().__init__()
        for stream in ("img", "txt"):
            self.add_module(f"{stream}_mod", _Modulation(width, 6))
            self.add_module(f"{stream}_attn", _Attention(width, heads, bias))
            mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(approximate="tanh"), nn.Linear(inner, width))
            self.add_module(f"{stream}_mlp", mlp)

    def forward(self, img: Tensor, txt: Tensor, vec: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        img_mod, txt_mod = self.img_mod(vec), self.txt_mod(vec)
        img_qkv = self.img_attn.norm(self.img_attn.qkv(_modulated(img, *img_mod[:2])), self.img_attn.heads)
        txt_qkv = self.txt_attn.norm(self.txt_attn.qkv(_modulated(txt, *txt_mod[:2])), self.txt_attn.heads)
        out = attend(*(torch.cat(pair, 2) for pair in zip(txt_qkv, img_qkv)), turn)
        txt_out, img_out = out.split([txt.shape[1], img.shape[1]], 1)
        txt = txt + txt_mod[2] * self.txt_attn.proj(txt_out)
        img = img + img_mod[2] * self.img_attn.proj(img_out)
        txt = txt + txt_mod[5] * self.txt_mlp(_modulated(txt, *txt_mod[3:5]))
        img = img + img_mod[5] * self.img_mlp(_modulated(img, *img_mod[3:5]))
        return img, txt


class _Single(nn.Module):
    """Text and image in one row, attention and MLP beside each other."""

    def __init__(self, width: int, heads: int, inner: int):
        super().__init__()
        self.heads = heads
        self.modulation = _Modulation(width, 3)
        self.linear1 = nn.Linear(width, 3 * width + inner)
        self.norm = _Norms(width // heads)
        self.linear2 = nn.Linear(width + inner, width)

    def forward(self, x: Tensor, vec: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        shift, scale, gate = self.modulation(vec)
        row = self.linear1(_modulated(x, shift, scale))
        qkv, inner = row.split([3 * x.shape[-1], row.shape[-1] - 3 * x.shape[-1]], -1)
        out = attend(*self.norm(qkv, self.heads), turn)
        return x + gate * self.linear2(torch.cat([out, F.gelu(inner, approximate="tanh")], -1))


class _Last(nn.Module):
    def __init__(self, width: int, out: int):
        super().__init__()
        self.linear = _zero(nn.Linear(width, out))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), _zero(nn.Linear(width, 2 * width)))

    def forward(self, x: Tensor, vec: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(vec)[:, None].chunk(2, -1)
        return self.linear(_modulated(x, shift, scale))


def save_transformer(path: str | Path, weights: dict[str, Tensor], config: dict, **more) -> None:
    """Weights in fp16 under their own names, and the metadata: `transformer_config` as JSON, the others as text."""
    weights = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in weights.items()}
    save_file(weights, str(path), {"transformer_config": json.dumps(config)} | {k: str(v) for k, v in more.items()})


def read_transformer(path: str | Path = FILE) -> tuple[dict[str, Tensor], dict]:
    """-> weights in fp16; metadata with `transformer_config` as a dict, `latent_scale` and `shift` as numbers"""
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    numbers = {name: float(metadata[name]) for name in ("latent_scale", "shift")}
    return weights, metadata | numbers | {"transformer_config": json.loads(metadata["transformer_config"])}


def is_transformer(path: str | Path) -> bool:
    """Whether a model file holds the transformer alone, and not the UNet with its text encoder and VAE."""
    with safe_open(str(path), "pt") as file:
        return "transformer_config" in file.metadata()


def load_transformer(path: str | Path = FILE, device="cpu", dtype=torch.float32) -> tuple[Transformer, dict]:
    """-> the network, ready to run, and `read_transformer`'s metadata"""
    weights, metadata = read_transformer(path)
    model = Transformer(**metadata["transformer_config"])
    model.load_state_dict(weights)
    return model.to(device, dtype).eval().requires_grad_(False), metadata
