"""The pack's own small model as ComfyUI's MODEL, CLIP and VAE."""

from __future__ import annotations

import logging
from typing import Any

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import folder_paths
import torch

from ...demo import layout as demo


class _DemoLatent(comfy.latent_formats.SD15):
    """The demo's UNet takes latents as its VAE makes them."""

    def __init__(self):
        super().__init__()
        self.scale_factor = 1.0
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


def load_demo() -> tuple[Any, Any, Any]:
    """The pack's own small model (128 x 128 pixels) as ordinary MODEL, CLIP and VAE objects."""
    tensors, metadata = demo.read()

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    sizes = {"use_spatial_transformer": True, "legacy": False, **metadata["unet_config"]}
    config = _DemoConfig(sizes)
    config.unet_config["num_heads"] = sizes["num_heads"]  # which SD15 sets to 8
    device, offload = comfy.model_management.get_torch_device(), comfy.model_management.unet_offload_device()
    weights = part(demo.UNET)
    parameters = sum(tensor.numel() for tensor in weights.values())
    dtype = comfy.model_management.unet_dtype(model_params=parameters)
    cast = comfy.model_management.unet_manual_cast(dtype, device, config.supported_inference_dtypes)
    config.set_inference_dtype(dtype, cast)
    base = config.get_model({}, device=offload)
    base.load_model_weights(weights)
    model = comfy.model_patcher.ModelPatcher(base, load_device=device, offload_device=offload)

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
