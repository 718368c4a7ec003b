"""The parts of a diffusers pipeline: prompts by its tokenizer, attention layers of its UNet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import EditError
from ...layers import Layer
from ...spelling.clip import Piece, spell
from ...tokens import Prompt, Token


def read_prompt(pipe, text: str) -> Prompt:
    """A prompt as the pipeline's text encoders see it: cut after 77 tokens, textual inversions in place."""
    tokenizer = getattr(pipe, "tokenizer", None) or getattr(pipe, "tokenizer_2", None)
    if tokenizer is None or not hasattr(pipe, "unet"):
        raise EditError(f"pipe: {type(pipe).__name__} has no UNet with CLIP text encoders; SD 1.x, 2.x and SDXL have.")
    expanded = pipe.maybe_convert_prompt(text, tokenizer) if hasattr(pipe, "maybe_convert_prompt") else text
    length = tokenizer.model_max_length
    encoded = tokenizer(expanded, padding="max_length", max_length=length, truncation=True)
    return Prompt(text, _tokens(tokenizer, encoded), chunk=length)


def _tokens(tokenizer, encoded) -> tuple[Token, ...]:
    ids = encoded.input_ids
    used = sum(encoded.attention_mask)  # start, text, end; the rest is padding, whatever its id
    inversions = set(tokenizer.get_added_vocab()) - set(tokenizer.all_special_tokens)
    segments = encoded.word_ids() if encoded.is_fast else [0] * len(ids)
    pieces = []
    for i in range(1, used - 1):
        spelling = tokenizer.convert_ids_to_tokens(ids[i])
        segment = -1 - i if spelling in inversions else segments[i]
        pieces.append(Piece(ids[i], spelling, segment))
    text = spell(pieces, tokenizer.convert_tokens_to_string)
    padding = (Token(i, "pad") for i in ids[used:])
    return (Token(ids[0], "start"), *text, Token(ids[used - 1], "end"), *padding)


def attention_layers(unet) -> list[tuple[Layer, Any]]:
    """The attention layers of a UNet in the order in which it runs them, named as ComfyUI names its blocks.

    Raises:
        EditError: the model has none.
    """
    layers: list[tuple[Layer, Any]] = []
    if all(hasattr(unet, name) for name in ("down_blocks", "mid_block", "up_blocks")):
        number = 1  # input:0 is conv_in
        for level, block in enumerate(unet.down_blocks):
            for spatial in _spatial(block):
                layers += _transformer_layers("input", number, spatial, level)
                number += 1
            number += getattr(block, "downsamplers", None) is not None
        coarsest = len(unet.down_blocks) - 1
        for spatial in getattr(unet.mid_block, "attentions", None) or ():
            layers += _transformer_layers("middle", 0, spatial, coarsest)
        number = 0
        for depth, block in enumerate(unet.up_blocks):
            for spatial in _spatial(block):
                layers += _transformer_layers("output", number, spatial, coarsest - depth)
                number += 1
    if not any(layer.kind == "cross" for layer, _ in layers):
        raise EditError(
            f"pipe: {type(unet).__name__} has no UNet cross-attention. Prompt-to-prompt edits its maps and works with "
            "SD 1.x, SD 2.x and SDXL; not with Flux, SD 3 and other transformers."
        )
    return layers


def _spatial(block) -> Sequence[Any]:
    """A block's spatial transformers, one for each residual block, None where it has none."""
    return getattr(block, "attentions", None) or [None] * len(block.resnets)


def _transformer_layers(block: str, number: int, spatial, level: int) -> Iterator[tuple[Layer, Any]]:
    for index, transformer in enumerate(getattr(spatial, "transformer_blocks", ())):
        for attention in filter(None, (transformer.attn1, transformer.attn2)):
            kind = "cross" if attention.is_cross_attention else "self"
            heads = attention.heads
            yield Layer(block, number, index, kind, level, heads, attention.inner_dim // heads), attention
