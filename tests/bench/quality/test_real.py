"""The benchmark of edits of pictures measures what it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.judge.judge import load
from bench.quality.measures import BEST_PSNR
from bench.quality.real import collect
from bench.quality.real.collect import CEILINGS, make
from bench.quality.real.contenders import CURVES, DIRECT_INVERSION, METHODS
from bench.quality.real.drawings import Drawing, drawable
from bench.quality.real.measures import measure
from bench.quality.real.methods import groups
from bench.quality.real.report import COLUMNS
from bench.quality.report import summed_up, table
from bench.quality.results import read
from p2p_core.demo import scenes

PAIRS = drawable(4)


def test_every_kind_is_there_as_often_and_can_be_drawn():
    edits = [case for pair in PAIRS for case in pair]
    kinds = [case.kind for case in edits]
    assert len(edits) == len({case.name for case in edits}) == 24
    assert {kinds.count(kind) for kind in kinds} == {4}
    assert all(case.changed in ("adjective", "worn") for case in edits if case.kind == "remove phrase")


def test_captions_for_choosing_are_not_those_of_the_table():
    names = {case.name for pair in PAIRS for case in pair}
    assert not names & {case.name for pair in drawable(4, first=10**4) for case in pair}


def test_the_true_edit_is_right_and_the_picture_is_kept_but_no_edit():
    """A square of another brightness in place of the drawings, which need a font."""
    picture = torch.rand(3, 128, 128)
    edit = picture.clone()
    edit[:, 40:80, 40:80] = 0
    drawn = Drawing(picture, edit, (picture == edit).all(0))
    true = measure(load(), PAIRS[0][0], drawn, picture, edit)
    assert true["psnr"] == true["psnr_vae"] == true["drawn"] == BEST_PSNR
    same = measure(load(), PAIRS[0][0], drawn, picture, picture)
    assert same["psnr"] == BEST_PSNR and 5 < same["drawn"] < 20


def test_ways_are_sampled_side_by_side_where_they_share_a_source():
    ways = {f"{curve} {end}": way for curve, of in CURVES.items() for end, way in of.items()}
    lots = groups(ways)
    assert sum(map(len, lots)) == len(ways) > len(lots)
    assert all(len({way.beside for way in lot.values()}) == 1 for lot in lots)


@pytest.fixture
def pictures(monkeypatch):
    """Flat scenes in place of the drawings, which need a font."""

    def flat(case):
        picture = torch.full((3, 128, 128), 0.6)
        edit = picture.clone()
        edit[0, 32:96, 32:96] = 0.9
        return Drawing(picture, edit, (picture == edit).all(0))

    monkeypatch.setattr(collect, "drawing", flat)


def test_every_way_is_made_once_and_only_img2img_and_ddim_lose_the_source(pictures, monkeypatch, tmp_path):
    monkeypatch.setattr("bench.quality.real.methods.STEPS", 2)
    case = replace(PAIRS[0][0], source=scenes.parse("a cat on a car".replace("on", "sitting on")), seed=8)
    case = replace(case, edit=scenes.parse("a dog sitting on a car"), changed="subject")
    for _ in range(2):
        make(tmp_path, "methods", 1, [(case,)], METHODS)
    rows = {row["method"]: row for row in read(tmp_path, "methods")}
    assert list(rows) == [*CEILINGS, *METHODS]
    lost = {name for name, row in rows.items() if row.get("off", 0) > 1e-5}
    assert lost == {name for name, way in METHODS.items() if way.held is None}
    assert all(rows[name]["seconds"] > 0 for name in METHODS)
    means = summed_up(list(rows.values()), COLUMNS)["all"]
    assert means[CEILINGS[1]]["drawn"] > means["img2img, denoise 0.7"]["drawn"]
    assert all(name in table(means, COLUMNS) for name in METHODS)
    assert METHODS["Direct Inversion"] is DIRECT_INVERSION
