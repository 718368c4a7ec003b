"""A prompt as its text encoders see it, and the finding of words in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, groupby, zip_longest
from typing import Any, Literal

from .errors import EditError
from .words import letters

Kind = Literal["start", "text", "end", "pad", "none"]
"""Padding is encoded and attended to, as any token is; `none` only makes a prompt longer, and is hidden."""


@dataclass(frozen=True)
class Token:
    """One position of the encoded prompt.

    `id` tells tokens apart: the vocabulary's number, or for an embedding a digest of its vector.
    `word` counts the prompt's words from 0 and is -1 for start, end and padding; `part` those parts of them that can be
    named by themselves, as dog in lovely-dog.
    """

    id: int | str
    kind: Kind
    text: str = ""
    word: int = -1
    part: int = -1


@dataclass(frozen=True)
class Word:
    """A word of a prompt: its text, its tokens' positions and their ids."""

    text: str
    positions: tuple[int, ...]
    ids: tuple[int | str, ...]

    @property
    def is_mark(self) -> bool:
        return not letters(self.text)


@dataclass(frozen=True)
class Stream:
    """What one text encoder, or several that share their positions, makes of a prompt.

    `tokens` has one entry per position, chunk after chunk of `chunk` positions: 77 for CLIP, which starts
    over after them; all of them for an encoder that reads a prompt as a whole.
    """

    tokens: tuple[Token, ...]
    chunk: int

    def __len__(self) -> int:
        return len(self.tokens)

    def positions(self, kind: Kind) -> list[int]:
        return [i for i, token in enumerate(self.tokens) if token.kind == kind]

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words in order; a comma or another mark is a word of its own."""
        return self._words(lambda token: token.word)

    @cached_property
    def parts(self) -> tuple[Word, ...]:
        """The parts of words in order: lovely, - and dog of lovely-dog."""
        return self._words(lambda token: (token.word, token.part))

    def _words(self, number: Callable[[Token], Any]) -> tuple[Word, ...]:
        text = [(i, token) for i, token in enumerate(self.tokens) if token.kind == "text"]
        return tuple(
            Word("".join(t.text for _, t in run), tuple(i for i, _ in run), tuple(t.id for _, t in run))
            for run in (list(group) for _, group in groupby(text, key=lambda pair: number(pair[1])))
        )

    def places(self, phrase: str) -> list[tuple[int, ...]]:
        """The positions of every occurrence of a phrase, in order. Case and punctuation don't matter.

        Where no words are the phrase, parts of words may be.
        """
        wanted = letters(phrase)
        if not wanted:
            return []
        return _places(self.words, wanted) or _places(self.parts, wanted)


def _places(words: Sequence[Word], wanted: str) -> list[tuple[int, ...]]:
    """Where the letters of words in a row are the wanted ones."""
    spelled = [(letters(word.text), word.positions) for word in words]
    spelled = [(text, positions) for text, positions in spelled if text]
    places, start = [], 0
    while start < len(spelled):
        text, end = "", start
        while end < len(spelled) and len(text) < len(wanted):
            text += spelled[end][0]
            end += 1
        if text == wanted:
            places.append(tuple(i for _, positions in spelled[start:end] for i in positions))
            start = end
        else:
            start += 1
    return places


@dataclass(frozen=True)
class Around:
    """What a model puts before and after the positions of an encoded prompt: padding, registers, or `none`."""

    before: tuple[Token, ...] = ()
    after: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A prompt, its tokens and the host's encoding of it.

    The positions that the model attends to are those of `streams`, one after another. `encoding` is the
    host's own value (ComfyUI: CONDITIONING; diffusers: the embeddings); the engine only carries it.
    """

    text: str
    streams: tuple[Stream, ...]
    encoding: Any = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return sum(map(len, self.streams))

    @cached_property
    def tokens(self) -> tuple[Token, ...]:
        return tuple(token for stream in self.streams for token in stream.tokens)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """For each stream its first position."""
        return (0, *accumulate(map(len, self.streams)))[: len(self.streams)]

    def positions(self, kind: Kind) -> list[int]:
        return [i for i, token in enumerate(self.tokens) if token.kind == kind]

    @property
    def encoded(self) -> int:
        """How many positions were encoded: all that are not hidden."""
        return len(self) - len(self.positions("none"))

    def within(self, around: Around) -> Prompt:
        """The prompt with something around it. All that knows its positions has to move with them."""
        before, after = ((Stream(tokens, len(tokens)),) if tokens else () for tokens in (around.before, around.after))
        return replace(self, streams=(*before, *self.streams, *after)) if before or after else self

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words of the stream that has most of them, each with its positions in all streams."""
        fullest = max(range(len(self.streams)), key=lambda i: len(self.streams[i].words))
        numbered = [_numbered(stream.words, offset) for stream, offset in zip(self.streams, self.offsets)]
        return tuple(
            Word(word.text, tuple(i for of in numbered for i in of.get(name, ())), word.ids)
            for name, word in zip(numbered[fullest], self.streams[fullest].words)
        )

    def find(self, phrase: str) -> list[tuple[int, ...]]:
        """Token positions of every place where `phrase` occurs, in order; empty where it doesn't.

        Case and punctuation don't matter. `phrase#2` is its second place, `[5]` is position 5.
        """
        if index := re.fullmatch(r"\[\s*(\d+)\s*\]", phrase.strip()):
            position = int(index[1])
            return [(position,)] if position < len(self) else []
        if nth := re.fullmatch(r"(.+)#(\d+)", phrase.strip()):
            return self._places(nth[1])[int(nth[2]) - 1 : int(nth[2])] if int(nth[2]) else []
        return self._places(phrase)

    def _places(self, phrase: str) -> list[tuple[int, ...]]:
        """The occurrences in each stream, the first with the first and so on: an encoder may have cut the prompt."""
        found = [
            [tuple(offset + i for i in place) for place in stream.places(phrase)]
            for stream, offset in zip(self.streams, self.offsets)
        ]
        return [sum(places, ()) for places in zip_longest(*found, fillvalue=())]


def _numbered(words: Sequence[Word], offset: int) -> dict[tuple[str, int], tuple[int, ...]]:
    """Words by their letters and how often these came before, with their positions in the prompt."""
    seen: dict[str, int] = {}
    numbered = {}
    for word in words:
        name = letters(word.text) or word.text
        numbered[name, seen.get(name, 0)] = tuple(offset + i for i in word.positions)
        seen[name] = seen.get(name, 0) + 1
    return numbered


def find_words(prompts: list[Prompt], phrases: list[str], input_name: str) -> list[dict[str, tuple[int, ...]]]:
    """For each prompt, the token positions of each phrase that is in it, all its places together.

    Raises:
        EditError: a phrase is in none of the prompts; the message lists the words that are.
    """
    found = [
        {phrase: tuple(i for place in prompt.find(phrase) for i in place) for phrase in phrases} for prompt in prompts
    ]
    for phrase in phrases:
        if not any(places[phrase] for places in found):
            raise EditError(input_name, *_not_found(prompts, phrase))
    return [{phrase: places for phrase, places in of.items() if places} for of in found]


def _not_found(prompts: list[Prompt], phrase: str) -> tuple[str, str]:
    base = phrase.split("#")[0]
    if base != phrase and (count := max(len(prompt.find(base)) for prompt in prompts)):
        times = "once" if count == 1 else f"{count} times"
        return f"'{phrase}' is not in the prompt: '{base}' occurs only {times}.", ""
    if phrase.strip().startswith("["):
        last = max(map(len, prompts)) - 1
        return f"'{phrase}' is not a token position of the prompt.", f"Positions go from [0] to [{last}]."
    known = dict.fromkeys(word.text for prompt in prompts for word in prompt.words if not word.is_mark)
    if not known:
        return f"'{phrase}' is not in the prompt, which is empty.", ""
    return f"'{phrase}' is not in the prompt.", f"Its words are: {', '.join(known)}."
