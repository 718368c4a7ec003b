"""Pictures that a text encoder has read before a prompt's words, as TextEncodeQwenImageEdit has it do."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...edit import Edit
from ...errors import EditError
from ...tokens import Around, Prompt, Token
from .conditioning import Conditioning, written

_SAME = 0.2
"""Of an embedding's length: by how much the same position of two prompts may differ, by the rounding of half precision
in other shapes. Other words differ by more."""


def with_pictures(edit: Edit, source: Conditioning, edited: Conditioning) -> Edit:
    """The edit with the positions of pictures before the words of all its prompts, where conditioning has such.

    An encoder that looks only back makes the same of the same pictures, whatever words follow: by that they are told
    from words.

    Args:
        edit: one that is `on` its model.
        source: one row; edited: one for each edit.

    Raises:
        EditError: source and edits have different pictures there, or not the edit's words after them.
    """
    prompts = [edit.source, *(variant.prompt for variant in edit.variants)]
    rows = [row for conditioning in (source, edited) for embeddings, _ in conditioning for row in embeddings]
    if len(rows) != len(prompts):
        return edit
    texts = [row[slice(*written(row))] for row in rows]
    more = [len(text) - len(prompt) for text, prompt in zip(texts, prompts)]
    if min(more) < 0 or not any(more) or any(n and _begins_with(*pair) for n, *pair in zip(more, texts, prompts)):
        return edit
    if len(set(more)) > 1 or not _alike([text[: more[0]] for text in texts]):
        raise EditError(
            "source and edited",
            f"before the words of the edit's prompts they have {_listed(more)} positions, which are not the same. They "
            "can be those of pictures, as TextEncodeQwenImageEdit puts them there, if all have the same.",
            "Give that node the same pictures for both, and the texts that PromptPairAlign has; join texts there too.",
        )
    before = Around(tuple(Token(i, "start") for i in range(more[0])))
    return edit.surrounded([before] * len(prompts))


def _begins_with(text: torch.Tensor, prompt: Prompt) -> bool:
    """Whether an encoding [tokens, width] is a prompt's own with more behind it, as ConditioningConcat makes it."""
    return any(_alike([text[: own.shape[1]], own[0].to(text)]) for own, _ in prompt.encoding)


def _alike(parts: Sequence[torch.Tensor]) -> bool:
    """Whether some [tokens, width] are the same, each position by itself."""
    first = parts[0].float()
    return all(
        part.shape == first.shape and bool(((part.float() - first).norm(dim=-1) <= _SAME * first.norm(dim=-1)).all())
        for part in parts[1:]
    )


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, dict.fromkeys(numbers)))
