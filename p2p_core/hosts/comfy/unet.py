"""ComfyUI's UNets: their attention layers, and the patch that edits them."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator

import comfy.ldm.modules.attention as comfy_attention
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, Upsample

from ...errors import EditError
from ...layers import Layer
from ...run import Chunk, Run

SUPPORTED = "SD 1.x, SD 2.x and SDXL, and models with their UNet"


def attention_layers(model) -> list[Layer]:
    """The attention layers of a ModelPatcher's UNet in the order in which it runs them, read from its modules.

    Raises:
        EditError: the model has none.
    """
    unet = model.get_model_object("diffusion_model")
    layers: list[Layer] = []
    level = 0
    if hasattr(unet, "input_blocks"):
        blocks = [("input", i, f"input_blocks.{i}", block) for i, block in enumerate(unet.input_blocks)]
        blocks += [("middle", 0, "middle_block", unet.middle_block)] if unet.middle_block is not None else []
        blocks += [("output", i, f"output_blocks.{i}", block) for i, block in enumerate(unet.output_blocks)]
        for name, number, path, block in blocks:
            level += any(isinstance(module, Downsample) for module in block.modules())
            for index, transformer in enumerate(_transformers(model, f"diffusion_model.{path}", block)):
                layers += _transformer_layers(name, number, index, transformer, level)
            level -= any(isinstance(module, Upsample) for module in block.modules())
    if not any(layer.kind == "cross" for layer in layers):
        raise EditError(
            f"model: {type(model.model).__name__} has no UNet cross-attention. Prompt-to-prompt edits its maps "
            f"and works with {SUPPORTED}; not with Flux, SD 3 and other transformers."
        )
    return layers


def _transformers(model, path: str, block) -> Iterator[comfy_attention.BasicTransformerBlock]:
    """The transformers of a block, which are `model`'s own.

    What stands in the UNet may be another's: packs put wrappers in a transformer's place, and the
    host leaves them there until another model is loaded. So the patcher is asked for each by name.
    """
    for below, spatial in block.named_modules():
        if isinstance(spatial, comfy_attention.SpatialTransformer):
            for index in range(len(spatial.transformer_blocks)):
                name = ".".join(filter(None, (path, below, "transformer_blocks", str(index))))
                found = model.get_model_object(name)
                inside = found.modules() if isinstance(found, torch.nn.Module) else ()
                own = next((m for m in inside if isinstance(m, comfy_attention.BasicTransformerBlock)), None)
                if own is None:
                    raise EditError(
                        f"model: another node has put a {type(found).__name__} in the place of {name}, where "
                        "prompt-to-prompt looks for attention. Take that node out of the model that goes in here."
                    )
                yield own


def _transformer_layers(name: str, number: int, index: int, transformer, level: int) -> list[Layer]:
    return [
        Layer(name, number, index, kind, level, attention.heads, attention.dim_head)
        for kind, attention in (("self", transformer.attn1), ("cross", transformer.attn2))
        if attention is not None and (kind == "cross" or not transformer.disable_self_attn)
    ]


class AttentionPatch:
    """A replace patch: the attention layers of one block and kind within a run.

    What a patch of another pack makes of the attention stays, and the edit is added to it.
    """

    def __init__(self, run: Run, layers: list[Layer], chunks: dict[uuid.UUID, bool], previous: Callable | None):
        self.run = run
        self.layers = {layer.index: layer for layer in layers}
        self.chunks = chunks
        self.previous = previous
        self.heard: set[Layer] = set()

    def __call__(self, q, k, v, extra_options, **kwargs):
        def attend(q, k, v):
            return comfy_attention.optimized_attention(
                q,
                k,
                v,
                extra_options["n_heads"],
                attn_precision=extra_options.get("attn_precision"),
                transformer_options=extra_options,
            )

        previous = None
        if self.previous is not None:

            def previous(q, k, v):
                return self.previous(q, k, v, extra_options, **kwargs)

        layer = self.layers[extra_options["block_index"]]
        chunks = self._chunks(q, k, layer, extra_options)
        if previous is not None and layer.kind == "cross" and chunks and layer not in self.heard:
            self.heard.add(layer)
            self._check_previous(previous, q, k, v, layer, chunks[0])
        size = tuple(extra_options["original_shape"][-2:])
        return self.run.attention(q, k, v, layer, extra_options["n_heads"], chunks, size, attend, previous)

    def to(self, *args, **kwargs):
        """Passed on: the host moves patches that hold tensors along with the model."""
        if hasattr(self.previous, "to"):
            self.previous = self.previous.to(*args, **kwargs)
        return self

    def __deepcopy__(self, memo):
        """Copies of the model, as the host makes for a second device, belong to the same run."""
        return self

    def _chunks(self, q, k, layer: Layer, extra_options) -> list[Chunk]:
        uuids = extra_options["uuids"]
        rows = len(self.run.rows)
        if len(q) != len(k) or len(q) != rows * len(uuids):
            raise EditError(
                f"{layer.kind}-attention of block {layer.name} got {len(q)} rows of queries and {len(k)} of "
                f"keys where {rows * len(uuids)} were expected. Another node that rearranges them is on the model: "
                "HyperTile and MSW-MSA cut self-attention into tiles, attention-couple and regional-prompt nodes "
                "multiply cross-attention, TiledDiffusion does both unless its tile_batch_size is 1, context windows "
                "take some of a batch at a time. Take it out of the model that goes into this sampler."
            )
        places = math.prod(extra_options["activations_shape"][-2:])
        if layer.kind == "self" and q.shape[1] != places:
            raise EditError(
                f"self-attention of block {layer.name} got {q.shape[1]} places of the picture where it has {places}. "
                "Another node on the model merges them, each picture's in its own way, such as TomePatchModel: take "
                "it out, or keep the edit out of this layer with self_layers or blocks of AttentionInjectSchedule."
            )
        return [Chunk(i * rows, self.chunks[key]) for i, key in enumerate(uuids) if key in self.chunks]

    def _check_previous(self, previous: Callable, q, k, v, layer: Layer, chunk: Chunk) -> None:
        """The edit is added to what another patch makes of the prompts; some make nothing of them."""
        rows = slice(chunk.base, chunk.base + len(self.run.rows))
        if torch.equal(previous(q, k, v)[rows], previous(q, k, -v)[rows]):
            raise EditError(
                f"cross-attention of block {layer.name}: another node on the model puts prompts of its own in the "
                "place of the edit's, as Attention couple and other regional-prompt nodes do. Take it out of the model "
                "that goes into this sampler."
            )


def context_width(model) -> int:
    for module in model.get_model_object("diffusion_model").modules():
        if isinstance(module, comfy_attention.BasicTransformerBlock) and module.attn2 is not None:
            return module.attn2.to_k.in_features
    raise AssertionError("checked by attention_layers")
