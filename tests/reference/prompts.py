"""Prompts tokenised on paper: words of up to four letters are one token, longer ones are cut."""

from __future__ import annotations

import re
import zlib

from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token

START, END = 0, 1


def tokenised(text: str, chunk: int = 77, pad: int = END) -> Prompt:
    """As ComfyUI does for CLIP: chunks of start, text, end and padding; a word that doesn't fit begins the next one.

    pad: the padding's id; Stable Diffusion 1.x pads with the end-of-text token.
    """
    room = chunk - 2
    parts: list[list[Token]] = [[]]
    for number, word in enumerate(re.findall(r"\w+|[^\w\s]", text)):
        pieces = [Token(2 + zlib.crc32(piece.encode()), "text", piece, number) for piece in re.findall(r".{1,4}", word)]
        if len(parts[-1]) + len(pieces) > room:
            parts.append([])
        parts[-1] += pieces
    tokens: list[Token] = []
    for part in parts:
        tokens += [Token(START, "start"), *part, Token(END, "end")]
        tokens += [Token(pad, "pad")] * (room - len(part))
    return Prompt(text, (Stream(tuple(tokens), chunk),))
