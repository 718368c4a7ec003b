"""Prompts as ComfyUI's text encoders see them."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import EditError
from ...spelling.clip import Piece, spell
from ...tokens import Prompt, Stream, Token
from .architecture import SUPPORTED

_CLIP_NAMES = ("l", "g", "h")


def encode(clip, text: str, input: str = "clip") -> Prompt:
    """A prompt as `clip` sees it: weights, embeddings and chunks included. Its encoding is CONDITIONING.

    Args:
        input: the name of the input that the text comes from.

    Raises:
        EditError: no CLIP is connected, or one of a model without UNet attention; an embedding that moves words apart.
    """
    if clip is None:
        raise EditError("clip", "it is empty: the checkpoint has no text encoder.", "Connect one with CLIPLoader.")
    encoders = clip.tokenize(text, return_word_ids=True)
    if not set(encoders) <= set(_CLIP_NAMES):
        raise EditError(
            "clip", f"this is a text encoder of {', '.join(encoders)}.", f"Prompt-to-prompt works with {SUPPORTED}."
        )
    plain = {key: [[pair[:2] for pair in chunk] for chunk in chunks] for key, chunks in encoders.items()}
    heard = {name: _hear(getattr(clip.tokenizer, f"clip_{name}"), text) for name in encoders}
    encoders = {name: _as_encoded(chunks, _width(clip, name)) for name, chunks in encoders.items()}
    name = min(encoders, key=lambda name: (len(encoders[name]), -len(_text_of(encoders[name]))))
    for other in encoders:
        _check_same_places(_text_of(encoders[other]), _text_of(encoders[name]), _unshared(encoders, heard), input)
    tokens = _tokens(encoders[name], getattr(clip.tokenizer, f"clip_{name}"), heard[name])
    encoding = clip.encode_from_tokens_scheduled(plain)
    return Prompt(text, (Stream(tokens, len(encoders[name][0])),), encoding)


@dataclass
class _Heard:
    """What a tokenizer made of a prompt: for each segment, counted from 1, its text or its embedding's name."""

    texts: dict[int, str] = field(default_factory=dict)
    embeddings: dict[int, str] = field(default_factory=dict)

    @property
    def next(self) -> int:
        return len(self.texts) + len(self.embeddings) + 1


def _hear(tokenizer, text: str) -> _Heard:
    """Listen to a tokenizer while it reads a prompt: it alone knows which embeddings there are, and where they end."""
    heard, listening = _Heard(), copy.copy(tokenizer)

    def read(words, *args, **kwargs):
        heard.texts[heard.next] = words
        return tokenizer.tokenizer(words, *args, **kwargs)

    def look_up(name):
        found, rest = tokenizer._try_get_embedding(name)
        if found is not None:
            heard.embeddings[heard.next] = name.split()[0].strip(",")
        return found, rest

    listening.tokenizer, listening._try_get_embedding = read, look_up
    listening.tokenize_with_weights(text, return_word_ids=True)
    return heard


def _text_of(chunks: list[list[tuple]]) -> list[tuple[Any, int]]:
    """(token, segment) of the text alone; segment 0 is start, end and padding."""
    return [(token, segment) for chunk in chunks for token, _, segment in chunk if segment]


def _width(clip, name: str) -> int:
    """How many numbers one of the encoders has for a token."""
    encoder = getattr(getattr(clip, "cond_stage_model", None), f"clip_{name}", None)
    if encoder is None:
        return getattr(clip.tokenizer, f"clip_{name}").embedding_size
    return encoder.transformer.get_input_embeddings().weight.shape[-1]


def _as_encoded(chunks: list[list[tuple]], width: int) -> list[list[tuple]]:
    """Chunks without the vectors of another width, which the encoder leaves out: those of another model's embedding."""
    fitting = [
        [entry for entry in chunk if not isinstance(entry[0], torch.Tensor) or entry[0].shape[-1] == width]
        for chunk in chunks
    ]
    return [some + [(chunk[-1][0], 1.0, 0)] * (len(chunk) - len(some)) for some, chunk in zip(fitting, chunks)]


def _unshared(encoders: dict[str, list[list[tuple]]], heard: dict[str, _Heard]) -> list[str]:
    """The names of embeddings of which not all encoders have the same vectors, in number."""
    counts = [
        Counter(heard[name].embeddings.get(segment) for _, segment in _text_of(chunks))
        for name, chunks in encoders.items()
    ]
    return [name for name in dict.fromkeys(n for count in counts for n in count) if len({c[name] for c in counts}) > 1]


def _check_same_places(some: list[tuple], most: list[tuple], unshared: list[str], input: str) -> None:
    """Two encoders share their positions: each word has to be at the same ones, as far as both have words."""
    shape = [[None if isinstance(token, torch.Tensor) else token for token, _ in text] for text in (some, most)]
    if any(a != b for a, b in zip(*shape)):
        names = ", ".join(f"'{name}'" for name in unshared if name)
        raise EditError(
            input,
            f"the embedding {names} isn't the same length in the two text encoders of this model, so the words after "
            "it lie at different places in the two.",
            "Write it at the end of the prompt, or use one that was made for this model.",
        )


def _tokens(chunks: list[list[tuple]], tokenizer, heard: _Heard) -> tuple[Token, ...]:
    """ComfyUI's chunks of (token, weight, segment) as tokens."""
    pieces = [
        Piece(
            _token_id(token),
            None if isinstance(token, torch.Tensor) else tokenizer.inv_vocab[token],
            segment,
            heard.embeddings.get(segment, "embedding"),
        )
        for token, segment in _text_of(chunks)
    ]
    spelled = iter(spell(pieces, heard.texts))
    tokens = []
    for chunk in chunks:
        special = iter(["start", "end"])
        for token, _, segment in chunk:
            tokens.append(next(spelled) if segment else Token(_token_id(token), next(special, "pad")))
    return tuple(tokens)


def _token_id(token: Any) -> int | str:
    if isinstance(token, torch.Tensor):
        return hashlib.sha1(token.detach().float().cpu().numpy().tobytes(), usedforsecurity=False).hexdigest()
    return int(token)
