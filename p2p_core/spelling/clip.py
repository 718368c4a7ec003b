"""How CLIP's tokenizers spell words: shared by the hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..tokens import Token


@dataclass(frozen=True)
class Piece:
    """A token of a prompt's text, as a tokenizer gives it.

    Attributes:
        id: see Token.
        spelling: its entry in the vocabulary, "cat</w>"; or None for a vector that has no spelling.
        segment: differs between pieces that are surely of different words.
        name: what to call a piece without spelling.
    """

    id: int | str
    spelling: str | None
    segment: int = 0
    name: str = ""


def spell(pieces: Iterable[Piece], decode: Callable[[list[str]], str]) -> list[Token]:
    """Pieces as tokens that know their text and their word.

    Args:
        decode: the tokenizer's own joining of vocabulary entries to text.
    """
    tokens = []
    for number, word in enumerate(_words(list(pieces))):
        texts = _texts(word, decode)
        tokens += [Token(piece.id, "text", text, number) for piece, text in zip(word, texts)]
    return tokens


def _words(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """CLIP's vocabulary marks the end of a word; a segment ends one, too."""
    words = [[piece] for piece in pieces[:1]]
    for last, piece in pairwise(pieces):
        if piece.segment != last.segment or (last.spelling or "").endswith("</w>"):
            words.append([])
        words[-1].append(piece)
    return words


def _texts(word: Sequence[Piece], decode: Callable[[list[str]], str]) -> list[str]:
    def text(spellings: list[str]) -> str:
        return decode(spellings).replace("</w>", "").strip()

    if word[0].spelling is None:  # one name for all the vectors of an embedding
        return [word[0].name] + [""] * (len(word) - 1)
    spellings = [piece.spelling or "" for piece in word]
    texts = [text([spelling]) for spelling in spellings]
    if any("\ufffd" in part for part in texts):  # a letter whose bytes lie in several tokens
        return [text(spellings)] + [""] * (len(word) - 1)
    return texts
