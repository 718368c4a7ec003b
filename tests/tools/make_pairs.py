"""The cases on which the engine and the page have to agree, made by the engine: tests/cases/*.json.

    python3 tests/bootstrap.py python tests/tools/make_pairs.py

Run it when the engine's idea of a word, a pairing or a window changes; unit/test_pairs.py then passes again, and
browser/test_cases.py says what is left to change in web/.

pairs.json    two prompts, their words as ComfyUI's own CLIP tokenizer splits them, and which are paired in each mode,
              taken and swapped, as [number of the source's word, of the edit's]; null where the mode refuses them
phrases.json  the words of a prompt that a phrase means, and which characters are mere marks
windows.json  lines of word_windows, the steps that a window holds, and its strength at each of them
"""

# ruff: noqa: E402 - the pack has to be loaded before anything of it can be imported
from __future__ import annotations

import json
import random
import sys
import tempfile
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
CASES = TESTS / "cases"
EMBEDDINGS = tempfile.TemporaryDirectory(prefix="prompt-to-prompt-embeddings-")  # gone with the process

if __name__ == "__main__":
    sys.path.insert(0, str(TESTS))
    from support.inside_comfyui import load_pack, put_comfyui_first

    put_comfyui_first()
    load_pack(TESTS.parent)

import torch
from prompt_to_prompt.p2p_core.alignment import MODES, align
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import encode, load_demo
from prompt_to_prompt.p2p_core.schedule import RAMPS, Window, parse_word_windows
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token
from prompt_to_prompt.p2p_core.words import letters
from safetensors.torch import save_file

from tools.pair_texts import FEW, FOREIGN, MARKS, PLAIN, RARE, WRITTEN

# -- prompts ----------------------------------------------------------------------------------------


def drawn(rng: random.Random, words: list[str], length: int, marks: float, weights: float) -> str:
    """A prompt of some words, a mark after some of them, and some in parentheses with a weight."""
    written = []
    for _ in range(length):
        word = rng.choice(words)
        if rng.random() < weights:
            word = f"({word}:{rng.choice(['1.2', '0.5', '-1', '2'])})"
        written.append(f" {word}{rng.choice(MARKS) if rng.random() < marks else ''}")
    return "".join(written).strip()


def changed(rng: random.Random, text: str, words: list[str]) -> str:
    """The prompt with a few words swapped, dropped, inserted, repeated, or followed by another mark."""
    written = text.split(" ")
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(written))
        done = rng.choice(["swap", "swap", "drop", "insert", "repeat", "mark"])
        if done == "swap":
            written[at] = rng.choice(words)
        elif done == "drop" and len(written) > 1:
            del written[at]
        elif done == "insert":
            written.insert(at, rng.choice(words))
        elif done == "repeat":
            written.insert(at, rng.choice(written))
        else:
            written[at] += rng.choice(MARKS)
    return " ".join(written)


def texts() -> list[tuple[str, str]]:
    rng = random.Random(0)
    made = list(WRITTEN)
    for vocabulary, count in ((PLAIN, 90), (FEW, 50), (f"{PLAIN} {RARE}", 60), (f"{PLAIN} {FOREIGN}", 60)):
        words = vocabulary.split()
        for i in range(count):
            length = rng.randint(70, 90) if i % 20 == 0 else rng.randint(1, 14)
            source = drawn(rng, words, length, marks=rng.choice([0, 0.15, 0.4]), weights=rng.choice([0, 0, 0.2]))
            # One in four is an independent prompt, which has less in common with the source than any edit.
            edit = drawn(rng, words, rng.randint(1, 14), 0.2, 0.1) if i % 4 == 3 else changed(rng, source, words)
            made.append((source, edit))
    return list(dict.fromkeys(made))


@cache
def _clip():
    """The demo's text encoder, which spells as CLIP does, with an embedding to be found by."""
    save_file({"emb_params": torch.eye(2, 128)}, Path(EMBEDDINGS.name) / "style.safetensors")
    clip = load_demo()[1]
    clip.tokenizer.clip_l.embedding_directory = [EMBEDDINGS.name]  # not ComfyUI's, where others have a `style` too
    return clip


@cache
def encoded(text: str) -> Prompt:
    """A prompt as the text encoder sees it."""
    return encode(_clip(), text)


def in_words(prompt: Prompt) -> Prompt:
    """The prompt with one token for each word, in chunks of 77: all that can be known without the encoder."""
    (stream,) = prompt.streams
    room = stream.chunk - 2
    text = [Token(word.text, "text", word.text, number) for number, word in enumerate(prompt.words)]
    tokens = []
    for first in range(0, max(len(text), 1), room):
        here = text[first : first + room]
        tokens += [Token(0, "start"), *here, Token(1, "end"), *[Token(1, "pad")] * (room - len(here))]
    return Prompt(prompt.text, (Stream(tuple(tokens), stream.chunk),))


def links(source: Prompt, edit: Prompt, mode: str) -> dict[str, list] | None:
    """The pairs of words that the engine takes and swaps, in the edit's order, or None where the mode refuses them."""
    try:
        alignment = align(source, edit, mode)
    except EditError:
        return None
    found = {"taken": [], "swapped": []}
    for link in alignment.links:
        pairs = {(source.tokens[i].word, edit.tokens[j].word) for i in link.sources for j in link.edits}
        kind = found["swapped" if link.swapped else "taken"]
        kind += [[i, j] for i, j in sorted(pairs) if i >= 0 and j >= 0 and [i, j] not in kind]
    return found


def pair(source: str, edit: str) -> dict:
    old, new = in_words(encoded(source)), in_words(encoded(edit))
    return {
        "source": source,
        "edit": edit,
        "source_words": " ".join(word.text for word in old.words),  # no word has a blank in it
        "edit_words": " ".join(word.text for word in new.words),
        **{mode: links(old, new, mode) for mode in MODES},
    }


# -- phrases ----------------------------------------------------------------------------------------

PHRASES = {
    "a cat and a (cat:1.2), on 1990s x2": [
        "cat",
        "CAT.",
        "cat#2",
        "cat #2",
        "cat#3",
        "cat#0",
        "a cat",
        "1990",
        "2",
        ",",
    ],
    "a state-of-the-art, red car": [
        "state of the art",
        "state-of-the-art",
        "red car",
        "redcar",
        "red, car",
        "ed c",
        "",
    ],
    "don't say 'it's'": ["don't", "dont", "it's", "s", "'"],
    "die Straße, Καλός": ["strasse", "STRASSE", "straße", "ΚΑΛΌΣ", "καλόσ"],
    "猫坐在汽车上 and embedding:style": ["猫坐在汽车上", "猫", "汽车", "style", "Style", "embedding:style"],
    "🦊🐻 a + b": ["🦊🐻", "🦊", "+", "a + b"],
    "a lovely-dog and a dog, 1990 blue_hair": ["dog", "lovely", "lovely dog", "199", "1", "blue", "hair", "air"],
    "고양이가 차에 앉아": ["고양이", "차", "가", "고양이가"],
    "猫が車に乗っている": ["猫", "車に", "車", "乗", "っている"],
}
# Latin, Greek and Cyrillic; general punctuation; CJK marks; full-width forms.
CHARACTERS = [range(0x20, 0x530), range(0x2000, 0x2070), range(0x3000, 0x3040), range(0xFF00, 0xFFF0)]


def phrase(text: str, phrase: str) -> dict:
    """The places of a phrase, in numbers of words."""
    prompt = encoded(text)
    places = [list(dict.fromkeys(prompt.tokens[i].word for i in place)) for place in prompt.find(phrase)]
    return {"text": text, "phrase": phrase, "places": places}


def marks() -> str:
    characters = (chr(code) for block in CHARACTERS for code in block)
    return "".join(c for c in characters if not c.isspace() and not letters(c))


# -- windows ----------------------------------------------------------------------------------------

LINES = [
    *("dog: 0.0-0.3", "dog:0-1", "dog = 0.5 to 1", "red car: .2 – .8", "dog 0.0-0.3", "dog: 0.3", "dog: 0.3-", ": 0-1"),
    *("a:b: 0-1", "a = b: 0 - 0.5", "dog: 0.5-0.2", "dog: 0-1.5", "dog: -0.1-0.5", "dog: 0.1.2-0.5", "dog: .-1", "dog"),
    *(
        "  dog : 0.25-0.75  ",
        "cat#2: 0.1-0.9",
        "[5]: 0-0.4",
        "dog: 0.1-0.2-0.3",
        "dog: 0 TO 1",
        "dog: 1.-1.",
        "猫: 0-1",
    ),
    *("dog, cat: 0-1", "dog：0-1", "dog: 0to1", "dog:: 0-1", "dog: 0,1-0,5", "x: 0.5-0.5", "dog: 0.1-0.5 0.7"),
]
WINDOWS = [
    (0, 0.8),
    (0, 0.4),
    (0, 1),
    (0.2, 0.6),
    (0.07, 0.93),
    (0.1, 0.1),
    (1, 1),
    (0, 0),
    (0.29, 0.57),
    (0.333, 0.667),
]
STEPS = [1, 2, 3, 4, 7, 20, 30, 50, 100]


def line(text: str) -> dict:
    """A line of word_windows: [words, start, end], or None where the engine refuses it."""
    try:
        ((words, window),) = ((read.words, read.window) for read in parse_word_windows(text))
    except EditError:
        return {"line": text, "window": None}
    return {"line": text, "window": [words, window.start, window.end]}


def window(start: float, end: float, steps: int) -> dict:
    """The steps that a window holds, and its strength at each of them."""
    window = Window(start, end)
    held = [step for step in range(steps) if window.holds(step, steps)]
    ramps = {ramp: [round(window.ramp(ramp, step, steps), 9) for step in held] for ramp in RAMPS}
    return {"start": start, "end": end, "steps": steps, "held": held, **ramps}


# -- files ------------------------------------------------------------------------------------------


def made() -> dict[str, dict[str, list | str]]:
    """What each file holds, by its name."""
    return {
        "pairs": {"pairs": [pair(*both) for both in texts()]},
        "phrases": {
            "phrases": [phrase(text, wanted) for text, all_wanted in PHRASES.items() for wanted in all_wanted],
            "characters": [[block.start, block.stop] for block in CHARACTERS],
            "marks": marks(),
        },
        "windows": {
            "lines": [line(text) for text in LINES],
            "windows": [window(start, end, steps) for start, end in WINDOWS for steps in STEPS],
        },
    }


def read(name: str) -> dict[str, list | str]:
    return json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))


def written(content: dict) -> str:
    """JSON with a line for each case, so that a change of a few shows as a change of a few."""

    def lines(value) -> str:
        if not isinstance(value, list):
            return json.dumps(value, ensure_ascii=False)
        return "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in value) + "\n]"

    return "{\n" + ",\n".join(f'"{key}": {lines(value)}' for key, value in content.items()) + "\n}\n"


def main() -> int:
    torch.set_num_threads(1)  # the model is small: threads would wait for each other
    CASES.mkdir(exist_ok=True)
    for name, content in made().items():
        (CASES / f"{name}.json").write_text(written(content), encoding="utf-8")
        print(f"{name}.json: " + ", ".join(f"{len(cases)} {key}" for key, cases in content.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
