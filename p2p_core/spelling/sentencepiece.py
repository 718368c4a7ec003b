"""How sentencepiece's tokenizers spell words, such as T5's: shared by the hosts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from ..tokens import Token
from ..words import letters
from .clip import Piece

_SPACE = "\u2581"
"""What stands for the space before a word in the vocabulary: "▁cat"."""


def spell(pieces: Iterable[Piece]) -> list[Token]:
    """Pieces as tokens that know their text and their word."""
    tokens = []
    for number, word in enumerate(_words(list(pieces))):
        for i, piece in enumerate(word):
            text = (piece.name if not i else "") if piece.spelling is None else piece.spelling.replace(_SPACE, "")
            tokens.append(Token(piece.id, "text", text, number))
    return tokens


def _words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """A space begins a word, and so does a segment; marks between letters are words of their own, as CLIP has it."""
    words = [[piece] for piece in pieces[:1]]
    for last, piece in pairwise(pieces):
        begins = (piece.spelling or "").startswith(_SPACE) or piece.segment != last.segment
        if begins or (last.spelling != _SPACE and _is_mark(last) != _is_mark(piece)):
            words.append([])
        words[-1].append(piece)
    return words


def _is_mark(piece: Piece) -> bool:
    return piece.spelling is not None and not letters(piece.spelling.replace(_SPACE, ""))
