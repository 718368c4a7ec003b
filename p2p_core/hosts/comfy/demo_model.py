"""The pack's own small models as ComfyUI's MODEL, CLIP and VAE."""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any

import comfy.latent_formats
import comfy.ldm.flux.model
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import folder_paths
import torch

from ...demo import layout as demo
from ...demo import transformer as demo_transformer


class _DemoLatent(comfy.latent_formats.SD15):
    """The demo's UNet takes latents as its VAE makes them, its transformer times a number near 1."""

    def __init__(self, scale: float = 1.0):
        super().__init__()
        self.scale_factor = scale
        # For the live preview: least squares from latents to the mean colours of what the VAE makes of them.
        self.latent_rgb_factors = [[0.02, 0.02, -0.27], [0.06, 0.38, 0.29], [0.25, 0.02, -0.05], [-0.44, -0.15, 0.06]]
        self.latent_rgb_factors_bias = [0.13, -0.03, -0.15]


class _DemoConfig(comfy.supported_models.SD15):
    latent_format = _DemoLatent


class _DemoTokenizer(comfy.sd1_clip.SD1Tokenizer):
    """CLIP's own, but for a warning where a word is used that the demo was not trained on."""

    words: frozenset[str] = frozenset()

    def tokenize_with_weights(self, text: str, return_word_ids=False, **kwargs):
        chunks = super().tokenize_with_weights(text, True, **kwargs)[self.clip_name]
        tokens = [token for chunk in chunks for token, _, segment in chunk if segment]
        pieces = (self.clip_l.inv_vocab.get(token, "") for token in tokens if not isinstance(token, torch.Tensor))
        written = "".join(pieces).replace("</w>", " ").split()
        unknown = [word for word in dict.fromkeys(written) if word.isalpha() and word not in self.words]
        if unknown:
            logging.warning(
                "The demo model does not know %s. Its words: %s.", ", ".join(unknown), ", ".join(sorted(self.words))
            )
        return super().tokenize_with_weights(text, return_word_ids, **kwargs)


ARCHITECTURES = ("unet", "transformer")


def load_demo(architecture: str = "unet") -> tuple[Any, Any, Any]:
    """One of the pack's own small models (128 x 128 pixels) as ordinary MODEL, CLIP and VAE objects.

    Both have one text encoder and one VAE.
    """
    tensors, metadata = demo.read()

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    model = _transformer() if architecture == "transformer" else _unet(metadata["unet_config"], part(demo.UNET))
    text = part(demo.TEXT)
    ids, rows = text.pop("embeddings.token_ids").long(), text.pop("embeddings.token_rows")
    text["embeddings.token_embedding.weight"] = rows.new_zeros(demo.VOCABULARY, rows.shape[1]).index_copy(0, ids, rows)
    tokenizer = type("DemoTokenizer", (_DemoTokenizer,), {"words": frozenset(metadata["words"])})
    clip = comfy.sd.CLIP(
        comfy.supported_models_base.ClipTarget(tokenizer, comfy.sd1_clip.SD1ClipModel),
        embedding_directory=folder_paths.get_folder_paths("embeddings"),
        model_options={"clip_l_model_config": metadata["clip_config"]},
    )
    clip.load_sd({f"text_model.{name}": tensor for name, tensor in text.items()})
    return model, clip, comfy.sd.VAE(sd=part(demo.VAE))


def _unet(sizes: dict[str, Any], weights: dict[str, torch.Tensor]):
    config = _DemoConfig({"use_spatial_transformer": True, "legacy": False, **sizes})
    config.unet_config["num_heads"] = sizes["num_heads"]  # which SD15 sets to 8
    return _loaded(config, weights)


def _transformer():
    """ComfyUI's own Flux class; its steps are Stable Diffusion 3's, from a time of 1 to 0."""
    weights, metadata = demo_transformer.read_transformer()
    known = {size.name for size in fields(comfy.ldm.flux.model.FluxParams)}
    sizes = {"txt_ids_dims": [], **metadata["transformer_config"]}
    sizes = {"image_model": "flux", **{name: size for name, size in sizes.items() if name in known}}
    config = comfy.supported_models.FluxSchnell(sizes)
    config.latent_format = _DemoLatent(metadata["latent_scale"])
    config.sampling_settings = {"multiplier": 1.0, "shift": metadata["shift"]}
    return _loaded(config, weights)


def _loaded(config, weights: dict[str, torch.Tensor]):
    """A ModelPatcher of the model that `config` describes."""
    device, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    parameters = sum(tensor.numel() for tensor in weights.values())
    dtype = comfy.model_management.unet_dtype(model_params=parameters)
    cast = comfy.model_management.unet_manual_cast(dtype, device, config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, cast)
    base = config.get_model({}, device=offload)
    base.load_model_weights(weights)
    return comfy.model_patcher.ModelPatcher(base, load_device=device, offload_device=offload)
