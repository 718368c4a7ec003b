"""The benchmark of edits measures what it says."""

import json
from dataclasses import replace

import pytest
import torch

from bench.judge.judge import load
from bench.quality import transformer
from bench.quality.cases import KINDS, cases
from bench.quality.collect import make
from bench.quality.contenders import METHODS
from bench.quality.measures import BEST_PSNR, measure, region
from bench.quality.report import summed_up, table
from bench.quality.results import read as read_results
from p2p_core.demo.scenes import parse

CASES = cases(20)


def test_every_edit_changes_what_it_says_and_nothing_else():
    assert [case.kind for case in CASES] == [kind for kind in KINDS for _ in range(20)]
    for case in CASES:
        before, after = (getattr(scene, case.changed) for scene in (case.source, case.edit))
        assert replace(case.edit, **{case.changed: before}) == case.source
        assert (before == after) == (case.scale is not None)
        assert case.changed not in case.kept
        assert case.scale is None or case.word in case.edit.caption.split()


def test_captions_for_choosing_are_not_those_of_the_table():
    assert not {case.name for case in CASES} & {case.name for case in cases(20, first=10**4)}


@pytest.mark.parametrize("case", [CASES[0], CASES[20 * KINDS.index("change place")]], ids=lambda case: case.kind)
def test_measures(case):
    """A picture changed within the thing's box alone is the source to every measure of the rest."""
    source = torch.rand(3, 128, 128)
    same = measure(load(), case, source, source)
    assert same["kept"] and same["psnr"] == BEST_PSNR and same["structure"] < 1e-9
    outside = region(case, (0.2, 0.2, 0.5, 0.5), (0.6, 0.6, 0.9, 0.9), 128)
    assert outside[100, 100] and not outside[5, 5] if case.changed == "place" else not outside[40, 40]
    noisy = measure(load(), case, source, torch.rand(3, 128, 128))
    assert noisy["psnr"] < 10 and noisy["structure"] > same["structure"]


def test_the_transformer_makes_an_edit(tmp_path):
    """Settings are sampled beside one source, and the longer window keeps more of it."""
    source, edit = parse("a cat sitting on a car"), parse("a dog sitting on a car")
    case = replace(CASES[0], source=source, edit=edit, changed="subject", seed=8)
    settings = {name: transformer.METHODS[name] for name in ("layout 0.2", "layout 0.4")}
    transformer.make(tmp_path, "methods", 1, [case], settings)
    first, second = read_results(tmp_path, "methods")
    assert first["success"] and second["success"] and second["psnr"] > first["psnr"]
    transformer.report(tmp_path)
    assert json.loads((tmp_path / "transformer.json").read_text())["methods"]["all"]["layout 0.4"]["edits"] == 1


def test_a_blend_lets_the_transformer_swap_a_large_thing(tmp_path):
    """Its masks are where the thing is, and not all that is around it."""
    source, edit = parse("a fox next to a pumpkin in the desert"), parse("a fox next to a box in the desert")
    case = replace(CASES[0], source=source, edit=edit, changed="object", seed=40002)
    methods = {"blend": transformer.layout(0.6, blend=0.3), "none": transformer.layout(0.6)}
    transformer.make(tmp_path, "methods", 1, [case], methods)
    blended, whole = read_results(tmp_path, "methods")
    assert blended["success"] and blended["psnr"] > whole["psnr"]


def test_the_methods_make_an_edit(tmp_path):
    """A dog for a cat: seen by the judge by every method; and what is made is not made again."""
    case = replace(
        CASES[0],
        source=parse("a cat sitting on a car"),
        edit=parse("a dog sitting on a car"),
        changed="subject",
        seed=8,
    )
    for _ in range(2):
        make(tmp_path, "methods", 1, [case], METHODS)
    rows = read_results(tmp_path, "methods")
    assert [row["method"] for row in rows] == list(METHODS)
    assert all(row["success"] and row["seconds"] > 0 for row in rows)
    measured = summed_up(rows)["all"]
    assert measured["defaults"]["psnr"] > measured["no injection"]["psnr"]
    assert all(name in table(measured) for name in METHODS)
