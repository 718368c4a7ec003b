"""The file of the demo model: one safetensors in the shape of a Stable Diffusion 1.x checkpoint.

Names on the left are the file's (ComfyUI's UNetModel, CLIP text and TAESD), on the right diffusers' and transformers':

    model.diffusion_model.*                        UNet2DConditionModel
    cond_stage_model.transformer.text_model.*      CLIPTextModel, its token table stored compactly
    first_stage_model.taesd_{encoder,decoder}.*    AutoencoderTiny

Here are only names and tensors; `modules.py` makes the networks. Latents are used as the VAE gives them (scale 1).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]

FILE = Path(__file__).with_name("demo_model.safetensors")
UNET, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.transformer.text_model.", "first_stage_model."
VOCABULARY = 49408  # rows of CLIP's token table

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def unet_name(name: str, resnets: int) -> str:
    """diffusers' name of a UNet weight -> UNetModel's, for `resnets` residual blocks a level, all with attention."""
    owner, kind = name.rsplit(".", 1)
    if owner in _OUTSIDE:
        return f"{_OUTSIDE[owner]}.{kind}"
    side, level, part, index, rest = re.fullmatch(
        r"(down|mid|up)_blocks?(?:\.(\d+))?\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", name
    ).groups()
    index = int(index)
    if part == "resnets":
        inner, _, kind = rest.partition(".")
        rest = f"{_RESNET[inner]}.{kind}"
    if side == "mid":
        return f"middle_block.{2 * index if part == 'resnets' else 1}.{rest}"
    first = (resnets + 1) * int(level)
    if part == "downsamplers":
        return f"input_blocks.{first + resnets + 1}.0.op.{kind}"
    if part == "upsamplers":
        return f"output_blocks.{first + resnets}.2.conv.{kind}"
    block = f"input_blocks.{first + index + 1}" if side == "down" else f"output_blocks.{first + index}"
    return f"{block}.{0 if part == 'resnets' else 1}.{rest}"


def vae_name(name: str) -> str:
    """AutoencoderTiny's name -> TAESD's, whose decoder counts the clamp before the first convolution as a layer."""
    side, index, rest = re.fullmatch(r"(encoder|decoder)\.layers\.(\d+)\.(.+)", name).groups()
    return f"taesd_{side}.{int(index) + (side == 'decoder')}.{rest}"


def pack(unet: Tensors, text: Tensors, vae: Tensors, resnets: int, token_ids: torch.Tensor) -> Tensors:
    """Three state dicts -> the file's tensors in fp16. text: CLIP's text_model, its table reduced to `token_ids`."""
    out = {UNET + unet_name(name, resnets): tensor for name, tensor in unet.items()}
    out |= {VAE + vae_name(name): tensor for name, tensor in vae.items()}
    out |= {
        TEXT + name: tensor for name, tensor in text.items() if not name.endswith(("token_embedding.weight", "_ids"))
    }
    out[TEXT + "embeddings.token_rows"] = text["embeddings.token_embedding.weight"]
    out = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in out.items()}
    return out | {
        TEXT + "embeddings.token_ids": token_ids.to("cpu", torch.int32),
        VAE + "vae_scale": torch.tensor(1.0),
        VAE + "vae_shift": torch.tensor(0.0),
    }


def unpack(
    tensors: Tensors, unet_names: list[str], vae_names: list[str], resnets: int
) -> tuple[Tensors, Tensors, Tensors]:
    """The file's tensors -> state dicts of UNet2DConditionModel, CLIP's text_model and AutoencoderTiny, in fp32."""
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    unet = {name: tensors[UNET + unet_name(name, resnets)] for name in unet_names}
    vae = {name: tensors[VAE + vae_name(name)] for name in vae_names}
    text = {name.removeprefix(TEXT): tensor for name, tensor in tensors.items() if name.startswith(TEXT)}
    ids, rows = text.pop("embeddings.token_ids").long(), text.pop("embeddings.token_rows")
    text["embeddings.token_embedding.weight"] = rows.new_zeros(VOCABULARY, rows.shape[1]).index_copy(0, ids, rows)
    return unet, text, vae


def read(path: str | Path = FILE) -> tuple[Tensors, dict]:
    """The file's tensors and its metadata: `unet_config` and `clip_config` as dicts, `words` as a list."""
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    configs = {name: json.loads(metadata[name]) for name in ("unet_config", "clip_config")}
    return tensors, metadata | configs | {"words": metadata["words"].split()}


def write(path: str | Path, tensors: Tensors, unet_config: dict, clip_config: dict, words: list[str], **more) -> None:
    metadata = {
        "unet_config": json.dumps(unet_config),
        "clip_config": json.dumps(clip_config),
        "words": " ".join(words),
    }
    save_file(tensors, str(path), metadata | {name: str(value) for name, value in more.items()})
