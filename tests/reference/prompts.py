"""Prompts tokenised on paper: words of up to four letters are one token, longer ones are cut."""

from __future__ import annotations

import re
import zlib

from prompt_to_prompt.p2p_core.tokens import Prompt, Token

START, END = 0, 1


def tokenised(text: str, chunk: int = 77, pad: int = END) -> Prompt:
    """As a CLIP tokenizer does: chunks of start, text, end and padding, marks being words of their own.

    pad: the padding's id; Stable Diffusion 1.x pads with the end-of-text token.
    """
    words = re.findall(r"\w+|[^\w\s]", text)
    pieces = [
        Token(2 + zlib.crc32(piece.encode()), "text", piece, number)
        for number, word in enumerate(words)
        for piece in re.findall(r".{1,4}", word)
    ]
    room = chunk - 2
    tokens: list[Token] = []
    for first in range(0, max(len(pieces), 1), room):
        part = pieces[first : first + room]
        tokens += [Token(START, "start"), *part, Token(END, "end")]
        tokens += [Token(pad, "pad")] * (room - len(part))
    return Prompt(text, tuple(tokens), chunk)
