"""The attention layers of a pipeline's UNet."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from prompt_to_prompt.p2p_core.hosts.diffusers.unet import attention_layers


def test_full_sd1_has_the_layers_of_cross_attention_control():
    sizes = {"cross_attention_dim": 768, "attention_head_dim": 8, "block_out_channels": (320, 640, 1280, 1280)}
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, **sizes)
    layers = [layer for layer, _ in attention_layers(unet)]
    assert [layer.kind for layer in layers] == ["self", "cross"] * 16
    shapes = [((64 >> layer.level) ** 2, layer.head_dim) for layer in layers if layer.kind == "cross"]
    down = [(4096, 40)] * 2 + [(1024, 80)] * 2 + [(256, 160)] * 2
    assert shapes == [*down, (64, 160), *[(256, 160)] * 3, *[(1024, 80)] * 3, *[(4096, 40)] * 3]
    assert {layer.heads for layer in layers} == {8}
    assert list(dict.fromkeys(layer.name for layer in layers)) == [
        *(f"input:{i}" for i in (1, 2, 4, 5, 7, 8)), "middle:0", *(f"output:{i}" for i in range(3, 12)),
    ]  # fmt: skip
