"""A prompt as the text encoder sees it, and the finding of words in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from .errors import EditError

Kind = Literal["start", "text", "end", "pad"]


@dataclass(frozen=True)
class Token:
    """One position of the encoded prompt.

    `id` tells tokens apart: the vocabulary's number, or for an embedding a digest of its vector.
    `word` counts the prompt's words from 0 and is -1 for start, end and padding.
    """

    id: int | str
    kind: Kind
    text: str = ""
    word: int = -1


@dataclass(frozen=True)
class Prompt:
    """A prompt, its tokens and the host's encoding of it.

    `tokens` has one entry per position that the UNet attends to, chunk after chunk of `chunk`
    positions (77 for CLIP). `encoding` is the host's own value (ComfyUI: CONDITIONING; diffusers:
    the embeddings); the engine only carries it.
    """

    text: str
    tokens: tuple[Token, ...]
    chunk: int = 77
    encoding: Any = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.tokens)

    def positions(self, kind: Kind) -> list[int]:
        return [i for i, token in enumerate(self.tokens) if token.kind == kind]

    def words(self) -> list[Word]:
        """The words in order; a comma or another mark is a word of its own."""
        text = [(i, token) for i, token in enumerate(self.tokens) if token.kind == "text"]
        return [
            Word("".join(t.text for _, t in run), tuple(i for i, _ in run), tuple(t.id for _, t in run))
            for run in (list(group) for _, group in groupby(text, key=lambda pair: pair[1].word))
        ]

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
        wanted = letters(phrase)
        if not wanted:
            return []
        spelled = [(letters(word.text), word.positions) for word in self.words()]
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
class Word:
    text: str
    positions: tuple[int, ...]
    ids: tuple[int | str, ...]

    @property
    def is_mark(self) -> bool:
        return not letters(self.text)


def letters(text: str) -> str:
    """The comparable part of a word: its letters, digits and symbols beyond punctuation, case folded."""
    return "".join(c for c in text.casefold() if not (c.isspace() or c in _MARKS))


# Emoji and symbols such as "+" are words to a text encoder; only what separates or quotes is not.
_MARKS = frozenset(",.;:!?\"'`´‘’“”„«»()[]{}<>|/\\-–—_…。、，；：！？（）【】《》「」·*~^")


def split_phrases(text: str) -> list[str]:
    """The phrases of a widget's text, separated by commas or line ends."""
    return [phrase.strip() for phrase in re.split(r"[,，\n]", text) if phrase.strip()]


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
            raise EditError(_not_found(prompts, phrase, input_name))
    return [{phrase: places for phrase, places in of.items() if places} for of in found]


def _not_found(prompts: list[Prompt], phrase: str, input_name: str) -> str:
    base = phrase.split("#")[0]
    if base != phrase and (count := max(len(prompt.find(base)) for prompt in prompts)):
        times = "once" if count == 1 else f"{count} times"
        return f"{input_name}: '{phrase}' is not in the prompt: '{base}' occurs {times} in it."
    if phrase.strip().startswith("["):
        return f"{input_name}: {phrase} is no token of the prompt: it has {max(map(len, prompts))} tokens, from [0]."
    known = dict.fromkeys(word.text for prompt in prompts for word in prompt.words() if not word.is_mark)
    if not known:
        return f"{input_name}: '{phrase}' is not in the prompt: the prompt is empty."
    return f"{input_name}: '{phrase}' is not in the prompt. Its words are: {', '.join(known)}."
