"""How sentencepiece's tokenizers spell words, such as T5's: shared by the hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from ..tokens import Token
from ..words import letters
from .clip import Piece

_SPACE = "\u2581"
"""What stands for the space before a word in the vocabulary: "▁cat"."""


def spell(pieces: Iterable[Piece]) -> list[Token]:
    """Pieces as tokens that know their text and their word."""
    tokens = []
    for number, word in enumerate(_words(list(_as_letters(pieces)))):
        for i, piece in enumerate(word):
            text = (piece.name if not i else "") if piece.spelling is None else piece.spelling.replace(_SPACE, "")
            tokens.append(Token(piece.id, "text", text, number))
    return tokens


def _as_letters(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Pieces in which the bytes of a letter that is not in the vocabulary, "<0xE2>", are the letter and nothings."""
    for is_byte, group in groupby(pieces, key=lambda piece: _byte(piece) is not None):
        own = list(group)
        if is_byte:
            letters = bytes(map(_byte, own)).decode(errors="replace")
            own = [replace(piece, spelling="" if i else letters) for i, piece in enumerate(own)]
        yield from own


def _byte(piece: Piece) -> int | None:
    found = re.fullmatch("<0x([0-9A-F]{2})>", piece.spelling or "")
    return int(found[1], 16) if found else None


def _words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """A space begins a word, and so does a segment; marks between letters are words of their own, as CLIP has it."""
    words = [[piece] for piece in pieces[:1]]
    for last, piece in pairwise(pieces):
        begins = (piece.spelling or "").startswith(_SPACE) or piece.segment != last.segment
        if begins or (piece.spelling != "" and last.spelling not in (_SPACE, "") and _is_mark(last) != _is_mark(piece)):
            words.append([])
        words[-1].append(piece)
    return words


def _is_mark(piece: Piece) -> bool:
    return piece.spelling is not None and not letters(piece.spelling.replace(_SPACE, ""))
