"""Prompts as a pipeline's tokenizers see them."""

from __future__ import annotations

import inspect
import re
from itertools import accumulate

from ...errors import EditError
from ...spelling import sentencepiece
from ...spelling.clip import END, Piece, spell
from ...tokens import Prompt, Stream, Token
from .transformer import KINDS


def read_prompt(pipe, text: str, max_sequence_length: int | None = None) -> Prompt:
    """A prompt as the pipeline's network attends to it: cut where the text encoders cut it.

    CLIP's 77 tokens with textual inversions in place; of SD 3 T5's after them, of Flux.1 T5's alone.

    Args:
        max_sequence_length: of T5; None is the pipeline's default.

    Raises:
        EditError: the pipeline has no such text encoders.
    """
    kind = KINDS.get(type(getattr(pipe, "transformer", None)).__name__)
    clips = getattr(pipe, "tokenizer", None) or getattr(pipe, "tokenizer_2", None)
    if kind is None and (clips is None or not hasattr(pipe, "unet")):
        raise EditError(
            "pipe",
            f"{type(pipe).__name__} is not a pipeline whose prompts can be edited.",
            "Use one for SD 1.x, SD 2.x, SDXL, SD 3.x or Flux.1, with its tokenizers.",
        )
    if kind is None:
        return Prompt(text, (_of_clip(pipe, clips, text),))
    length = max_sequence_length or inspect.signature(pipe.__call__).parameters["max_sequence_length"].default
    streams = [_of_clip(pipe, getattr(pipe, name), text) for name in kind.clip]
    return Prompt(text, (*streams, _of_t5(getattr(pipe, kind.t5), text, length)))


def _of_clip(pipe, tokenizer, text: str) -> Stream:
    expanded = pipe.maybe_convert_prompt(text, tokenizer) if hasattr(pipe, "maybe_convert_prompt") else text
    length = tokenizer.model_max_length
    encoded = tokenizer(expanded, padding="max_length", max_length=length, truncation=True)
    return Stream(_tokens(tokenizer, expanded, encoded), length)


def _of_t5(tokenizer, text: str, length: int) -> Stream:
    """Without T5 a pipeline has as many positions that say nothing."""
    if tokenizer is None:
        return Stream((Token(0, "pad"),) * length, length)
    encoded = tokenizer(text, padding="max_length", max_length=length, truncation=True)
    ids, used = encoded.input_ids, sum(encoded.attention_mask)
    spellings = tokenizer.convert_ids_to_tokens(ids[: used - 1])
    spelled = sentencepiece.spell(Piece(i, spelling, 1) for i, spelling in zip(ids, spellings))
    return Stream((*spelled, Token(ids[used - 1], "end"), *(Token(i, "pad") for i in ids[used:])), length)


def _tokens(tokenizer, expanded: str, encoded) -> tuple[Token, ...]:
    ids = encoded.input_ids
    used = sum(encoded.attention_mask)  # start, text, end; the rest is padding, whatever its id
    inversions = set(tokenizer.get_added_vocab()) - set(tokenizer.all_special_tokens)
    spellings = {i: tokenizer.convert_ids_to_tokens(ids[i]) for i in range(1, used - 1)}
    if not any(spelling.endswith(END) for spelling in spellings.values()):  # no CLIP's: its words are all that is known
        segments = encoded.word_ids() if encoded.is_fast else range(len(ids))
        text = spell(Piece(ids[i], spelling, segments[i]) for i, spelling in spellings.items())
    else:
        is_word = [spelling in inversions for spelling in spellings.values()]
        starts = (own or last for own, last in zip(is_word, [False, *is_word]))
        pieces = [Piece(ids[i], spellings[i], segment) for i, segment in zip(spellings, accumulate(starts))]
        text = spell(pieces, _texts(expanded, pieces, inversions))
    padding = (Token(i, "pad") for i in ids[used:])
    return (Token(ids[0], "start"), *text, Token(ids[used - 1], "end"), *padding)


def _texts(expanded: str, pieces: list[Piece], inversions: set[str]) -> dict[int, str]:
    """The text of each segment that is no inversion."""
    between = re.split("|".join(map(re.escape, sorted(inversions, key=len, reverse=True))) or "(?!)", expanded)
    written = (text for text in between if text.strip())
    segments = dict.fromkeys(piece.segment for piece in pieces if piece.spelling not in inversions)
    return dict(zip(segments, written))
