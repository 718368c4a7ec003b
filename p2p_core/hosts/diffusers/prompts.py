"""Prompts as a pipeline's tokenizer sees them."""

from __future__ import annotations

import re
from itertools import accumulate

from ...errors import EditError
from ...spelling.clip import END, Piece, spell
from ...tokens import Prompt, Stream, Token


def read_prompt(pipe, text: str) -> Prompt:
    """A prompt as the pipeline's text encoders see it: cut after 77 tokens, textual inversions in place."""
    tokenizer = getattr(pipe, "tokenizer", None) or getattr(pipe, "tokenizer_2", None)
    if tokenizer is None or not hasattr(pipe, "unet"):
        raise EditError(
            "pipe",
            f"{type(pipe).__name__} is not a pipeline with a UNet and CLIP text encoders.",
            "Use one for SD 1.x, SD 2.x or SDXL.",
        )
    expanded = pipe.maybe_convert_prompt(text, tokenizer) if hasattr(pipe, "maybe_convert_prompt") else text
    length = tokenizer.model_max_length
    encoded = tokenizer(expanded, padding="max_length", max_length=length, truncation=True)
    return Prompt(text, (Stream(_tokens(tokenizer, expanded, encoded), length),))


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
