"""Text encoders that read a prompt as a whole: T5 and its kin, and language models with a template around it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Any

import torch

from ...spelling import byte_level, sentencepiece
from ...spelling.clip import Piece
from ...tokens import Kind, Stream, Token

Entry = tuple[Any, float, int]
"""A token or an embedding's vector, its weight, and its segment; 0 is start, end and padding."""
SPELLINGS: dict[str, Callable[[Iterable[Piece]], list[Token]]] = {
    **dict.fromkeys(("t5xxl", "pile_t5xl", "umt5xxl", "gemma2_2b"), sentencepiece.spell),
    **dict.fromkeys(
        ("qwen25_7b", "qwen25_3b", "qwen3_4b", "qwen3_8b", "qwen3vl_4b", "llama", "mistral3_24b", "gpt_oss"),
        byte_level.spell,
    ),
}
"""How the tokenizers spell that ComfyUI's CLIP calls so."""


def tokenizer_of(clip, name: str) -> Any:
    """The tokenizer of one of a CLIP's encoders."""
    return getattr(clip.tokenizer, name, None) or getattr(clip.tokenizer, f"clip_{name}")


def read(clip, name: str, chunks: list[list[tuple]], names: dict[int, str], kept: int | None = None) -> Stream:
    """The positions of a prompt in an encoder.

    Args:
        chunks: what its tokenizer made of the prompt.
        names: of embeddings, by their segments.
        kept: how many of the last positions the encoder hands on; None for all. Some cut their template off.
    """
    tokenizer = tokenizer_of(clip, name)
    chunks = [[_entry(pair) for pair in chunk] for chunk in chunks]
    text = [entry for chunk in chunks for entry in chunk if entry[2]]
    before, after = _template(clip, name, text) if SPELLINGS[name] is byte_level.spell else (0, 0)
    inside = text[before : len(text) - after]
    spelled = iter(
        [
            *(Token(token_id(token), "start") for token, _, _ in text[:before]),
            *SPELLINGS[name](_piece(entry, tokenizer, names) for entry in inside),
            *(Token(token_id(token), "end") for token, _, _ in text[len(text) - after :]),
        ]
    )
    tokens = laid_out(chunks, spelled, specials_of(tokenizer))
    tokens = tokens[max(len(tokens) - kept, 0) :] if kept is not None else tokens
    return Stream(tokens, len(chunks[0]) if len(chunks) > 1 else len(tokens))


def specials_of(tokenizer) -> tuple[Kind, ...]:
    """What each chunk has around its text before it is filled up."""
    given = (("start", tokenizer.start_token), ("end", tokenizer.end_token))
    return tuple(kind for kind, token in given if token is not None)


def laid_out(chunks: list[list[Entry]], spelled: Iterable[Token], specials: tuple[Kind, ...]) -> tuple[Token, ...]:
    """Chunks as tokens: those of the text one by one from `spelled`; `specials` are those that each has besides."""
    spelled, tokens = iter(spelled), []
    for chunk in chunks:
        special = iter(specials)
        for token, _, segment in chunk:
            tokens.append(next(spelled) if segment else Token(token_id(token), next(special, "pad")))
    return tuple(tokens)


def token_id(token: Any) -> int | str:
    if isinstance(token, torch.Tensor):
        return hashlib.sha1(token.detach().float().cpu().numpy().tobytes(), usedforsecurity=False).hexdigest()
    return int(token)


def _entry(pair: tuple) -> Entry:
    """Some tokenizers tell of no segments: they put no start, end or padding in."""
    token, weight, *segment = pair
    return token, weight, *(segment or [1])


def _piece(entry: Entry, tokenizer, names: dict[int, str]) -> Piece:
    token, _, segment = entry
    spelling = None if isinstance(token, torch.Tensor) else tokenizer.inv_vocab[token]
    return Piece(token_id(token), spelling, segment, names.get(segment, "embedding"))


def _template(clip, name: str, text: list[Entry]) -> tuple[int, int]:
    """How many tokens of a text a template put before and after the prompt: those that all prompts have."""
    probes = [clip.tokenize(probe, return_word_ids=True)[name] for probe in ("x", "\ue000")]
    one, other = (
        [token_id(entry[0]) for chunk in probe for entry in map(_entry, chunk) if entry[2]] for probe in probes
    )
    before, after = _shared(one, other), _shared(one[::-1], other[::-1])
    own = [token_id(token) for token, _, _ in text]
    if own[:before] != one[:before] or own[len(own) - after :] != one[len(one) - after :]:
        return 0, 0  # a prompt with a template of its own
    return before, after


def _shared(one: list[int], other: list[int]) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other))))
