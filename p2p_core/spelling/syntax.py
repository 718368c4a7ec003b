"""Ways of writing prompts that other tools have, and that mean nothing here."""

from __future__ import annotations

import re

_NUMBER = r"\s*[\d.]+\s*"
_SYNTAXES = (
    (
        rf"\[[^\[\]]*:[^\[\]]*:{_NUMBER}\]|\[[^\[\]:]*:{_NUMBER}\]",
        "prompt scheduling",
        "Write the pair as source_prompt and edit_prompt.",
    ),
    (r"\[[^\[\]|]+\|[^\[\]]+\]", "alternating words", "Write one of them."),
    (
        r"\.swap\s*\([^()]*\)",
        "a swap of words",
        "Write the words as they were in source_prompt, and the others in edit_prompt.",
    ),
    (
        r"\{[^{}]*->[^{}]*\}",
        "a swap of words",
        "Write the words as they were in source_prompt, and the others in edit_prompt.",
    ),
    (
        r"\{[^{}|]*(?:\|[^{}|]*)+\}",
        "a dynamic prompt",
        "No choice is made of it here, since each text would make its own: choose in a text node before both.",
    ),
    (r"<(?:lora|lyco|hypernet):[^<>]+>", "an extra network", "Load it with a node of its own."),
    (r"__[\w/-]+__", "a wildcard", "Fill it in with a node before both texts."),
    (r"\b(?:BREAK|AND)\b", "a way to join prompts", "Write one text, with commas."),
    (r"\)\.(?:and|blend)\s*\(", "a way to join prompts", "Write one text, with commas."),
    (r"\w\+\+(?!\w)|\)(?:\+{1,}|-{1,}|\d*\.\d+)(?=[\s,]|$)", "a weight", "Write it as (word:1.2)."),
)


def foreign_syntax(*texts: str) -> str | None:
    """A sentence on what is read as plain words and was written as more, or None."""
    found = {}
    for text in texts:
        for pattern, what, instead in _SYNTAXES:
            if match := re.search(pattern, text.replace("\\(", "").replace("\\)", "")):
                found.setdefault((what, instead), match[0].strip())
    if not found:
        return None
    return " ".join(
        f"'{quoted}' looks like {what} of another tool; here its words and marks are a plain text. {instead}"
        for (what, instead), quoted in found.items()
    )
