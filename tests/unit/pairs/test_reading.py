"""What goes in: lines of three kinds of files, and those that make no pair."""

from __future__ import annotations

import io
import json

import pytest
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.pairs.captions import KINDS, demo_lines
from prompt_to_prompt.p2p_core.pairs.reading import Reject, read_lines, requests
from prompt_to_prompt.p2p_core.pairs.request import read_request, restored

LINES = [
    {"source": "a cat on a car", "edit": "a dog, smiling, on a car", "seed": 2**62 + 1},
    {"source": "a cat on a car", "edit": "a cat on a red car", "instruction": "paint it red", "reweight": {"red": 2.0}},
    {"source": "a cat", "edit": "an owl", "self_end": 0.5, "source_words": "cat", "edit_words": "owl"},
]


def read(path) -> list:
    return [one for _, one in requests(read_lines(str(path)), lambda text: None)]


def written_as(kind: str, folder):
    path = folder / f"lines.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, LINES)) + "\n\n", encoding="utf-8")
    elif kind == "csv":
        rows = ["edit,source,seed,instruction,reweight,self_end,source_words,edit_words"]
        rows += [f'"a dog, smiling, on a car",a cat on a car,{2**62 + 1},,,,,']
        rows += ['a cat on a red car,a cat on a car,,paint it red,"red: 2",,,', "an owl,a cat,,,,0.5,cat,owl"]
        path.write_text("\ufeff" + "\r\n".join(rows), encoding="utf-8")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(
            pyarrow.Table.from_pylist([dict.fromkeys(k for line in LINES for k in line) | one for one in LINES]), path
        )
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_kind_of_file_says_the_same(kind, tmp_path):
    assert (
        read(written_as(kind, tmp_path))
        == read(written_as("jsonl", tmp_path))
        == [read_request(line) for line in LINES]
    )


def test_standard_input_is_json_lines(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(json.dumps, LINES))))
    assert read("-") == [read_request(line) for line in LINES]


def test_an_instruction_is_the_inputs_or_says_who_wrote_it():
    given, written = read_request(LINES[1]), read_request(LINES[0] | {"edit": "a dog on a car"})
    assert (given.instruction, given.written_by) == ("paint it red", "input")
    assert (written.instruction, written.written_by) == ("replace the cat with a dog", "alignment")


def test_a_request_comes_back_from_its_text():
    for line in LINES:
        assert restored(read_request(line).text) == read_request(line)


@pytest.mark.parametrize(
    ("line", "input_name"),
    [
        ({"edit": "a dog"}, "source"),
        ({"source": "a cat", "edit": "  "}, "edit"),
        ({"source": "a cat", "edit": "a cat"}, "edit"),
        ({"source": 3, "edit": "a dog"}, "source"),
        ({"source": "a cat", "edit": "a dog", "seed": -1}, "seed"),
        ({"source": "a cat", "edit": "a dog", "seed": 1.5}, "seed"),
        ({"source": "a cat", "edit": "a dog", "seed": "eight"}, "seed"),
        ({"source": "a cat", "edit": "a dog", "self_end": 2}, "self_end"),
        ({"source": "a cat", "edit": "a dog", "cross_start": 0.9, "cross_end": 0.5}, "cross_start"),
        ({"source": "a cat", "edit": "a dog", "word_windows": "dog"}, "word_windows"),
        ({"source": "a cat", "edit": "a dog", "mode": "magic"}, "mode"),
        ({"source": "a cat", "edit": "a dog", "reweight": "red"}, "reweight"),
        ({"source": "a cat", "edit": "a dog", "reweight": {"red": "much"}}, "reweight"),
        ({"source": "a cat", "edit": "a dog", "threshold": "low"}, "threshold"),
    ],
)
def test_a_line_that_cannot_be_is_refused_by_its_column(line, input_name):
    with pytest.raises(EditError) as raised:
        read_request(line)
    assert raised.value.input == input_name


def test_bad_lines_are_told_apart_and_the_others_are_read(tmp_path):
    file = tmp_path / "lines.jsonl"
    good = json.dumps(LINES[0] | {"url": "somewhere"})
    file.write_text("\n".join([good, "{", "[1]", json.dumps({"source": "a cat"}), good]), encoding="utf-8")
    said = []
    found = list(requests(read_lines(str(file)), said.append))
    assert [line for line, _ in found] == [1, 2, 3, 4, 5]
    rejects = [one for _, one in found if isinstance(one, Reject)]
    assert [reject.line for reject in rejects] == [2, 3, 4, 5]
    assert "no JSON" in rejects[0].reason and "named columns" in rejects[1].reason
    assert rejects[2].input == "edit" and rejects[3].reason == "line 1 asks for the same."
    assert said == ["Columns that are not used: url."]


def test_a_row_of_a_table_with_too_many_values_is_a_bad_line(tmp_path):
    file = tmp_path / "lines.csv"
    file.write_text("source,edit\na cat, sitting,a dog, sitting\na cat,a dog\n", encoding="utf-8")
    bad, good = read(file)
    assert "more values" in bad.reason and good.edit == "a dog"


@pytest.mark.parametrize("name", ["nowhere.jsonl", "lines.txt"])
def test_a_file_that_cannot_be_read_is_told(name, tmp_path):
    (tmp_path / "lines.txt").write_text("a cat")
    with pytest.raises(EditError, match=r"input: "):
        read(tmp_path / name)


def test_demo_captions_are_of_every_kind_and_never_the_same_twice():
    found = [one for _, one in requests(demo_lines(180), lambda text: None)]
    assert not any(isinstance(one, Reject) for one in found)
    counts = [sum(one.kind == kind for one in found) for kind in KINDS]
    assert sum(counts) == 180 and max(counts) - min(counts) <= 4
    assert len({one.source for one in found}) <= 90
