"""How byte-level tokenizers spell words, such as those of Qwen, Llama and Mistral: shared by the hosts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

from ..tokens import Token
from ..words import letters, split_words
from .clip import Piece, placed, raw_bytes


def spell(pieces: Iterable[Piece]) -> list[Token]:
    """Pieces as tokens that know their text and their word. A space belongs to the word after it."""
    tokens: list[Token] = []
    for is_vector, group in groupby(pieces, key=lambda piece: piece.spelling is None):
        own = list(group)
        word, part = (tokens[-1].word + 1, tokens[-1].part + 1) if tokens else (0, 0)
        if is_vector:  # one name for all the vectors of an embedding
            spelled = [(0, 0, own[0].name), *((0, 0, "") for _ in own[1:])]
        else:
            spelled = _spelled([raw_bytes(piece.spelling or "") for piece in own])
        tokens += [Token(piece.id, "text", text, word + w, part + p) for piece, (w, p, text) in zip(own, spelled)]
    return tokens


def _spelled(raw: Sequence[bytes]) -> list[tuple[int, int, str]]:
    """For each token its word and its part of one, both counted from 0, and its text."""
    words = split_words(b"".join(raw).decode(errors="replace"))
    bare = [b"".join(token.split()) for token in raw]
    if "".join(words).encode() != b"".join(bare):  # bytes that are no text, or blanks that bytes don't show
        texts = [token.decode(errors="replace").strip() for token in raw]
        return [(i, i, text) for i, text in enumerate(texts)]
    texts = [token.decode(errors="replace") for token in bare]
    ends = [not letters(one[-1:]) or not letters(next_one[:1]) for one, next_one in pairwise(texts)]
    return placed(bare, words, [*ends, True])
