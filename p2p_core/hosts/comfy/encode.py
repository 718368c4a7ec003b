"""Prompts as ComfyUI's text encoders see them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ...errors import EditError
from ...spelling import clip as clip_spelling
from ...spelling.clip import Piece
from ...tokens import Prompt, Stream
from .architecture import SUPPORTED
from .conditioning import Conditioning, pad, stack, tile
from .joint_prompts import packed
from .readers import SPELLINGS, laid_out, read, token_id, tokenizer_of

_CLIP_NAMES = ("l", "g", "h")
_T5, _LLAMA, _ADAPTED = "t5xxl", "llama", "qwen3_06b"


def encode(clip, text: str, input: str = "clip") -> Prompt:
    """A prompt as `clip` sees it: weights, embeddings and chunks included. Its encoding is CONDITIONING.

    Args:
        input: the name of the input that the text comes from.

    Raises:
        EditError: no CLIP is connected, or one of a model that can't be edited; an embedding without a name, or one
            that moves words apart.
    """
    if clip is None:
        raise EditError("clip", "it is empty: the checkpoint has no text encoder.", "Load one with CLIPLoader.")
    encoders = _tokenized(clip, text, input)
    names = _in_context(clip, encoders)
    if not names:
        raise EditError(
            "clip", f"this is a text encoder of {', '.join(encoders)}.", f"Prompt-to-prompt works with {SUPPORTED}."
        )
    plain = {key: [[pair[:2] for pair in chunk] for chunk in chunks] for key, chunks in encoders.items()}
    encoding = clip.encode_from_tokens_scheduled(plain)
    streams = []
    if clips := [name for name in names if name in _CLIP_NAMES]:
        streams.append(_of_clip(clip, {name: encoders[name] for name in clips}, text, input))
    for name in names[len(clips) :]:
        embeddings = _hear(tokenizer_of(clip, name), text).embeddings if name == _T5 else {}
        kept = encoding[0][0].shape[1] if len(names) == 1 and encoding and "t5xxl_ids" not in encoding[0][1] else None
        streams.append(read(clip, name, encoders[name], embeddings, kept))
    return Prompt(text, tuple(streams), encoding)


def encodings(prompts: Sequence[Prompt]) -> Conditioning:
    """What `encode` made of some prompts, as one with a row for each, as long as the longest.

    UNets' prompts, by CLIP alone, are tiled; others are filled up. A model's own `stack` has the last word: here
    none is known yet.
    """
    lengths_read = {tuple(stream.chunk for stream in prompt.streams) for prompt in prompts}
    by_clip_alone = len(lengths_read) == 1 and all(len(prompt.streams) == 1 for prompt in prompts)
    made = [prompt.encoding for prompt in prompts]
    made = [packed(encoding) for encoding in made] if len(made) > 1 else made
    return stack(made, lengthen=tile if by_clip_alone else pad)


def _tokenized(clip, text: str, input: str) -> dict[str, list[list[tuple]]]:
    try:
        return clip.tokenize(text, return_word_ids=True)
    except IndexError:
        # The host takes the first word after "embedding:" without asking whether there is one.
        if "embedding:" not in text:
            raise
        raise EditError(
            input, "there is no name after 'embedding:' in it.", "Write the embedding's name there, or take it out."
        ) from None


def _in_context(clip, encoders: dict[str, list]) -> list[str]:
    """The encoders whose positions the model attends to, in their order; those of CLIP share theirs.

    SD 3 has those of CLIP, both in one, and then those of T5, and any of the three may be missing; Flux has T5's;
    HiDream T5's and then Llama's twice; Anima T5's, for which Qwen's are looked at.
    """
    clips, others = [name for name in encoders if name in _CLIP_NAMES], set(encoders) - set(_CLIP_NAMES)
    if not others <= {*SPELLINGS, _ADAPTED} or len(others) > 2:
        return []
    if others == {_T5, _ADAPTED}:
        return [_T5]
    if others == {_T5, _LLAMA}:
        return [_T5, _LLAMA, _LLAMA]
    if others == {_T5} and clips:
        parts = clip.cond_stage_model
        clips = [name for name in clips if "g" in clips and getattr(parts, f"clip_{name}", None) is not None]
        others = others if getattr(parts, _T5, None) is not None else set()
    elif others and (clips or len(others) > 1):
        return []
    return [*clips, *others]


def _of_clip(clip, encoders: dict[str, list[list[tuple]]], text: str, input: str) -> Stream:
    """The positions that CLIP's encoders share.

    Raises:
        EditError: an embedding moves words apart.
    """
    tokenizers = {name: getattr(clip.tokenizer, f"clip_{name}") for name in encoders}
    heard = {name: _hear(tokenizer, text) for name, tokenizer in tokenizers.items()}
    encoders = {name: _as_encoded(chunks, _width(clip, name)) for name, chunks in encoders.items()}
    name = min(encoders, key=lambda name: (len(encoders[name]), -len(_text_of(encoders[name]))))
    for other in encoders:
        _check_same_places(_text_of(encoders[other]), _text_of(encoders[name]), _unshared(encoders, heard), input)
    chunks, tokenizer = encoders[name], tokenizers[name]
    spelled = clip_spelling.spell(_pieces(chunks, tokenizer, heard[name]), heard[name].texts)
    return Stream(laid_out(chunks, spelled, ("start", "end")), len(chunks[0]))


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
        found, *called, _ = looked_up = tokenizer._try_get_embedding(name)
        if found is not None:
            # Newer ComfyUIs say how the embedding is called, since a name ends at a bracket there.
            [called] = called or name.split()[:1]
            heard.embeddings[heard.next] = called.strip(",")
        return looked_up

    listening.tokenizer, listening._try_get_embedding = read, look_up
    listening.tokenize_with_weights(text, return_word_ids=True)
    return heard


def _text_of(chunks: list[list[tuple]]) -> list[tuple[Any, int]]:
    """(token, segment) of the text alone; segment 0 is start, end and padding."""
    return [(token, segment) for chunk in chunks for token, _, segment in chunk if segment]


def _width(clip, name: str) -> int:
    """How many numbers one of the encoders has for a token."""
    encoder = getattr(getattr(clip, "cond_stage_model", None), f"clip_{name}", None)
    transformer = getattr(encoder, "transformer", None)
    if transformer is None:
        return getattr(clip.tokenizer, f"clip_{name}").embedding_size
    return transformer.get_input_embeddings().weight.shape[-1]


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


def _pieces(chunks: list[list[tuple]], tokenizer, heard: _Heard) -> list[Piece]:
    """The text's tokens with their spelling, segment and, for the vectors of an embedding, its name."""
    return [
        Piece(
            token_id(token),
            None if isinstance(token, torch.Tensor) else tokenizer.inv_vocab[token],
            segment,
            heard.embeddings.get(segment, "embedding"),
        )
        for token, segment in _text_of(chunks)
    ]
