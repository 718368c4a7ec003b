"""Recordings in files: what is read is what was written, and whatever else a file holds is refused in a sentence."""

from __future__ import annotations

import json
import random
from types import MappingProxyType

import pytest
import torch
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.layers import Layer
from prompt_to_prompt.p2p_core.recording import Attention, Kept, Recording, Round
from prompt_to_prompt.p2p_core.recording_file import read, write
from safetensors import safe_open
from safetensors.torch import load_file, save_file

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
MORE = {"prompt": "a cat, “quoted”\n", "called": {"steps": "[981, 961]"}}


def some_recording(seed: int) -> Recording:
    """Of any number of rounds and layers, in any precision, with and without masks and final latents."""
    chosen, noise = random.Random(seed), torch.Generator().manual_seed(seed)
    dtype, batch = chosen.choice(DTYPES), chosen.randint(1, 3)

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=noise).to(dtype)

    kinds = [("text",), ("image",), ("text", "image")]
    layers = [Layer("input", i, 0, chosen.choice(kinds), i % 3, 2, 4) for i in range(chosen.randint(0, 4))]
    rounds = []
    for i in range(chosen.randint(1, 4)):
        attention = {}
        for layer in layers:
            for before in range(chosen.randint(0, 2)):
                hides = chosen.choice([None, torch.rand(batch, 1, 1, 5, generator=noise) > 0.5, tensor(1, 1, 1, 5)])
                attention[chosen.randint(0, 2), layer, before] = Attention(
                    tensor(batch, 6, 8), tensor(batch, 5, 8), hides
                )
        predictions = tuple(chosen.choice([None, tensor(batch, 4, 3, 2)]) for _ in range(chosen.randint(1, 3)))
        rounds.append(Round(10 / (i + 3), tensor(batch, 4, 3, 2), predictions, MappingProxyType(attention)))
    final = chosen.choice([None, tensor(batch, 4, 3, 2)])
    kept = Kept(frozenset(layers), chosen.random())
    return Recording(tuple(rounds), kept, len(rounds), chosen.choice(["none", "fresh", "fixed"]), final)


def same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    """To the bit."""
    if a is None or b is None:
        return a is b
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


@pytest.fixture
def path(tmp_path):
    written = tmp_path / "source.safetensors"
    write(written, some_recording(3), MORE, {})
    return written


@pytest.mark.parametrize("seed", range(60))
def test_what_is_read_is_what_was_written_to_the_bit(tmp_path, seed):
    recording, extra = some_recording(seed), torch.arange(seed, dtype=torch.int64)
    write(tmp_path / "source.safetensors", recording, MORE, {"extra": extra})
    got, more, tensors = read(tmp_path / "source.safetensors")
    assert more == MORE
    assert list(tensors) == ["extra"]
    assert same(tensors["extra"], extra)
    assert (got.kept, got.steps, got.noise) == (recording.kept, recording.steps, recording.noise)
    assert same(got.final, recording.final)
    assert len(got.rounds) == len(recording.rounds)
    for mine, theirs in zip(got.rounds, recording.rounds):
        assert mine.sigma == theirs.sigma
        assert same(mine.latents, theirs.latents)
        assert len(mine.predictions) == len(theirs.predictions)
        assert all(map(same, mine.predictions, theirs.predictions))
        assert list(mine.attention) == list(theirs.attention)
        for key, kept in mine.attention.items():
            other = theirs.attention[key]
            assert same(kept.queries, other.queries)
            assert same(kept.keys, other.keys)
            assert same(kept.hidden, other.hidden)


def test_other_programs_read_the_file(path):
    recording = some_recording(3)
    assert same(load_file(path)["0.latents"], recording.rounds[0].latents)


def test_a_file_is_whole_or_not_there(tmp_path, path):
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write(path, some_recording(4), {"prompt": object()}, {})
    assert path.read_bytes() == before
    write(path, some_recording(4), MORE, {})
    assert path.read_bytes() != before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(EditError, match="can't be written"):
        write(tmp_path / "nowhere" / "source.safetensors", some_recording(4), MORE, {})


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_a_file_that_is_cut_off_is_refused(path, part):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(EditError, match="cut off, or no safetensors file"):
        read(path)


def test_files_of_another_kind_are_refused(tmp_path):
    with pytest.raises(EditError, match="there is no file"):
        read(tmp_path / "none.safetensors")
    pickled = tmp_path / "pickled.safetensors"
    torch.save({"rounds": torch.zeros(3)}, pickled)
    with pytest.raises(EditError, match="no safetensors file"):
        read(pickled)
    save_file({"weight": torch.zeros(3)}, tmp_path / "lora.safetensors", {"format": "pt"})
    with pytest.raises(EditError, match="holds no recorded source"):
        read(tmp_path / "lora.safetensors")


def spoiled(path, change) -> None:
    """The file again, with its tensors, its metadata, and what it says of the recording changed."""
    with safe_open(str(path), "pt") as file:
        metadata = dict(file.metadata())
    tensors, content = load_file(path), json.loads(metadata["content"])
    change(tensors, metadata, content)
    save_file(tensors, path, metadata | {"content": json.dumps(content)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors, metadata, content: metadata.update(version="2"), "version 2 of the format"),
        (lambda tensors, metadata, content: tensors.pop("0.latents"), "something is missing"),
        (lambda tensors, metadata, content: tensors.update(foreign=torch.zeros(2)), "belongs to nothing: foreign"),
        (lambda tensors, metadata, content: tensors.update({"0.latents": torch.zeros(1, 9)}), "its latents are"),
        (
            lambda tensors, metadata, content: tensors.update({"0.latents": tensors["0.latents"].int()}),
            "not all of one shape",
        ),
        (
            lambda tensors, metadata, content: tensors.update({"0.attention.0.keys": torch.zeros(1, 5, 9)}),
            "the attention of block input",
        ),
        (lambda tensors, metadata, content: content["recording"].update(until=3), "out of range"),
        (lambda tensors, metadata, content: content["recording"].update(steps="many"), "out of range"),
        (lambda tensors, metadata, content: content["recording"].update(rounds=[]), "belongs to nothing"),
        (lambda tensors, metadata, content: content["recording"].update(rounds=7), "of another kind"),
        (lambda tensors, metadata, content: content["recording"]["rounds"][0].update(sigma=-1.0), "noise level"),
        (lambda tensors, metadata, content: content["recording"]["layers"][0].pop("heads"), "of another kind"),
        (lambda tensors, metadata, content: content.update(more=[]), "can't be read"),
        (lambda tensors, metadata, content: content.update(tensors=["absent"]), "something is missing"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(path, change, said):
    spoiled(path, change)
    with pytest.raises(EditError, match=said):
        read(path)


def test_nonsense_in_place_of_the_description_is_refused(path):
    save_file(
        {"0.latents": torch.zeros(2)}, path, {"kind": "prompt-to-prompt recording", "version": "1", "content": "{"}
    )
    with pytest.raises(EditError, match="can't be read"):
        read(path)
