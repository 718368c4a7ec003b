"""Prompts as ComfyUI's text encoders see them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import torch

from ...errors import EditError
from ...spelling import clip as clip_spelling
from ...spelling import sentencepiece
from ...spelling.clip import Piece
from ...tokens import Kind, Prompt, Stream, Token
from .architecture import SUPPORTED
from .conditioning import Conditioning, pad, stack, tile

_CLIP_NAMES = ("l", "g", "h")
_T5 = "t5xxl"


def encode(clip, text: str) -> Prompt:
    """A prompt as `clip` sees it: weights, embeddings and chunks included. Its encoding is CONDITIONING.

    Raises:
        EditError: no CLIP is connected, or one of a model that can't be edited.
    """
    if clip is None:
        raise EditError("clip", "it is empty: the checkpoint has no text encoder.", "Load one with CLIPLoader.")
    encoders = clip.tokenize(text, return_word_ids=True)
    names = _in_context(clip, encoders)
    if not names:
        raise EditError(
            "clip", f"this is a text encoder of {', '.join(encoders)}.", f"Prompt-to-prompt works with {SUPPORTED}."
        )
    plain = {key: [[pair[:2] for pair in chunk] for chunk in chunks] for key, chunks in encoders.items()}
    encoding = clip.encode_from_tokens_scheduled(plain)
    return Prompt(text, tuple(_stream(name, encoders[name], clip.tokenizer, text) for name in names), encoding)


def encodings(prompts: Sequence[Prompt]) -> Conditioning:
    """What `encode` made of some prompts, as one with a row for each, as long as the longest.

    UNets' prompts, by CLIP alone, are tiled; others are filled up. A model's own `stack` has the last word: here
    none is known yet.
    """
    lengths_read = {tuple(stream.chunk for stream in prompt.streams) for prompt in prompts}
    by_clip_alone = len(lengths_read) == 1 and all(len(prompt.streams) == 1 for prompt in prompts)
    return stack([prompt.encoding for prompt in prompts], lengthen=tile if by_clip_alone else pad)


def _in_context(clip, encoders: dict[str, list]) -> list[str]:
    """The encoders whose positions the model attends to, in their order; one stands for those that share theirs.

    SD 3 has those of CLIP, both in one, and then those of T5, and any of the three may be missing; Flux has T5's.
    """
    clips, others = [name for name in encoders if name in _CLIP_NAMES], set(encoders) - set(_CLIP_NAMES)
    if others == {_T5} and clips:
        parts = clip.cond_stage_model
        clips = [name for name in clips if "g" in clips and getattr(parts, f"clip_{name}", None) is not None]
        others = others if getattr(parts, _T5, None) is not None else set()
    elif others:
        return []
    shared = [min(clips, key=lambda name: len(encoders[name]))] if clips else []
    return [*shared, *others]


def _stream(name: str, chunks: list[list[tuple]], tokenizer, text: str) -> Stream:
    is_clip = name in _CLIP_NAMES
    tokenizer = getattr(tokenizer, f"clip_{name}" if is_clip else name)
    tokens = _tokens(chunks, tokenizer, text, ("start", "end") if is_clip else ("end",))
    return Stream(tokens, len(chunks[0]))


def _tokens(chunks: list[list[tuple]], tokenizer, text: str, specials: tuple[Kind, ...]) -> tuple[Token, ...]:
    """ComfyUI's chunks of (token, weight, segment), segment 0 being start, end and padding, as tokens.

    `specials`: those that a chunk has before its padding.
    """
    spelled = iter(_spell([(t, segment) for chunk in chunks for t, _, segment in chunk if segment], tokenizer, text))
    tokens = []
    for chunk in chunks:
        special = iter(specials)
        for token, _, segment in chunk:
            tokens.append(next(spelled) if segment else Token(_token_id(token), next(special, "pad")))
    return tuple(tokens)


def _spell(segments: list[tuple[Any, int]], tokenizer, text: str) -> list[Token]:
    embeddings = iter(re.findall(r"embedding:([^\s,:()]+)", text))
    pieces, last = [], None
    for token, segment in segments:
        vector = isinstance(token, torch.Tensor)
        name = next(embeddings, "embedding") if vector and segment != last else ""
        pieces.append(Piece(_token_id(token), None if vector else tokenizer.inv_vocab[token], segment, name))
        last = segment
    if tokenizer.embedding_key == _T5:
        return sentencepiece.spell(pieces)
    return clip_spelling.spell(pieces, tokenizer.tokenizer.convert_tokens_to_string)


def _token_id(token: Any) -> int | str:
    if isinstance(token, torch.Tensor):
        return hashlib.sha1(token.detach().float().cpu().numpy().tobytes(), usedforsecurity=False).hexdigest()
    return int(token)
