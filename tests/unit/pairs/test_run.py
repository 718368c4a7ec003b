"""The command as it is run: made, killed, gone on with, and drawn again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from bootstrap import CHECKOUT
from PIL import Image
from prompt_to_prompt.p2p_core.pairs import run as command
from prompt_to_prompt.p2p_core.pairs.arguments import order_of, parser
from prompt_to_prompt.p2p_core.pairs.clip import Thresholds
from prompt_to_prompt.p2p_core.pairs.shards import read_rows

FEW = ["--steps", "2", "--samples", "2", "--width", "64", "--height", "64", "--format", "webdataset"]


def made(folder) -> list[dict]:
    return [row for file in sorted((folder / "data").glob("train-*")) for row in read_rows(file)]


def start(folder, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    whole = [sys.executable, "-m", "p2p_core", "pairs", "-o", str(folder), *FEW, *arguments]
    return subprocess.Popen(whole, cwd=folder.parent, env=environment, stderr=subprocess.PIPE, text=True)  # noqa: S603


def until(true, seconds: float = 300) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Twenty demo pairs in shards of eight, in one go."""
    folder = tmp_path_factory.mktemp("whole")
    assert command.main(["-o", str(folder), "--demo_pairs", "20", "--shard", "8", *FEW]) == 0
    return folder


def test_what_was_made_is_told_with_pictures(whole):
    card = (whole / "README.md").read_text()
    drawn = json.loads((whole / "report.json").read_text())["drawn"]
    for kind, count in drawn.items():
        assert f"| {kind} |" in card and f"| {count} |" in card
    assert "Nothing else was filtered" in card and "path: data/*.tar" in card
    assert {"contact_sheet.png", "scores.png"} <= {file.name for file in whole.iterdir()}
    assert Image.open(whole / "contact_sheet.png").width > 1000


def test_a_data_set_is_made_with_nothing_at_hand(whole):
    rows = made(whole)
    assert len(list((whole / "data").iterdir())) == 3
    places = [(row["line"], row["sample"]) for row in rows]
    assert places == sorted(set(places)) and set(places) < {(line, n) for line in range(1, 21) for n in (0, 1)}
    drawn = [json.loads(file.read_text())["drawn"] for file in (whole / "tallies").iterdir()]
    assert sum(sum(kinds.values()) for kinds in drawn) == 40  # of two steps, both injected, some change nothing
    assert all(0.1 <= row["p"] <= 0.9 and row["written_by"] == "alignment" for row in rows)


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_the_card_says_how_hugging_faces_datasets_open_it(form, tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "pairs"
    assert command.main(["-o", str(folder), "--demo_pairs", "1", *FEW, "--samples", "1", "--format", form]) == 0
    opened = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    names = ["input_image", "edited_image", "edit_prompt"]
    if form == "webdataset":
        names = ["input_image.png", "edited_image.png", "edit_prompt.txt"]
    before, after, said = (opened[0][name] for name in names)
    assert before.size == after.size == (64, 64) and isinstance(said, str)


def test_killed_it_goes_on_and_nothing_is_lost_or_doubled(whole, tmp_path):
    folder = tmp_path / "killed"
    process = start(folder, "--demo_pairs", "20", "--shard", "8")
    until(lambda: list(folder.glob("data/train-*.tar")) or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = {file.name: file.stat().st_mtime_ns for file in (folder / "data").glob("train-*.tar")}
    assert 1 <= len(before) < 3
    assert command.main(["-o", str(folder), "--demo_pairs", "20", "--shard", "8", *FEW]) == 0
    assert {name: (folder / "data" / name).stat().st_mtime_ns for name in before} == before  # not made again
    assert made(folder) == made(whole)


def test_done_it_loads_no_model_and_reports_again(whole, monkeypatch, capsys):
    monkeypatch.setattr(command, "Worker", None)
    assert command.main(["-o", str(whole), "--demo_pairs", "20", "--shard", "8", *FEW]) == 0
    assert "everything" in capsys.readouterr().out


def test_other_settings_do_not_go_into_the_same_folder(whole, capsys):
    assert command.main(["-o", str(whole), "--demo_pairs", "20", "--shard", "8", *FEW, "--steps", "3"]) == 1
    assert "output: " in (said := capsys.readouterr().err) and "other settings: steps" in said


def test_other_lines_do_not_go_into_the_same_shards(whole, tmp_path, capsys):
    other = tmp_path / "other.jsonl"
    other.write_text('{"source": "a cat", "edit": "a dog"}\n')
    assert command.main([str(other), "-o", str(whole), "--shard", "8", *FEW]) == 1
    assert "other lines" in capsys.readouterr().err


def test_bad_lines_are_rejected_with_their_reasons_and_the_run_goes_on(tmp_path, capsys):
    lines = ["{", '{"source": "a cat on a car", "edit": "a dog on a car"}', '{"source": "a cat", "edit": "a zebra"}']
    lines += [
        '{"source": "a cat", "edit": "a dog", "reweight": {"bird": 2}}',
        '{"source": "a cat", "edit": "a dog", "self_end": 3}',
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(lines))
    folder = tmp_path / "pairs"
    for _ in range(2):  # the second time all is done, and is told all the same
        assert command.main([str(tmp_path / "lines.jsonl"), "-o", str(folder), *FEW]) == 0
        rejects = {one["line"]: one["input"] for one in map(json.loads, (folder / "rejects.jsonl").open())}
        assert rejects == {1: "", 3: "edit", 4: "words", 5: "self_end"}
    assert [row["line"] for row in made(folder)] == [2, 2]
    assert "4 lines rejected" in capsys.readouterr().out


def test_a_row_of_a_shard_is_drawn_again_to_the_bit(whole, tmp_path, capsys):
    shard = sorted((whole / "data").iterdir())[2]
    assert command.main(["-o", str(tmp_path), "--again", str(shard), "5"]) == 0
    assert "The same to the bit." in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again_edited_image.png", "again_input_image.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.jsonl"], "input: there is no file"),
        (["--samples", "0"], "samples: 0 is too small"),
        (["--p", "0.9", "0.1"], "p: 0.9 to 0.1"),
        (["--model", "nowhere"], "model: there is no file or folder nowhere"),
        (["--clip", "nowhere"], "clip: there is no folder nowhere"),
        (["--filter", "nowhere:some"], "filter: there is no nowhere:some"),
        (["--address", "somewhere"], "address: it needs --workers"),
        (["--sampler_name", "magic"], "sampler_name: 'magic' is not one of"),
        (["--again", "nowhere.tar", "0"], "again: "),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments, message, tmp_path, capsys):
    assert command.main(["-o", str(tmp_path), "--format", "webdataset", *arguments]) == 1
    assert f"prompt-to-prompt pairs: {message}" in capsys.readouterr().err


def test_the_example_of_options_is_the_papers():
    order = order_of(parser().parse_args([f"@{CHECKOUT / 'p2p_core/pairs/instruct_pix2pix.options'}"]))
    assert (order.draws.samples, order.draws.p, order.keep) == (100, (0.1, 0.9), 4)
    assert (order.thresholds, order.settings.inject) == (Thresholds(0.75, 0.2, 0.2), "self")


def test_options_are_read_from_a_file(tmp_path, capsys):
    (tmp_path / "options").write_text(
        f"# few\n--steps 2\n--samples 1\n--demo_pairs 1\n--format webdataset\n-o '{tmp_path / 'a b'}'\n"
    )
    assert command.main([f"@{tmp_path / 'options'}"]) == 0
    assert len(made(tmp_path / "a b")) == 1
