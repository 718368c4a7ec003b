"""What to do to a picture, in words, from the captions before and after: "replace the cat with a dog".

Words are aligned as `auto` aligns prompts; what lies between words that stayed is what changes. There is no grammar
here, only the little words of English, so an instruction of one's own is better where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..alignment import needleman_wunsch
from ..words import letters, split_words

_ARTICLES = {"a", "an", "the", "some"}
_CARRIED = {"with", "wearing", "holding", "carrying", "and", "having"}
_PLACED = {
    *("in", "on", "at", "under", "over", "above", "below", "behind", "near", "beside", "by", "during", "inside"),
    *("outside", "among", "amid", "against", "between", "beneath", "beyond", "around", "through", "across"),
}
_LITTLE = {*_ARTICLES, *_CARRIED, *_PLACED, "of", "to", "from", "for", "is", "are", "next", "that", "which", "who"}


@dataclass(frozen=True)
class Instruction:
    """`kind`: replace, change, add, remove, setting, weight, several or rewrite."""

    text: str
    kind: str


@dataclass(frozen=True)
class _Change:
    """Words that went and words that came, and the word that followed them in both captions."""

    gone: tuple[str, ...]
    come: tuple[str, ...]
    article: str
    following: str


def instruct(source: str, edit: str, reweight: Sequence[tuple[str, float]] = ()) -> Instruction:
    """The instruction that leads from one caption to the other; of the same captions from the words' weights."""
    written = [_written(change) for change in _changes(_words(source), _words(edit))]
    if not written:
        texts = [f"make it {'more' if scale > 1 else 'less'} {words}" for words, scale in reweight if scale != 1]
        return Instruction(" and ".join(texts), "weight")
    if None in written:
        return Instruction(f"change it to {edit}", "rewrite")
    kind = written[0].kind if len(written) == 1 else "several"
    return Instruction(" and ".join(one.text for one in written), kind)


def _words(caption: str) -> list[str]:
    return [word.strip() for word in split_words(caption) if letters(word)]


def _changes(old: list[str], new: list[str]) -> list[_Change]:
    kept = needleman_wunsch([letters(word) for word in old], [letters(word) for word in new])
    # An article between two changes belongs to them: "in the snow" made "on the beach" is one change, not two.
    for i, j in list(kept):
        changed_before = (i - 1, j - 1) not in kept and i and j
        changed_after = (i + 1, j + 1) not in kept and i + 1 < len(old) and j + 1 < len(new)
        if letters(old[i]) in _ARTICLES and changed_before and changed_after:
            kept.remove((i, j))
    changes, i0, j0 = [], 0, 0
    for i, j in [*kept, (len(old), len(new))]:
        if old[i0:i] or new[j0:j]:
            changes.append(_change(old[i0:i], new[j0:j], new[:j0], old[i] if i < len(old) else ""))
        i0, j0 = i + 1, j + 1
    return changes


def _change(gone: list[str], come: list[str], before: list[str], following: str) -> _Change:
    """With the article that the new words have, which is no part of the change: an owl in the place of a cat."""
    if gone and come and letters(gone[0]) in _ARTICLES and letters(come[0]) in _ARTICLES:
        before, gone, come = come[:1], gone[1:], come[1:]
    return _Change(tuple(gone), tuple(come), _article(before, come), following)


def _article(before: list[str], come: list[str]) -> str:
    """The article before words that came. With others between, as in a smiling owl, it is a or an by their sound."""
    if _opens(come) in _LITTLE:
        return ""
    for between, word in enumerate(reversed(before)):
        if letters(word) in _ARTICLES:
            if between and come and letters(word) in ("a", "an"):
                return "an" if letters(come[0])[:1] in tuple("aeiou") else "a"
            return word
        if letters(word) in _LITTLE:
            break
    return ""


def _written(change: _Change) -> Instruction | None:
    """None where a change is of little words alone, such as next to -> sitting on."""
    gone, come = _things(change.gone), _things(change.come)
    if (change.gone and not gone) or (change.come and not come):
        return None
    describes = _is_thing(change.following) and _opens(change.come or change.gone) not in _LITTLE
    if describes:  # what changes stands before the thing that it describes: a red car
        what = f"make the {change.following} "
        if change.come:
            return Instruction(what + " ".join(change.come), "change")
        return Instruction(what + "no longer " + " ".join(change.gone), "change")
    if not change.come:
        if _opens(change.gone) in _PLACED:
            return Instruction(f"make it no longer {' '.join(change.gone)}", "setting")
        return Instruction(f"remove the {' '.join(gone)}", "remove")
    if _opens(change.come) in _PLACED:
        return Instruction(f"set it {' '.join(change.come)}", "setting")
    thing = _with_article(change.come, come, change.article)
    if not change.gone:
        return Instruction(f"add {thing}", "add")
    return Instruction(f"replace the {' '.join(gone)} with {thing}", "replace")


def _opens(words: Sequence[str]) -> str:
    return letters(words[0]) if words else ""


def _is_thing(word: str) -> bool:
    """Whether a word can be what another describes: none of the little ones, and no verb such as sitting."""
    return bool(word) and letters(word) not in _LITTLE and not letters(word).endswith("ing")


def _things(words: Sequence[str]) -> list[str]:
    """Without the little words before them: hat of wearing a hat."""
    words = list(words)
    while words and letters(words[0]) in _LITTLE:
        words.pop(0)
    return words


def _with_article(words: Sequence[str], things: list[str], before: str) -> str:
    """The article that the caption has for them, within what came or just before it."""
    own = [word for word in words[: len(words) - len(things)] if letters(word) in _ARTICLES]
    article = own[-1] if own else before
    return " ".join(filter(None, (letters(article), *things)))
