"""How CLIP's tokenizers spell words: shared by the hosts."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, groupby

from ..tokens import Token
from ..words import is_syllable, split_words

END = "</w>"
"""What the vocabulary puts at the end of what the tokenizer takes for a word: at each digit, hyphen and apostrophe."""


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


def spell(pieces: Iterable[Piece], texts: Mapping[int, str] | None = None) -> list[Token]:
    """Pieces as tokens that know their text and their word.

    Args:
        texts: what the pieces of a segment spell, where it is known: there words are what a person calls so. Elsewhere
            they are the tokenizer's.
    """
    tokens: list[Token] = []
    for segment, group in groupby(pieces, key=lambda piece: piece.segment):
        own = list(group)
        if own[0].spelling is None:  # one name for all the vectors of an embedding
            spelled = [(0, 0, own[0].name), *((0, 0, "") for _ in own[1:])]
        else:
            spelled = _spelled([piece.spelling or "" for piece in own], (texts or {}).get(segment))
        word, part = (tokens[-1].word + 1, tokens[-1].part + 1) if tokens else (0, 0)
        tokens += [Token(piece.id, "text", text, word + w, part + p) for piece, (w, p, text) in zip(own, spelled)]
    return tokens


def _spelled(spellings: Sequence[str], text: str | None) -> list[tuple[int, int, str]]:
    """For each token of a segment its word and its part of one, both counted from 0, and its text."""
    raw = [raw_bytes(spelling) for spelling in spellings]
    whole = b"".join(raw)
    words = _written(text) if text is not None else []
    if not "".join(words).encode().startswith(whole):  # of which the encoder may have cut the end
        words = [word.decode(errors="replace") for word in _runs(raw, spellings)]
        if "".join(words).encode() != whole:  # pieces of letters, which no text has
            return _as_tokenized(raw, spellings)
    return placed(raw, words, [spelling.endswith(END) for spelling in spellings])


def placed(raw: Sequence[bytes], words: Sequence[str], ends: Sequence[bool]) -> list[tuple[int, int, str]]:
    """For each token its word and its part of one, both counted from 0, and its text.

    A token may begin in one word and end in the next: it is of the first. A word in which none begins is not counted.

    Args:
        raw: the tokens' bytes, without blanks, from the beginning of the words'.
        ends: whether a part that can be named by itself ends after a token.
    """
    joined, whole = "".join(words), b"".join(raw)
    letter_at = dict(zip(accumulate((len(c.encode()) for c in joined), initial=0), joined))
    word_starts = list(accumulate((len(word.encode()) for word in words), initial=0))
    starts = list(accumulate(map(len, raw), initial=0))[:-1]
    of_word = [min(bisect_right(word_starts, start), len(words)) - 1 for start in starts]

    heads = []  # where a part begins
    for i, start in enumerate(starts):
        new_word = i == 0 or of_word[i] != of_word[i - 1]
        syllable = start in letter_at and is_syllable(letter_at[start])
        heads.append(new_word or ends[i - 1] or syllable)
    begins = [word_starts[w] if i == 0 or w != of_word[i - 1] else s for i, (w, s) in enumerate(zip(of_word, starts))]
    begins[0] = 0
    numbers = {word: number for number, word in enumerate(dict.fromkeys(of_word))}
    parts = list(accumulate(heads))
    texts = []
    for first in [i for i, head in enumerate(heads) if head]:
        after = next((i for i in range(first + 1, len(heads)) if heads[i]), len(heads))
        end = begins[after] if after < len(heads) else len(whole)
        texts += _texts(raw[first:after], joined.encode()[begins[first] : end])
    return [(numbers[w], p - 1, t) for w, p, t in zip(of_word, parts, texts)]


def _texts(raw: Sequence[bytes], whole: bytes) -> list[str]:
    """The text of each token of a part; the first has all of it where a letter's bytes lie in several tokens."""
    try:
        texts = [token.decode() for token in raw]
    except UnicodeDecodeError:
        texts = []
    if "".join(texts).encode() == whole:
        return texts
    return [whole.decode(errors="replace")] + [""] * (len(raw) - 1)


def _written(text: str) -> list[str]:
    """A text's words as the tokenizer writes them: in small letters, each made small by itself."""
    return split_words("".join(c.lower() for c in unicodedata.normalize("NFC", text)))


def _runs(raw: Sequence[bytes], spellings: Sequence[str]) -> Iterator[bytes]:
    """The tokenizer's own words."""
    run = b""
    for token, spelling in zip(raw, spellings):
        run += token
        if spelling.endswith(END):
            yield run
            run = b""
    if run:
        yield run


def _as_tokenized(raw: Sequence[bytes], spellings: Sequence[str]) -> list[tuple[int, int, str]]:
    ends = [0, *accumulate(spelling.endswith(END) for spelling in spellings)]
    return [(word, word, token.decode(errors="replace")) for word, token in zip(ends, raw)]


def raw_bytes(spelling: str) -> bytes:
    """The bytes that an entry of a byte-level vocabulary stands for."""
    table = _bytes_by_letter()
    return b"".join(table.get(c, c.encode()) for c in spelling.removesuffix(END))


@cache
def _bytes_by_letter() -> dict[str, bytes]:
    """The letter that stands for each byte in a byte-level vocabulary: itself where it can be seen, else one of 256."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in seen]
    letters = {chr(byte): byte for byte in seen} | {chr(256 + i): byte for i, byte in enumerate(rest)}
    return {letter: bytes([byte]) for letter, byte in letters.items()}
