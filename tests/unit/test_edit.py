"""The edit that goes over the wires: every method returns a new one, and refuses what can't be."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.alignment import align
from prompt_to_prompt.p2p_core.architecture import Architecture
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.layers import Layer, parse_blocks
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, parse_word_windows
from reference.prompts import tokenised

SOURCE = tokenised("a cat on a car", chunk=10)
DOG = tokenised("a dog on a car, a red car", chunk=14)
FOX = tokenised("a fox on a boat", chunk=10)
#                1 2   3  4 5


PARTS = ("image", "text")
UNET = Architecture(
    "a UNet",
    tuple(Layer(block, 0, 0, (part,), k, 2, 4) for k, block in enumerate(("input", "middle")) for part in PARTS),
    pixels=8,
    prompt_length=10,
)


def edit() -> Edit:
    return Edit(SOURCE).add(DOG).add(FOX, "replace")


def test_variants_are_added_in_order_and_unets_have_the_papers_defaults():
    made = edit()
    assert [variant.prompt for variant in made.variants] == [DOG, FOX]
    assert made.variants[1].alignment == align(SOURCE, FOX, "replace")
    assert made.variants[0].schedule is None
    schedule = made.on(UNET).variants[0].schedule
    assert (schedule.cross_window, schedule.self_window) == (Window(0.0, 0.8), Window(0.0, 0.4))
    assert (schedule.cross_strength, schedule.ramp, schedule.self_layers) == (1.0, "constant", "half")
    assert made.variants[0].blend is None


def test_without_a_schedule_an_edit_has_its_architecture_s():
    layers = tuple(Layer("joint", i, 0, ("text", "image"), 1, 2, 4) for i in range(2))
    made = edit().on(Architecture("a transformer", layers, pixels=8, prompt_length=10))
    schedule = made.variants[0].schedule
    assert (schedule.cross_window, schedule.self_window) == (Window(0.0, 0.0), Window(0.0, 0.4))
    assert (schedule.self_mode, schedule.self_layers) == ("layout", "all")
    assert edit().schedule(InjectSchedule(ramp="linear")).on(UNET).variants[0].schedule.cross_window == Window(0, 0.8)


def test_nothing_is_changed_in_place():
    before = edit()
    after = before.reweight("fox", 2.0).schedule(InjectSchedule(ramp="linear")).local_blend("cat", "fox")
    assert before == edit() != after
    with pytest.raises(FrozenInstanceError):
        before.source = FOX


@given(st.lists(st.tuples(st.sampled_from(["dog", "car", "red", "a"]), st.integers(-8, 8)), max_size=5))
def test_scales_of_a_chain_multiply(chain):
    made, expected = edit(), [1.0] * len(DOG)
    for words, scale in chain:
        made = made.reweight(words, scale)
        for place in DOG.find(words):
            for i in place:
                expected[i] *= scale
    assert made.variants[0].weights(0, 1) == expected


def test_a_token_named_twice_is_scaled_once():
    weights = edit().reweight("car, CAR, red car, [5]", 3.0).variants[0].weights(0, 1)
    assert {i: w for i, w in enumerate(weights) if w != 1} == {5: 3, 8: 3, 9: 3}


def test_a_weight_holds_in_its_window():
    variant = edit().reweight("dog", 3.0, 0.2, 0.5).reweight("dog", 2.0, 0.4, 1.0).variants[0]
    assert [variant.weights(step, 10)[2] for step in (0, 1, 2, 3, 4, 5, 9)] == [1, 1, 3, 3, 6, 2, 2]


def test_words_are_set_for_the_prompts_that_have_them():
    made = edit().reweight("fox, car", 2.0)
    assert [[r.positions for r in variant.reweights] for variant in made.variants] == [[(5, 9)], [(2,)]]
    lines = parse_word_windows("fox: 0-0.3\na: 0.5-1")
    made = edit().schedule(InjectSchedule(word_windows=lines))
    assert [[w.positions for w in variant.schedule.word_windows] for variant in made.variants] == [
        [(1, 4, 7)],
        [(2,), (1, 4)],
    ]


def test_an_edit_added_later_starts_from_the_defaults():
    made = Edit(SOURCE).add(DOG).schedule(InjectSchedule(ramp="cosine")).reweight("a", 2.0).add(FOX)
    assert [variant.schedule.ramp for variant in made.on(UNET).variants] == ["cosine", "constant"]
    assert made.variants[1].reweights == ()


def test_local_blend_is_set_for_the_edits_that_have_its_words():
    first, second = edit().local_blend("cat", "fox", 0.5, 0.1, subtract_words="on").variants
    assert first.blend is None
    blend = second.blend
    assert (blend.source_positions, blend.edit_positions) == ((2,), (2,))
    assert (blend.source_subtract, blend.edit_subtract) == ((3,), (3,))
    assert (blend.threshold, blend.start, blend.has_words) == (0.5, 0.1, True)


def test_local_blend_by_a_mask_or_the_sources_words_alone_is_for_all_edits():
    mask = torch.ones(4, 4)
    assert all(variant.blend.mask is mask for variant in edit().local_blend("", "", mask=mask).variants)
    assert all(variant.blend.source_positions == (2,) for variant in edit().local_blend("cat", "").variants)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.add(DOG, "replace"), "^mode: 'replace'"),
        (lambda e: e.reweight("cat", 2.0), "^words: 'cat' is not in the prompt.*a, dog, on, car, red, fox, boat"),
        (lambda e: e.reweight(" , ", 2.0), "^words: it is empty"),
        (lambda e: e.reweight("dog", float("nan")), "^scale: nan is"),
        (lambda e: e.reweight("dog", float("inf")), "^scale: inf is"),
        (lambda e: e.reweight("dog", 2.0, 0.8, 0.2), "^start: 0.8 is after end, which is 0.2"),
        (lambda e: e.schedule(InjectSchedule(word_windows=parse_word_windows("cat: 0-1"))), "^word_windows: 'cat' is"),
        (lambda e: e.local_blend("", ""), "^source_words and edit_words: they are empty"),
        (lambda e: e.local_blend("dog", ""), "^source_words: 'dog' is not"),
        (lambda e: e.local_blend("", "cat"), "^edit_words: 'cat' is not"),
        (lambda e: e.local_blend("cat", "dog", subtract_words="moon"), "^subtract_words: 'moon' is not"),
        (lambda e: e.local_blend("cat", "dog", threshold=1.5), "^threshold: 1.5 is"),
        (lambda e: e.local_blend("cat", "dog", start=-1), "^start: -1 is"),
    ],
)
def test_what_cannot_be_is_an_error_that_begins_with_the_inputs_name(change, message):
    with pytest.raises(EditError, match=message):
        change(edit())


LAYERS = [
    Layer(block, number, 0, (part,), level, 2, 4)
    for block, number, level in (("input", 1, 0), ("middle", 0, 1))
    for part in ("image", "text")
]
OFF = Window(0.0, 0.0)


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        (InjectSchedule(cross_strength=0, self_strength=0), "cross_strength and self_strength are 0, and no word"),
        (InjectSchedule(OFF, OFF), "none of the 4 steps lies in a window, and no word"),
        (InjectSchedule(Window(0.3, 0.3), OFF), "none of the 4 steps lies in a window, and no word"),
        (InjectSchedule(OFF, self_strength=0), "none of the 4 steps lies in a window, and no word"),
        (
            InjectSchedule(OFF, self_layers="half", blocks=parse_blocks("input")),
            "blocks and self_layers leave out every layer whose window is open, and no word",
        ),
        (InjectSchedule(OFF, self_layers="quarter"), "blocks and self_layers leave out every layer"),
    ],
)
def test_an_edit_that_edits_nothing_knows_why(schedule, reason):
    assert edit().schedule(schedule).why_nothing(LAYERS, 4).startswith(reason)
