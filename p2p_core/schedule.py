"""When, how strongly and in which layers the source's attention is injected."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .errors import EditError
from .layers import BlockRange, Layer, check_blocks

RAMPS = ("constant", "linear", "cosine")
SELF_LAYERS = {"all": 0, "half": 1, "quarter": 2}
SELF_MODES = ("map", "key_value", "output", "layout", "auto")
AUTO_ON_UNETS = "map"
AUTO_ON_JOINT = "layout"
"""What `auto` is where text and image share one softmax. The whole map, its words aligned, does the same there to two
edits in a hundred and a fifth of a dB (48 edits by the demo's transformer); `layout` is one call, and needs no
alignment."""


FEW_STEPS = 30
"""Below so many steps a window that lies between two of them holds the one in which it begins. From here on it is
narrower than a widget is meant for, and holds none, as it always did."""


@dataclass(frozen=True)
class Window:
    """The steps `i` of `n` with `start <= i / n < end`; both ends are fractions in [0, 1].

    A window that is not empty holds at least one of FEW_STEPS: where no step begins in it, the one in which it begins.

    Raises:
        EditError: an end outside [0, 1], or the start after the end.
    """

    start: float
    end: float
    name: str = field(default="", compare=False)

    def __post_init__(self):
        start, end = (f"{self.name}_{side}" if self.name else side for side in ("start", "end"))
        for name, value in ((start, self.start), (end, self.end)):
            if not 0 <= value <= 1:
                raise EditError(name, f"{value} is out of range.", "Choose a fraction of the steps, from 0 to 1.")
        if self.start > self.end:
            raise EditError(
                start, f"{self.start} is after {end}, which is {self.end}.", "A window starts before it ends."
            )

    def holds(self, step: int, steps: int) -> bool:
        first, after = self.steps_of(steps)
        return first <= step < after

    def steps_of(self, steps: int) -> tuple[int, int]:
        """The first step that the window holds, and the first after it."""
        # Multiplied out, and rounded well below one step, since 0.07 * 100 is more than 7 in binary.
        start, end = round(self.start * steps, 6), round(self.end * steps, 6)
        first, after = math.ceil(start), math.ceil(end)
        if first == after and start < end and steps < FEW_STEPS:
            first -= 1
        return first, after

    def ramp(self, shape: str, step: int, steps: int) -> float:
        """The strength at a step: 0 outside of the window; inside 1, or falling from 1 towards 0."""
        if not self.holds(step, steps):
            return 0.0
        if shape == "constant":
            return 1.0
        passed = (step / steps - self.start) / (self.end - self.start)
        passed = min(max(passed, 0.0), 1.0)
        return 1 - passed if shape == "linear" else (1 + math.cos(math.pi * passed)) / 2


@dataclass(frozen=True)
class WordWindow:
    """The cross window of some of the edit prompt's tokens, in place of the schedule's own."""

    words: str
    window: Window
    positions: tuple[int, ...] = ()


@dataclass(frozen=True)
class InjectSchedule:
    """Windows, strengths and places of injection; the defaults are the paper's for a word swap.

    Attributes:
        cross_window, self_window: windows of cross and self-attention injection.
        cross_strength, self_strength: in [0, 1]; the rest of each map is the edit's own.
        ramp: `constant`, or `linear` and `cosine`: the strength falls from 1 to 0 over the window.
        self_layers: `all`, or only layers at `half` or a `quarter` of the latent's resolution and coarser.
        self_mode: `map` takes the source's self-attention map, `key_value` its keys and values
            (mutual self-attention), `output` the attention's output. `layout` is for joint attention, where it
            takes the picture's queries and keys and nothing of the words; elsewhere it is `map`. `auto` is what
            suits the model.
        blocks: which blocks are injected, see `parse_blocks`; empty is all.
        word_windows: cross windows of single words.

    Raises:
        EditError: a value out of range or unknown.
    """

    cross_window: Window = Window(0.0, 0.8, "cross")
    self_window: Window = Window(0.0, 0.4, "self")
    cross_strength: float = 1.0
    self_strength: float = 1.0
    ramp: str = "constant"
    self_layers: str = "half"
    self_mode: str = "auto"
    blocks: tuple[BlockRange, ...] = ()
    word_windows: tuple[WordWindow, ...] = ()

    def __post_init__(self):
        for name in ("cross_strength", "self_strength"):
            if not 0 <= getattr(self, name) <= 1:
                raise EditError(name, f"{getattr(self, name)} is out of range.", "Choose a number from 0 to 1.")
        for name, options in (("ramp", RAMPS), ("self_layers", tuple(SELF_LAYERS)), ("self_mode", SELF_MODES)):
            if getattr(self, name) not in options:
                raise EditError(name, f"'{getattr(self, name)}' is not one of: {', '.join(options)}.")

    def cross_strengths(self, length: int, step: int, steps: int) -> list[float]:
        """For each of the edit's tokens, the part of its map in [0, 1] that is the source's at a step."""
        strengths = [self.cross_strength_at(step, steps)] * length
        for word in self.word_windows:
            for i in word.positions:
                strengths[i] = self.cross_strength * word.window.ramp(self.ramp, step, steps)
        return strengths

    def cross_strength_at(self, step: int, steps: int) -> float:
        return self.cross_strength * self.cross_window.ramp(self.ramp, step, steps)

    def self_strength_at(self, step: int, steps: int) -> float:
        return self.self_strength * self.self_window.ramp(self.ramp, step, steps)

    def injects(self, layer: Layer, part: str) -> bool:
        """Whether what a layer attends to of `part`, "text" or "image", is injected at all."""
        if part not in layer.attends_to or (part == "image" and layer.level < SELF_LAYERS[self.self_layers]):
            return False
        return not self.blocks or any(some.holds(layer.block, layer.number) for some in self.blocks)

    def on(self, layers: Sequence[Layer]) -> InjectSchedule:
        """The schedule as it is meant for a model with these layers.

        Resolutions tell layers apart only where a model has several: where it has one, `half` is all of them.
        `auto` becomes the mode that it stands for.

        Raises:
            EditError: blocks that the model does not have, or `quarter` where all layers have one resolution.
        """
        check_blocks(self.blocks, layers)
        if self.self_mode == "auto":
            joint = any(layer.kind == "joint" for layer in layers)
            return replace(self, self_mode=AUTO_ON_JOINT if joint else AUTO_ON_UNETS).on(layers)
        if len({layer.level for layer in layers if "image" in layer.attends_to}) != 1 or self.self_layers == "all":
            return self
        if self.self_layers == "quarter":
            raise EditError(
                "self_layers",
                "'quarter' chooses layers by their resolution, but all layers of this model have the same.",
                "Choose 'half' or 'all', and name blocks to inject in some layers only.",
            )
        return replace(self, self_layers="all")


JOINT = InjectSchedule(Window(0.0, 0.0, "cross"), Window(0.0, 0.4, "self"))
"""Of edits without a schedule where text and image share one softmax: the layout, and nothing of the words.

Shin et al. 2025 have a window of 0.2, on SD 3 and Flux.1. On 48 edits by the demo's transformer 0.4 has 94 % seen and
0.2 has 92 %, and it is 1.0 dB nearer to the source (on 160 others, not used for the choice: 86 % both, 1.3 dB). 0.6 is
1.6 dB nearer still, but swapped colours begin to be missed; at 0.8 a fifth of all is. No larger model has been
measured, so the default is the nearer of the two to what the literature has on those.
"""


def parse_word_windows(text: str) -> tuple[WordWindow, ...]:
    """Read lines such as "dog: 0.0-0.3".

    Raises:
        EditError: a line of another form, or with a window that holds nothing.
    """
    windows = []
    for line in filter(None, map(str.strip, text.splitlines())):
        match = re.fullmatch(r"(.+?)\s*[:=]\s*([\d.]+)\s*(?:-|–|to)\s*([\d.]+)", line)
        try:
            words, start, end = match[1], float(match[2]), float(match[3])
        except (TypeError, ValueError):
            raise EditError("word_windows", f"'{line}' is not of the form 'dog: 0.0-0.3'.") from None
        try:
            windows.append(WordWindow(words, Window(start, end)))
        except EditError as error:
            raise EditError("word_windows", f"in '{line}', the {error.input} {error.problem}", error.remedy) from None
    return tuple(windows)
