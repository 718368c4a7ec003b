"""CLIP token ids of the demo world's words, each of them a single token.

From the vocabulary of openai/clip-vit-large-patch14 (MIT licence), which every Stable Diffusion host ships; with this
table training and judging need no tokenizer. `tokenize` gives what CLIP's own tokenizer gives for these captions.
"""

from __future__ import annotations

START, END, PADDED = 49406, 49407, 77

TOKENS = {
    "a": 320,
    "an": 550,
    "at": 536,
    "beach": 2117,
    "bear": 4298,
    "bicycle": 11652,
    "blue": 1746,
    "boat": 4440,
    "box": 2063,
    "bus": 2840,
    "cake": 2972,
    "car": 1615,
    "cat": 2368,
    "chair": 4269,
    "city": 1305,
    "cow": 9706,
    "crown": 6902,
    "desert": 7301,
    "dog": 1929,
    "fox": 3240,
    "grass": 5922,
    "green": 1901,
    "hat": 3801,
    "in": 530,
    "lion": 5567,
    "next": 1131,
    "night": 930,
    "on": 525,
    "owl": 9899,
    "panda": 12952,
    "penguin": 14952,
    "pumpkin": 8842,
    "purple": 5496,
    "rabbit": 10274,
    "red": 736,
    "sitting": 4919,
    "smiling": 9200,
    "snow": 2583,
    "the": 518,
    "to": 531,
    "wearing": 3309,
    "yellow": 4481,
}


def tokenize(caption: str) -> list[int]:
    """A caption's 77 token ids, padded with the end token as Stable Diffusion 1.x does. KeyError on an unknown word."""
    ids = [START, *(TOKENS[word] for word in caption.lower().replace(",", " ").split())][: PADDED - 1]
    return ids + [END] * (PADDED - len(ids))


def token_ids() -> list[int]:
    """The rows of CLIP's token table that the demo model keeps."""
    return sorted([*TOKENS.values(), START, END])
