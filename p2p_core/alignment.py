"""Which of the source's attention maps each token of the edit takes.

An alignment is a matrix `A` (source tokens x edit tokens) and a mask of the edit's tokens that are
taken from the source: with the source's map `P_s` (queries x source tokens), `P_s A` is the map
that prompt-to-prompt (Hertz et al. 2022, section 3.1) hands to the edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import cached_property

import torch

from .errors import EditError
from .tokens import Around, Prompt, Stream, Word

MODES = ("auto", "replace", "refine", "sequence")


@dataclass(frozen=True)
class Link:
    """`sources` hand their maps to `edits`: every source token's mass is shared equally over the edits.

    `swapped` tells a word put in another's place from the same word in both prompts.
    """

    sources: tuple[int, ...]
    edits: tuple[int, ...]
    swapped: bool = False


@dataclass(frozen=True)
class Alignment:
    """Links between the tokens of a source and an edit prompt; tokens in no link keep their own map.

    A source token may be in several links only if it is to hand out its mass several times.
    """

    source_length: int
    edit_length: int
    links: tuple[Link, ...]

    @cached_property
    def matrix(self) -> torch.Tensor:
        """`A`, float64 [source_length, edit_length], entries in [0, 1]."""
        a = torch.zeros(self.source_length, self.edit_length, dtype=torch.float64)
        for link in self.links:
            for s in link.sources:
                for e in link.edits:
                    a[s, e] += 1 / len(link.edits)
        return a

    @cached_property
    def taken(self) -> torch.Tensor:
        """float64 [edit_length]: 1 where the edit's token takes the source's map, 0 where it keeps its own."""
        taken = torch.zeros(self.edit_length, dtype=torch.float64)
        for link in self.links:
            taken[list(link.edits)] = 1
        return taken

    def within(self, source: Around, edit: Around) -> Alignment:
        """The same for prompts with something around them, of which each kind takes its own: what is in the same
        place, or the nearest there is. Hidden positions take nothing."""
        s, e = len(source.before), len(edit.before)
        links = [
            replace(link, sources=tuple(s + i for i in link.sources), edits=tuple(e + j for j in link.edits))
            for link in self.links
        ]
        of_source, of_edit = _places(source, self.source_length), _places(edit, self.edit_length)
        sharing: dict[int, list[int]] = {}
        for place in of_edit.keys() & of_source.keys():
            for j in of_edit[place]:
                sharing.setdefault(min(of_source[place], key=lambda i: abs(i - j)), []).append(j)
        links += [Link((i,), tuple(edits)) for i, edits in sharing.items()]
        lengths = (s + self.source_length + len(source.after), e + self.edit_length + len(edit.after))
        return Alignment(*lengths, tuple(sorted(links, key=lambda link: link.edits)))


def _places(around: Around, length: int) -> dict[tuple[str, str], list[int]]:
    """The positions of each side and kind of what is around a prompt, but for those that are hidden."""
    places: dict[tuple[str, str], list[int]] = {}
    for side, tokens, first in (("before", around.before, 0), ("after", around.after, len(around.before) + length)):
        for i, token in enumerate(tokens, first):
            if token.kind != "none":
                places.setdefault((side, token.kind), []).append(i)
    return places


def align(source: Prompt, edit: Prompt, mode: str = "auto") -> Alignment:
    """Align two prompts, stream by stream.

    Modes:
        replace: word for word (the paper's AttentionReplace).
        refine: Needleman-Wunsch on tokens (the paper's AttentionRefine); new tokens keep their own map.
        sequence: difflib's "equal" runs and equally long "replace" runs (CrossAttentionControl).
        auto: Needleman-Wunsch on words; same words are taken, words swapped for others are replaced,
            inserted words keep their own map, deleted words fall away.

    In every mode start maps to start, end-of-text to end-of-text and padding to padding.

    Raises:
        EditError: `replace` with different numbers of words; an unknown mode; prompts of different encoders.
    """
    if mode not in MODES:
        raise EditError("mode", f"'{mode}' is not one of: {', '.join(MODES)}.")
    if len(source.streams) != len(edit.streams):
        raise EditError(
            "clip", "the source and the edit were read by different text encoders.", "Encode both with the same one."
        )
    links = [
        Link(tuple(s + i for i in link.sources), tuple(e + j for j in link.edits), link.swapped)
        for old, new, s, e in zip(source.streams, edit.streams, source.offsets, edit.offsets)
        for link in _align(old, new, mode)
    ]
    return Alignment(len(source), len(edit), tuple(sorted(links, key=lambda link: link.edits)))


def _align(source: Stream, edit: Stream, mode: str) -> list[Link]:
    if mode == "sequence":
        return _sequence(source, edit)
    text = {"replace": _replace, "refine": _refine, "auto": _auto}[mode](source, edit)
    return [*text, *_specials(source, edit, keep_mass=mode == "replace")]


def _replace(source: Stream, edit: Stream) -> Iterator[Link]:
    old, new = _split_at_marks(source.words), _split_at_marks(edit.words)
    if len(old) != len(new):
        raise EditError(
            "mode",
            f"'replace' swaps word for word, but source_prompt has {len(old) - 1} words and edit_prompt "
            f"{len(new) - 1}.",
            "Use 'auto' or 'refine', or write the same number of words in both.",
        )
    for (old_word, old_marks), (new_word, new_marks) in zip(old, new):
        if old_word and new_word:
            yield from _swap(old_word, new_word)
        # A comma that only one of the prompts has is neither a word too many nor taken from anywhere.
        for old_mark, new_mark in zip(old_marks, new_marks):
            yield from _swap(old_mark, new_mark)


def _split_at_marks(words: Sequence[Word]) -> list[tuple[Word | None, list[Word]]]:
    """Each word with the punctuation that follows it; first the punctuation before any word."""
    split: list[tuple[Word | None, list[Word]]] = [(None, [])]
    for word in words:
        if word.is_mark:
            split[-1][1].append(word)
        else:
            split.append((word, []))
    return split


def _refine(source: Stream, edit: Stream) -> Iterator[Link]:
    old, new = source.positions("text"), edit.positions("text")
    same = needleman_wunsch([source.tokens[i].id for i in old], [edit.tokens[j].id for j in new])
    return (Link((old[i],), (new[j],)) for i, j in same)


def _auto(source: Stream, edit: Stream) -> Iterator[Link]:
    old, new = source.words, edit.words
    anchors = needleman_wunsch([word.ids for word in old], [word.ids for word in new])
    i0 = j0 = 0
    for i, j in [*anchors, (len(old), len(new))]:
        # Between two words that stayed, words were swapped, and marks for marks. The last ones are paired
        # first: in "red car" -> "bicycle" the noun is what the bicycle stands for.
        for mark in (False, True):
            gone, come = ([word for word in gap if word.is_mark == mark] for gap in (old[i0:i], new[j0:j]))
            for pair in zip(reversed(gone), reversed(come)):
                yield from _swap(*pair)
        if i < len(old):
            yield from _swap(old[i], new[j])
        i0, j0 = i + 1, j + 1


def _swap(old: Word, new: Word) -> Iterator[Link]:
    if old.ids == new.ids:
        yield from (Link((i,), (j,)) for i, j in zip(old.positions, new.positions))
    else:
        yield Link(old.positions, new.positions, swapped=True)


def _sequence(source: Stream, edit: Stream) -> list[Link]:
    # The kind is compared along with the id, since many encoders pad with the end-of-text token.
    old, new = ([(t.kind, t.id) for t in stream.tokens] for stream in (source, edit))
    runs = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return [
        Link((i,), (j,), swapped=tag == "replace")
        for tag, i1, i2, j1, j2 in runs
        if tag == "equal" or (tag == "replace" and i2 - i1 == j2 - j1)
        for i, j in zip(range(i1, i2), range(j1, j2))
        if source.tokens[i].kind == edit.tokens[j].kind
    ]


def needleman_wunsch(old: Sequence, new: Sequence) -> list[tuple[int, int]]:
    """Global alignment with gap 0, match 1, mismatch -1: the pairs of indices that match, in order.

    Ties are broken as in the paper's code, which reads the table backwards and prefers to skip an
    item of `new`, then one of `old`.
    """
    score = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, a in enumerate(old):
        for j, b in enumerate(new):
            diagonal = score[i][j] + (1 if a == b else -1)
            score[i + 1][j + 1] = max(score[i + 1][j], score[i][j + 1], diagonal)
    i, j, pairs = len(old), len(new), []
    while i and j:
        if score[i][j] == score[i][j - 1]:
            j -= 1
        elif score[i][j] == score[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def _specials(source: Stream, edit: Stream, keep_mass: bool) -> Iterator[Link]:
    for kind in ("start", "end"):
        yield from _pair(source.positions(kind), edit.positions(kind), keep_mass)
    old = source.positions("pad")
    sharing: dict[int, list[int]] = {i: [] for i in old}
    for j in edit.positions("pad") if old else []:
        sharing[_padding_for(j, old, source, edit)].append(j)
    spare = [i for i in old if not sharing[i]] if keep_mass else []
    for i, edits in sharing.items():
        if edits:
            yield Link((i, *spare), tuple(edits))
            spare = []


def _padding_for(position: int, old: Sequence[int], source: Stream, edit: Stream) -> int:
    """The source's padding for one of the edit's.

    Padding is encoded by its place in the chunk, so it is the same place of the same chunk, as in the
    paper's code; where the source has text there, the first padding of that chunk, or of the last.
    """
    chunk, place = divmod(position, edit.chunk)
    of_chunk = [i for i in old if i // source.chunk == chunk]
    of_chunk = of_chunk or [i for i in old if i // source.chunk == old[-1] // source.chunk]
    return next((i for i in of_chunk if i % source.chunk == place), of_chunk[0])


def _pair(old: Sequence[int], new: Sequence[int], keep_mass: bool) -> Iterator[Link]:
    """Pair positions in order; the last of the shorter side stands for all that are left of the longer."""
    if not old or not new:
        return
    last = min(len(old), len(new)) - 1
    for i, j in zip(old[:last], new[:last]):
        yield Link((i,), (j,))
    yield Link(tuple(old[last:]) if keep_mass else (old[last],), tuple(new[last:]))
