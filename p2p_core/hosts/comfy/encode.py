"""Prompts as ComfyUI's text encoders see them."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import torch

from ...errors import EditError
from ...spelling.clip import Piece, spell
from ...tokens import Prompt, Stream, Token
from .architecture import SUPPORTED

_CLIP_NAMES = ("l", "g", "h")


def encode(clip, text: str) -> Prompt:
    """A prompt as `clip` sees it: weights, embeddings and chunks included. Its encoding is CONDITIONING.

    Raises:
        EditError: no CLIP is connected, or one of a model without UNet attention.
    """
    if clip is None:
        raise EditError("clip", "it is empty: the checkpoint has no text encoder.", "Load one with CLIPLoader.")
    encoders = clip.tokenize(text, return_word_ids=True)
    if not set(encoders) <= set(_CLIP_NAMES):
        raise EditError(
            "clip", f"this is a text encoder of {', '.join(encoders)}.", f"Prompt-to-prompt works with {SUPPORTED}."
        )
    name = min(encoders, key=lambda name: len(encoders[name]))
    tokens = _tokens(encoders[name], getattr(clip.tokenizer, f"clip_{name}"), text)
    plain = {key: [[pair[:2] for pair in chunk] for chunk in chunks] for key, chunks in encoders.items()}
    encoding = clip.encode_from_tokens_scheduled(plain)
    return Prompt(text, (Stream(tokens, len(encoders[name][0])),), encoding)


def _tokens(chunks: list[list[tuple]], tokenizer, text: str) -> tuple[Token, ...]:
    """ComfyUI's chunks of (token, weight, segment), segment 0 being start, end and padding, as tokens."""
    spelled = iter(_spell([(t, segment) for chunk in chunks for t, _, segment in chunk if segment], tokenizer, text))
    tokens = []
    for chunk in chunks:
        special = iter(["start", "end"])
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
    return spell(pieces, tokenizer.tokenizer.convert_tokens_to_string)


def _token_id(token: Any) -> int | str:
    if isinstance(token, torch.Tensor):
        return hashlib.sha1(token.detach().float().cpu().numpy().tobytes(), usedforsecurity=False).hexdigest()
    return int(token)
