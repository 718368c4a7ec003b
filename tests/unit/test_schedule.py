"""When, how strongly and where the source's attention is injected."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.layers import Layer, blend_level, check_blocks, halved, parse_blocks
from prompt_to_prompt.p2p_core.schedule import (
    FEW_STEPS,
    RAMPS,
    SELF_LAYERS,
    SELF_MODES,
    InjectSchedule,
    Window,
    WordWindow,
    parse_word_windows,
)
from prompt_to_prompt.p2p_core.step import step_of

# What a person can type: fractions of up to four decimals.
decimals = st.sampled_from([100, 10_000]).flatmap(lambda n: st.integers(0, n).map(lambda i: Fraction(i, n)))
ends = st.lists(decimals, min_size=2, max_size=2).map(sorted)


@given(ends, st.integers(FEW_STEPS, 1000), st.data())
@example([Fraction("0.07"), Fraction("0.55")], 100, None)  # as floats 0.07 * 100 > 7 and 0.55 * 100 > 55
def test_a_window_holds_the_steps_from_start_up_to_end(ends, steps, data):
    """start <= i / n < end, exactly, though the widget's numbers are binary."""
    start, end = ends
    window = Window(float(start), float(end))
    near = {0, steps - 1, *(max(0, min(steps - 1, int(edge * steps) + d)) for edge in ends for d in (-1, 0, 1))}
    for step in near if data is None else {*near, data.draw(st.integers(0, steps - 1))}:
        assert window.holds(step, steps) == (start <= Fraction(step, steps) < end)


@given(ends, st.integers(1, FEW_STEPS - 1))
def test_of_few_steps_a_window_holds_the_same_ones_and_at_least_one(ends, steps):
    start, end = ends
    window = Window(float(start), float(end))
    held = [step for step in range(steps) if window.holds(step, steps)]
    begun = [step for step in range(steps) if start <= Fraction(step, steps) < end]
    if begun or start == end:
        assert held == begun
    else:
        assert held == [int(start * steps)], "the step in which it begins"


@pytest.mark.parametrize(
    ("end", "counts"), [(0.8, [1, 2, 3, 4]), (0.5, [1, 1, 2, 2]), (0.4, [1, 1, 2, 2]), (0.2, [1, 1, 1, 1])]
)
def test_of_one_to_four_steps_windows_hold_what_the_help_page_says(end, counts):
    assert [sum(Window(0.0, end).holds(i, n) for i in range(n)) for n in (1, 2, 3, 4)] == counts


@pytest.mark.parametrize(("start", "end", "steps", "held"), [(0.1, 0.2, 4, [0]), (0.6, 0.7, 2, [1]), (0.9, 1, 1, [0])])
def test_of_few_steps_a_window_between_two_is_not_lost(start, end, steps, held):
    assert [i for i in range(steps) if Window(start, end).holds(i, steps)] == held


@given(ends, ends, st.integers(FEW_STEPS, 100), st.integers(0, 99))
def test_windows_that_meet_share_no_step_and_leave_out_none(first, second, steps, step):
    a, b, c = sorted({*first, *second})[:3] if len({*first, *second}) > 2 else (0, *first)
    whole, left, right = Window(float(a), float(c)), Window(float(a), float(b)), Window(float(b), float(c))
    assume(step < steps)
    assert left.holds(step, steps) + right.holds(step, steps) == whole.holds(step, steps)


@given(ends, st.integers(1, 60), st.sampled_from(RAMPS))
def test_ramps_start_at_one_and_never_rise(ends, steps, shape):
    window = Window(*map(float, ends))
    inside = [window.ramp(shape, i, steps) for i in range(steps) if window.holds(i, steps)]
    outside = [window.ramp(shape, i, steps) for i in range(steps) if not window.holds(i, steps)]
    assert not any(outside)
    assert all(0 <= value <= 1 for value in inside)
    assert all(later <= earlier for earlier, later in pairwise(inside))
    if ends[0] == 0 and inside:
        assert inside[0] == 1


def test_ramps_reach_half_in_the_middle():
    assert [Window(0.2, 0.6).ramp(shape, 4, 10) for shape in RAMPS] == pytest.approx([1, 0.5, 0.5])


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        ((0.5, 0.2), "^cross_start: 0.5 is after cross_end, which is 0.2"),
        ((-0.1, 0.2), "^cross_start: -0.1 is out of range. Choose a fraction of the steps"),
        ((0.0, 1.5), "^cross_end: 1.5 is"),
        ((float("nan"), 1.0), "^cross_start: nan is"),
    ],
)
def test_a_bad_window_names_its_widget(ends, message):
    with pytest.raises(EditError, match=message):
        Window(*ends, "cross")


def test_word_windows_take_the_place_of_the_schedules_own():
    words = (WordWindow("dog", Window(0.0, 0.3), (2,)), WordWindow("mars", Window(0.9, 1.0), (4, 5)))
    schedule = InjectSchedule(Window(0.0, 0.8), cross_strength=0.5, word_windows=words)
    assert schedule.cross_strengths(6, 0, 10) == [0.5, 0.5, 0.5, 0.5, 0, 0]
    assert schedule.cross_strengths(6, 5, 10) == [0.5, 0.5, 0, 0.5, 0, 0]
    assert schedule.cross_strengths(6, 9, 10) == [0, 0, 0, 0, 0.5, 0.5]


def test_lines_of_word_windows():
    parsed = parse_word_windows("dog: 0.0-0.3\n\n  red car = .5 to 1  \n[5]: 0 – 1\ncat#2:0-0.25")
    assert [(w.words, w.window.start, w.window.end) for w in parsed] == [
        ("dog", 0.0, 0.3),
        ("red car", 0.5, 1.0),
        ("[5]", 0.0, 1.0),
        ("cat#2", 0.0, 0.25),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dog", "word_windows: 'dog' is not of the form 'dog: 0.0-0.3'"),
        ("dog: 0.3", "is not of the form"),
        ("dog: 0.1.2-0.3", "is not of the form"),
        ("dog: 0.5-0.2", "^word_windows: in 'dog: 0.5-0.2', the start 0.5 is after end"),
        ("dog: 0-2", "the end 2.0 is out"),
    ],
)
def test_a_line_that_is_no_word_window_is_quoted(line, message):
    with pytest.raises(EditError, match=message):
        parse_word_windows(f"cat: 0-1\n{line}")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cross_strength": 1.5}, "^cross_strength: 1.5 is out of range"),
        ({"self_strength": -1}, "^self_strength: -1 is"),
        ({"self_strength": float("nan")}, "^self_strength: nan is"),
        ({"ramp": "steep"}, "^ramp: 'steep' is not one of: constant, linear, cosine"),
        ({"self_layers": "most"}, "^self_layers: 'most' is not one of: all, half, quarter"),
        ({"self_mode": "mpa"}, "^self_mode: 'mpa' is not one of: map, key_value, output"),
    ],
)
def test_a_bad_setting_names_itself(setting, message):
    with pytest.raises(EditError, match=message):
        InjectSchedule(**setting)


# --- layers ---


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ("down:", "^blocks: 'down:' is not a block"),
        ("3-5", "^blocks: '3-5' is not a block"),
        ("output:5-3", "^blocks: 'output:5-3' counts downwards. Write 'output:3-5'"),
    ],
)
def test_blocks_that_can_t_be_read(blocks, message):
    with pytest.raises(EditError, match=message):
        parse_blocks(blocks)


def test_where_all_layers_have_one_resolution_half_is_all_of_them():
    """As in transformers, whatever the size of their patches."""
    for level in (0, 1):
        layers = [Layer("joint", i, 0, ("text", "image"), level, 2, 4) for i in range(3)]
        assert all(InjectSchedule().on(layers).injects(layer, "image") for layer in layers)
        with pytest.raises(EditError, match=r"^self_layers: 'quarter'.*Choose 'half' or 'all'"):
            InjectSchedule(self_layers="quarter").on(layers)


def test_auto_is_what_suits_the_model():
    """Saved workflows keep the mode that they name."""
    joint = [Layer("joint", 0, 0, ("text", "image"), 1, 2, 4)]
    unet = [Layer("middle", 0, 0, (part,), 2, 2, 4) for part in ("image", "text")]
    assert [InjectSchedule().on(layers).self_mode for layers in (unet, joint)] == ["map", "layout"]
    for mode in set(SELF_MODES) - {"auto"}:
        assert {InjectSchedule(self_mode=mode).on(layers).self_mode for layers in (unet, joint)} == {mode}


def layer(kind="self", level=0, block="input", number=1) -> Layer:
    return Layer(block, number, 0, {"self": ("image",), "cross": ("text",)}[kind], level, 8, 40)


@pytest.mark.parametrize(("layers", "reached"), [("all", {0, 1, 2, 3}), ("half", {1, 2, 3}), ("quarter", {2, 3})])
def test_self_layers_limit_self_attention_alone(layers, reached):
    schedule = InjectSchedule(self_layers=layers)
    assert {level for level in range(4) if schedule.injects(layer("self", level), "image")} == reached
    assert all(schedule.injects(layer("cross", level), "text") for level in range(4))


@pytest.mark.parametrize(
    ("blocks", "reached"),
    [
        ("", {"input:1", "input:4", "middle:0", "output:3", "output:5"}),
        ("input", {"input:1", "input:4"}),
        (" Middle , output:5", {"middle:0", "output:5"}),
        ("input:4\noutput:3-4", {"input:4", "output:3"}),
    ],
)
def test_blocks(blocks, reached):
    schedule = InjectSchedule(blocks=parse_blocks(blocks), self_layers="all")
    places = [("input", 1), ("input", 4), ("middle", 0), ("output", 3), ("output", 5)]
    assert {f"{b}:{n}" for b, n in places if schedule.injects(layer(block=b, number=n), "image")} == reached
    assert {f"{b}:{n}" for b, n in places if schedule.injects(layer("cross", block=b, number=n), "text")} == reached


def test_blocks_that_the_model_lacks_are_an_error_that_lists_those_it_has():
    with pytest.raises(EditError, match=r"^blocks: this model has no attention layer in 'output:9'.*input:1, output:5"):
        check_blocks(parse_blocks("input, output:9"), [layer(), layer(block="output", number=5)])
    assert parse_blocks("") == ()
    assert set(SELF_LAYERS) == {"all", "half", "quarter"}


@pytest.mark.parametrize(
    ("size", "levels", "expected"),
    [
        ((64, 64), (0, 1, 2, 3), 2),  # the paper's: 16 x 16 of 64 x 64
        ((128, 128), (1, 2), 2),  # SDXL
        ((96, 64), (0, 1, 2, 3), 2),
        ((32, 32), (0, 1, 2), 2),
        ((16, 16), (0, 1, 2), 1),
        ((8, 8), (1, 2), 1),  # none has as many: the finest
    ],
)
def test_maps_for_blending_come_from_a_quarter_of_the_resolution_or_from_8_by_8(size, levels, expected):
    assert blend_level([layer("cross", level) for level in levels], *size) == expected


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 5))
def test_halving_rounds_up_each_time(height, width, level):
    expected = (height, width)
    for _ in range(level):
        expected = tuple((side + 1) // 2 for side in expected)
    assert halved(height, width, level) == expected


# --- which step it is ---


@given(st.integers(1, 60), st.data())
def test_the_step_is_found_from_the_noise_level(steps, data):
    """At a level of the schedule it is that step; between two levels it is the earlier one's."""
    sigmas = [14.6 * (1 - i / steps) ** 2 for i in range(steps + 1)]
    i = data.draw(st.integers(0, steps - 1))
    assert step_of(sigmas[i], sigmas) == i
    assert step_of((sigmas[i] + sigmas[i + 1]) / 2, sigmas) == i
    assert step_of(sigmas[0] * 1.05, sigmas) == 0
    assert step_of(0.0, sigmas) == steps - 1
