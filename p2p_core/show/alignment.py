"""An alignment in plain lists and strings, for whoever draws it."""

from __future__ import annotations

from ..alignment import Alignment
from ..tokens import Prompt


def describe(source: Prompt, edit: Prompt, alignment: Alignment) -> dict:
    """What the encoder saw of two prompts and how it is paired, ready for JSON.

    Padding is left out. Links count in the lists, not in the encoder's positions, which each token has
    besides. A token of the source in no link was dropped, one of the edit's in no link was inserted.

        {"source": [{"text": "cat", "kind": "text", "word": 1, "position": 2}, ...], "edit": [...],
         "links": [{"source": [2], "edit": [2], "kind": "swapped"}, ...]}
    """
    old, new = _shown(source), _shown(edit)
    links = []
    for link in alignment.links:
        sources = [old[i] for i in link.sources if i in old]
        edits = [new[j] for j in link.edits if j in new]
        if sources and edits:
            links.append({"source": sources, "edit": edits, "kind": "swapped" if link.swapped else "taken"})
    return {"source": _tokens(source, old), "edit": _tokens(edit, new), "links": links}


def _shown(prompt: Prompt) -> dict[int, int]:
    """Position in the prompt -> place in the list."""
    positions = [i for i, token in enumerate(prompt.tokens) if token.kind != "pad"]
    return {position: place for place, position in enumerate(positions)}


def _tokens(prompt: Prompt, shown: dict[int, int]) -> list[dict]:
    tokens = [(i, prompt.tokens[i]) for i in shown]
    return [{"text": t.text, "kind": t.kind, "word": t.word, "position": i} for i, t in tokens]
