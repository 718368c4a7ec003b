"""Grids of settings as variants of one edit, and the study of layers."""

from __future__ import annotations

import pytest
import torch
from prompt_to_prompt.p2p_core.architecture import Architecture
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.layers import Layer
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window
from prompt_to_prompt.p2p_core.show.comparison import changed_words, with_weights
from prompt_to_prompt.p2p_core.show.report import model_report
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token
from prompt_to_prompt.p2p_core.trials.batches import batches
from prompt_to_prompt.p2p_core.trials.study import findings, group_layers, measure, similarity, study, table
from prompt_to_prompt.p2p_core.trials.sweep import NOTHING, PARAMETERS, grid, read_axis

NONE = read_axis("y", NOTHING, "")


def prompt(text: str) -> Prompt:
    words = [Token(sum(map(ord, word)), "text", word, i) for i, word in enumerate(text.split())]
    return Prompt(text, (Stream((Token(-1, "start"), *words, Token(-2, "end")), len(words) + 2),))


@pytest.fixture
def edit() -> Edit:
    return Edit(prompt("a cat on a car")).add(prompt("a dog on a car")).schedule(InjectSchedule())


# -- axes and grids ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.2, 0.5 0.8", (0.2, 0.5, 0.8)),
        ("0:1:0.25", (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("0:0.3:0.1", (0.0, 0.1, 0.2, 0.3)),  # which binary numbers would miss
        ("1:0:-0.5", (1.0, 0.5, 0.0)),
        ("0.1; 0.1", (0.1,)),
    ],
)
def test_values_are_listed_or_ranges(text, values):
    assert read_axis("x", "cross_end", text).values == values


def test_rows_are_y_and_columns_are_x(edit):
    cells = grid(edit, read_axis("x", "cross_end", "0.1 0.2 0.3"), read_axis("y", "self_end", "0.4 0.5")).variants
    ends = [(cell.schedule.self_window.end, cell.schedule.cross_window.end) for cell in cells]
    assert ends == [(y, x) for y in (0.4, 0.5) for x in (0.1, 0.2, 0.3)]


def test_both_ends_of_one_window_can_be_swept_together(edit):
    """Neither value has to fit the window that the edit has: only the two together."""
    (cell,) = grid(edit, read_axis("x", "cross_start", "0.85"), read_axis("y", "cross_end", "0.9")).variants
    assert cell.schedule.cross_window == Window(0.85, 0.9)


def test_a_weight_comes_on_top_of_those_the_edit_has(edit):
    cells = grid(edit.reweight("car", 3.0), read_axis("x", "word weight", "-2 4", "dog"), NONE).variants
    assert [cell.weights(0, 1) for cell in cells] == [[1, 1, w, 1, 1, 3, 1] for w in (-2, 4)]


def test_a_blend_is_swept_where_there_is_one(edit):
    blended = edit.local_blend("cat", "dog")
    cells = grid(blended, read_axis("x", "blend threshold", "0.1 0.9"), NONE).variants
    assert [cell.blend.threshold for cell in cells] == [0.1, 0.9]
    with pytest.raises(EditError, match=r"^x_parameter: blend start .* local blend"):
        grid(edit, read_axis("x", "blend start", "0.1"), NONE)


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_parameter_can_be_swept_and_has_a_caption(edit, parameter):
    values = {"self_layers": "all half", "self_mode": "map output", "ramp": "linear"}.get(parameter, "0.1 0.3")
    axis = read_axis("x", parameter, values, "dog")
    cells = grid(edit.local_blend("cat", "dog"), axis, NONE).variants
    assert len(cells) == len(axis.captions()) == len(set(axis.captions())) == len(axis.values)
    assert len(set(map(repr, cells))) == len(cells)


@pytest.mark.parametrize(("rows", "batch", "sizes"), [(4, 1, [4, 2]), (4, 2, [2, 2, 2]), (1, 3, [1] * 6), (9, 1, [6])])
def test_batches_hold_to_the_limit_and_leave_nothing_out(edit, rows, batch, sizes):
    whole = grid(edit, read_axis("x", "cross_end", "0.1 0.2 0.3"), read_axis("y", "self_end", "0.4 0.5"))
    sampled = list(batches(whole, rows, batch))
    assert [len(some.variants) for some in sampled] == sizes
    assert sum((some.variants for some in sampled), ()) == whole.variants


def test_captions_say_what_was_reweighted(edit):
    (variant,) = edit.reweight("dog", 3.0).reweight("dog, car", -0.5).variants
    words = changed_words(edit.source, variant.prompt)
    assert with_weights(words, variant) == [
        ("a", False),
        ("dog ×-1.5", True),
        ("on", False),
        ("a", False),
        ("car ×-0.5", True),
    ]


# -- layers -----------------------------------------------------------------------------------------

LAYERS = [
    Layer(block, number, 0, attends_to, level, 8, 40)
    for block, number, level in (("input", 1, 0), ("input", 4, 1), ("middle", 0, 2), ("output", 5, 1))
    for attends_to in (("image",), ("text",))
]


def test_groups_of_layers():
    assert [group.label for group in group_layers(LAYERS, "block", 64, 64)] == [
        "input:1",
        "input:4",
        "middle:0",
        "output:5",
    ]
    assert [group.label for group in group_layers(LAYERS, "part", 64, 64)] == ["input", "middle", "output"]
    by_size = {group.label: tuple(map(str, group.blocks)) for group in group_layers(LAYERS, "resolution", 64, 64)}
    assert by_size == {"64x64": ("input:1",), "32x32": ("input:4", "output:5"), "16x16": ("middle:0",)}


def test_a_study_injects_everywhere_nowhere_in_each_and_in_all_but_each(edit):
    chosen = group_layers(LAYERS, "part", 64, 64)
    variants = study(edit, chosen).variants
    reached = [[layer.name for layer in LAYERS[1::2] if v.schedule.injects(layer, "text")] for v in variants]
    inputs, middle, output = ["input:1", "input:4"], ["middle:0"], ["output:5"]
    every = [*inputs, *middle, *output]
    assert reached[0] == every
    assert variants[1].schedule.cross_strength_at(0, 10) == variants[1].schedule.self_strength_at(0, 10) == 0
    assert reached[2:] == [inputs, middle, output, [*middle, *output], [*inputs, *output], [*inputs, *middle]]


def test_a_study_of_one_kind_of_attention(edit):
    chosen = group_layers(LAYERS, "part", 64, 64)
    for attention, (cross, own) in {"cross": (1, 0), "self": (0, 1), "both": (1, 1)}.items():
        schedule = study(edit, chosen, attention).variants[0].schedule
        assert (schedule.cross_strength_at(0, 10), schedule.self_strength_at(0, 10)) == (cross, own)


def test_measures_of_the_same_picture_and_of_others():
    source = torch.rand(2, 32, 32, 3)
    assert measure(source, source).moved == 0
    assert measure(source, source).kept == pytest.approx(1, abs=1e-4)
    near, far = (source + 0.05).clamp(0, 1), torch.rand(2, 32, 32, 3)
    assert measure(source, near).moved < measure(source, far).moved
    assert (similarity(source, near) > similarity(source, far)).all()


def test_findings_are_read_in_the_order_of_the_study(edit):
    """Pictures that are the grey value of their number, so that each measure says which one it was."""
    chosen = group_layers(LAYERS, "part", 64, 64)
    source = torch.zeros(2, 8, 8, 3)
    count = len(study(edit, chosen).variants)
    pictures = torch.cat([torch.full((2, 8, 8, 3), i / 100) for i in range(count)])
    found = findings(chosen, source, pictures)
    moved = [(finding.label, round(finding.only.moved), round(finding.without.moved)) for finding in found]
    assert moved == [("all layers", 0, 1), ("input", 2, 5), ("middle", 3, 6), ("output", 4, 7)]
    assert all(label in table(found) for label, _, _ in moved)


def test_a_report_counts_tokens_and_memory():
    report = model_report(Architecture("", tuple(LAYERS), 8, 77), "SD15", 64, 64).splitlines()
    assert report[1].split() == ["1", "input:1", "0", "self", "64x64", "4096", "4096", "8", "40", "256.0", "MiB"]
    assert report[2].split()[3:7] == ["cross", "64x64", "4096", "77"]
    assert any("4 self-attention and 4 cross-attention layers in 4 blocks" in line for line in report)
