"""What comes out: shards that are whole, in both forms, that Hugging Face's loaders open."""

from __future__ import annotations

import errno
import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.pairs.drawing import Settings
from prompt_to_prompt.p2p_core.pairs.filtering import Drawn
from prompt_to_prompt.p2p_core.pairs.plan import PAIRS_A_TASK, Draws, samples, tasks
from prompt_to_prompt.p2p_core.pairs.reading import Reject
from prompt_to_prompt.p2p_core.pairs.rows import pixels, row, sample_of
from prompt_to_prompt.p2p_core.pairs.shards import Shards, read_rows
from prompt_to_prompt.p2p_core.pairs.tally import Tally
from prompt_to_prompt.p2p_core.pairs.task import Done

SCORES = ("difference", "clip_direction")


@pytest.fixture(params=["parquet", "webdataset"])
def form(request):
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return request.param


@pytest.fixture
def rows(asked):
    rng = np.random.default_rng(0)
    made = []
    for line, request in enumerate(asked, 1):
        source, edited = rng.integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
        pair = Drawn(samples(request, Draws())[1], source, edited, 12, {"difference": 0.25})
        made.append(row(pair, line, Settings(steps=3)))
    return made


def written(folder, form, rows):
    shards = Shards(folder, form, 1, SCORES)
    assert shards.add(Done(0, "digest", rows, Tally(rejects=[Reject(4, "edit", "it is missing.")])))
    return shards


def test_rows_come_back_from_a_shard(tmp_path, form, rows):
    shards = written(tmp_path, form, rows)
    back = list(read_rows(shards.rows_file(0)))
    assert [{name: one[name] for name in rows[0]} for one in back] == rows
    assert [tally.rejects for tally in shards.done()] == [[Reject(4, "edit", "it is missing.")]]
    assert not list(tmp_path.rglob("*.part"))


def test_a_row_has_all_it_takes_to_draw_it_again(rows, asked):
    for one, request in zip(rows, asked):
        sample, settings, batch = sample_of(one)
        assert (sample, settings, batch) == (samples(request, Draws())[1], Settings(steps=3), 12)


def test_a_row_has_the_columns_that_instruct_pix2pix_is_trained_on(rows):
    picture = Image.open(io.BytesIO(rows[0]["input_image"]))
    assert (picture.format, picture.size, rows[0]["edit_prompt"]) == ("PNG", (16, 16), "replace the cat with a dog")
    assert pixels(rows[0]["edited_image"]).shape == (16, 16, 3)


def test_hugging_faces_datasets_open_parquet_as_pictures_and_texts(tmp_path, rows):
    datasets = pytest.importorskip("datasets")
    written(tmp_path, "parquet", rows)
    opened = datasets.load_dataset(str(tmp_path), data_dir="data", cache_dir=str(tmp_path / "cache"), split="train")
    assert isinstance(opened.features["input_image"], datasets.Image)
    assert opened[1]["edit_prompt"] == "make the car red" and opened[1]["difference"] == 0.25
    assert opened[0]["clip_direction"] is None and opened[2]["p"] is None
    assert np.array_equal(np.asarray(opened[1]["edited_image"]), pixels(rows[1]["edited_image"]))


def test_hugging_faces_datasets_open_tars(tmp_path, rows):
    datasets = pytest.importorskip("datasets")
    file = written(tmp_path, "webdataset", rows).rows_file(0)
    opened = datasets.load_dataset("webdataset", data_files=str(file), cache_dir=str(tmp_path / "cache"), split="train")
    assert opened[1]["edit_prompt.txt"] == "make the car red" and opened[1]["json"]["seed"] == rows[1]["seed"]
    assert np.array_equal(np.asarray(opened[1]["input_image.png"]), pixels(rows[1]["input_image"]))


def test_shards_are_written_when_their_last_task_is_there_in_whatever_order(tmp_path, form, rows):
    shards = Shards(tmp_path, form, 2 * PAIRS_A_TASK, SCORES)
    assert [shards.add(Done(number, str(number), [rows[number % 3]])) for number in (3, 0, 2, 4, 1)] == [
        False, False, True, False, True,
    ]  # fmt: skip
    shards.finish()
    assert [len(list(read_rows(shards.rows_file(i)))) for i in range(3)] == [2, 2, 1]
    assert [one["source"] for one in read_rows(shards.rows_file(0))] == [rows[0]["source"], rows[1]["source"]]


def test_a_done_shard_is_known_by_its_lines(tmp_path, asked):
    (first,), (other,) = tasks(enumerate(asked, 1)), tasks(enumerate(asked[1:], 1))
    shards = Shards(tmp_path, "webdataset", 8, SCORES)
    assert not shards.is_done(first)
    shards.add(Done(0, first.name))
    again = Shards(tmp_path, "webdataset", 8, SCORES)
    assert again.is_done(first)
    with pytest.raises(EditError, match="made of other lines"):
        again.is_done(other)


def test_what_a_killed_run_left_half_written_is_not_taken_for_a_shard(tmp_path, asked):
    (task,) = tasks(enumerate(asked, 1))
    shards = Shards(tmp_path, "webdataset", 8, SCORES)
    half = shards.rows_file(0).with_name("train-00000.tar.part")
    half.write_bytes(b"half")
    shards.tally_file(0).write_text(json.dumps({"tasks": [task.name]}))  # written first, so it may be there alone
    again = Shards(tmp_path, "webdataset", 8, SCORES)
    assert not again.is_done(task) and not half.exists() and not list(again.done())


def test_a_full_disk_leaves_what_is_whole_and_says_so(tmp_path, form, rows, monkeypatch):
    shards = Shards(tmp_path, form, 1, SCORES)
    shards.add(Done(0, "0", rows))

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EditError, match=r"output: .*No space left on device. The 1 shards there are whole"):
        shards.add(Done(1, "1", rows))
    assert [file.name for file in (tmp_path / "data").iterdir()] == [shards.rows_file(0).name]


def test_without_pyarrow_parquet_is_refused_before_anything_is_drawn(tmp_path, monkeypatch):
    import sys

    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EditError, match="pip install pyarrow, or use --format webdataset"):
        Shards(tmp_path, "parquet", 8, SCORES)
