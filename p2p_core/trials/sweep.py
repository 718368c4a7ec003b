"""A grid of settings as one edit: each cell is a variant, so they all share one source."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ..edit import Edit
from ..errors import EditError
from ..schedule import RAMPS, SELF_LAYERS, SELF_MODES, Window
from ..words import split_phrases

NOTHING = "nothing"
WORD_WEIGHT = "word weight"
_ENDS = {
    "cross_start": ("cross_window", "start"),
    "cross_end": ("cross_window", "end"),
    "self_start": ("self_window", "start"),
    "self_end": ("self_window", "end"),
}
_STRENGTHS = ("cross_strength", "self_strength")
_CHOICES = {"self_layers": tuple(SELF_LAYERS), "self_mode": SELF_MODES, "ramp": RAMPS}
_BLENDS = {"blend threshold": "threshold", "blend start": "start"}
PARAMETERS = (*_ENDS, *_STRENGTHS, WORD_WEIGHT, *_CHOICES, *_BLENDS)
MOST_CELLS = 400  # a slip such as 0:1:0.001 on both axes would run for days


@dataclass(frozen=True)
class Axis:
    """One parameter and its values.

    Attributes:
        name: of the inputs that describe it, "x" or "y", for messages.
        parameter: one of PARAMETERS, or NOTHING.
        words: of the edit prompt, for WORD_WEIGHT.
    """

    name: str
    parameter: str
    values: tuple[float | str | None, ...]
    words: str = ""

    def captions(self) -> list[str]:
        if self.parameter == NOTHING:
            return [""]
        what = f"{', '.join(split_phrases(self.words))} ×" if self.parameter == WORD_WEIGHT else self.parameter
        return [f"{what} {value if isinstance(value, str) else f'{value:g}'}" for value in self.values]


def read_axis(name: str, parameter: str, text: str, words: str = "") -> Axis:
    """An axis from the inputs `<name>_parameter`, `<name>_values` and `<name>_words`.

    Values are separated by commas or spaces; a range is written first:last:step.

    Raises:
        EditError: values of another kind than the parameter takes, or none.
    """
    if parameter == NOTHING:
        return Axis(name, parameter, (None,))
    if parameter not in PARAMETERS:
        raise EditError(f"{name}_parameter", f"'{parameter}' is not one of: {', '.join((NOTHING, *PARAMETERS))}.")
    if parameter == WORD_WEIGHT and not words.strip():
        raise EditError(f"{name}_words", "it is empty.", f"Name the words whose weights {name}_values lists.")
    written = [value for value in re.split(r"[,，;\s]+", text) if value]
    if not written:
        raise EditError(
            f"{name}_values", "it is empty.", f"Write values of {parameter}, such as {_example(parameter)}."
        )
    if parameter in _CHOICES:
        values = _read_choices(name, parameter, written)
    else:
        values = tuple(value for text in written for value in _read_numbers(name, parameter, text))
    return Axis(name, parameter, tuple(dict.fromkeys(values)), words.strip())


def grid(edit: Edit, x: Axis, y: Axis) -> Edit:
    """The edit's one variant with every pair of values, row by row: y over rows, x over columns.

    Raises:
        EditError: an edit of several prompts; one parameter twice; a value that it cannot have.
    """
    if len(edit.variants) != 1:
        raise EditError(
            "edit",
            f"it has {len(edit.variants)} edited prompts, but a sweep varies the settings of one.",
            "Use an edit with a single edited prompt.",
        )
    if x.parameter == y.parameter and (x.parameter == NOTHING or x.words == y.words):
        both = "x_parameter and y_parameter"
        if x.parameter == NOTHING:
            raise EditError(both, "nothing is swept.", "Choose a parameter for at least one axis.")
        raise EditError(both, f"{x.parameter} is on both axes.", "Choose a different parameter for each axis.")
    cells = len(x.values) * len(y.values)
    if cells > MOST_CELLS:
        raise EditError(
            "x_values and y_values",
            f"the grid would have {cells} pictures, but {MOST_CELLS} is the most that a sweep makes.",
            "Use fewer values.",
        )
    variants = []
    for of_y in y.values:
        for of_x in x.values:
            variants += _with_values(edit, [(y, of_y), (x, of_x)]).variants
    return replace(edit, variants=tuple(variants))


def _with_values(edit: Edit, values: list[tuple[Axis, float | str | None]]) -> Edit:
    (variant,) = edit.variants
    schedule, settings = variant.schedule, {}
    ends = {name: getattr(getattr(schedule, window), side) for name, (window, side) in _ENDS.items()}
    for axis, value in values:
        if axis.parameter in _ENDS:
            ends[axis.parameter] = value
        elif axis.parameter in _STRENGTHS or axis.parameter in _CHOICES:
            settings[axis.parameter] = value
    for window in ("cross", "self"):
        settings[f"{window}_window"] = Window(ends[f"{window}_start"], ends[f"{window}_end"], window)
    variant = replace(variant, schedule=replace(schedule, **settings))
    for axis, value in values:
        if axis.parameter in _BLENDS:
            if variant.blend is None:
                raise EditError(
                    f"{axis.name}_parameter",
                    f"{axis.parameter} is a setting of a local blend, and the edit has none.",
                    "Add a local blend to the edit, or choose another parameter.",
                )
            variant = replace(variant, blend=replace(variant.blend, **{_BLENDS[axis.parameter]: value}))
    edit = replace(edit, variants=(variant,))
    for axis, value in values:
        if axis.parameter == WORD_WEIGHT:
            edit = _reweighted(edit, axis, value)
    return edit


def _reweighted(edit: Edit, axis: Axis, scale: float) -> Edit:
    try:
        return edit.reweight(axis.words, scale)
    except EditError as error:  # its "words" are this axis'
        raise error.of(f"{axis.name}_words") from None


def _read_choices(name: str, parameter: str, written: list[str]) -> tuple[str, ...]:
    unknown = [value for value in written if value not in _CHOICES[parameter]]
    if unknown:
        raise EditError(f"{name}_values", f"'{unknown[0]}' is not one of: {', '.join(_CHOICES[parameter])}.")
    return tuple(written)


def _read_numbers(name: str, parameter: str, text: str) -> list[float]:
    lowest, highest = (-20.0, 20.0) if parameter == WORD_WEIGHT else (0.0, 1.0)
    try:
        numbers = [float(number) for number in text.split(":")]
        if len(numbers) == 3:
            numbers = _range(*numbers)
        elif len(numbers) != 1:
            raise ValueError
    except ValueError:
        raise EditError(
            f"{name}_values",
            f"'{text}' is not a number.",
            f"Write values of {parameter} such as {_example(parameter)}.",
        ) from None
    for number in numbers:
        if not lowest <= number <= highest:
            raise EditError(
                f"{name}_values",
                f"{number:g} is out of range: {parameter} goes from {lowest:g} to {highest:g}.",
            )
    return numbers


def _range(first: float, last: float, step: float) -> list[float]:
    if step == 0 or (last - first) / step < 0:
        raise ValueError
    count = int((last - first) / step + 1e-6) + 1
    return [round(first + i * step, 6) for i in range(min(count, MOST_CELLS + 1))]


def _example(parameter: str) -> str:
    if parameter in _CHOICES:
        return f"'{', '.join(_CHOICES[parameter])}'"
    return "'1, 2, 4' or '-2:4:1'" if parameter == WORD_WEIGHT else "'0.2, 0.5, 0.8' or '0:1:0.25'"
