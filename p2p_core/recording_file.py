"""Recordings in files: tensors in the safetensors format, all else as JSON in its metadata. Nothing in one is run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from .errors import EditError
from .layers import Layer
from .recording import Attention, Kept, Recording, Round

KIND, VERSION = "prompt-to-prompt recording", "1"
_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.bool: "BOOL",
}


def write(path: str | Path, recording: Recording, more: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a recording, tensor after tensor, so that it is in memory once. A file of that name is replaced at the end.

    Args:
        more: what else belongs to it, as JSON has it; `tensors`: the same of tensors.

    Raises:
        EditError: the file can't be written.
    """
    path, header = Path(path), _header(recording)
    named = dict(_tensors(recording)) | {f"more.{name}": tensor for name, tensor in tensors.items()}
    named = dict(sorted(named.items(), key=lambda item: -item[1].itemsize))  # each lies at a multiple of its own size
    text = json.dumps({"recording": header, "more": dict(more), "tensors": sorted(tensors)}, allow_nan=False)
    described: dict[str, Any] = {"__metadata__": {"kind": KIND, "version": VERSION, "content": text}}
    end = 0
    for name, tensor in named.items():
        begin, end = end, end + tensor.nbytes
        described[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    first = json.dumps(described).encode()
    first += b" " * (-len(first) % 8)
    beside = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with beside.open("wb") as file:
            file.write(len(first).to_bytes(8, "little") + first)
            for tensor in named.values():
                file.write(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        os.replace(beside, path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if beside.exists():
            beside.unlink()


def read(path: str | Path) -> tuple[Recording, dict[str, Any], dict[str, torch.Tensor]]:
    """What `write` wrote, checked, on the CPU.

    Raises:
        EditError: there is no such file, it is cut off, of another kind or version, or its parts don't fit together.
    """
    path = Path(path)
    if not path.is_file():
        raise EditError("recording", f"there is no file {path}.")
    try:
        with safe_open(str(path), "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("kind") != KIND:
                raise EditError("recording", f"{path} holds no recorded source.", "Choose a file made by recording.")
            if metadata.get("version") != VERSION:
                raise EditError(
                    "recording",
                    f"{path} is of version {metadata.get('version')} of the format, and this one reads {VERSION}.",
                    "Record the source again.",
                )
            content = json.loads(metadata["content"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except EditError:
        raise
    except (SafetensorError, OSError) as error:
        raise EditError("recording", f"{path} is cut off, or no safetensors file ({error}).") from error
    except (ValueError, KeyError, RecursionError) as error:
        raise _broken(path, "what it says of itself can't be read") from error
    try:
        more = {name: tensors.pop(f"more.{name}") for name in content["tensors"]}
        recording = _recording(content["recording"], tensors)
        if not isinstance(content["more"], dict):
            raise _UnfitError("what it says of itself can't be read")
    except _UnfitError as error:
        raise _broken(path, str(error)) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _broken(path, f"something is missing or of another kind: {error}") from error
    return recording, content["more"], more


class _UnfitError(Exception):
    """Why the parts of a file are no recording."""


def _header(recording: Recording) -> dict[str, Any]:
    layers = _in_order(recording.kept)
    rounds = [
        {
            "sigma": one.sigma,
            "predictions": [prediction is not None for prediction in one.predictions],
            "attention": [[number, layers.index(layer), before] for number, layer, before in one.attention],
            "hidden": [kept.hidden is not None for kept in one.attention.values()],
        }
        for one in recording.rounds
    ]
    return {
        "layers": [asdict(layer) for layer in layers],
        "until": recording.kept.until,
        "steps": recording.steps,
        "noise": recording.noise,
        "final": recording.final is not None,
        "rounds": rounds,
    }


def _in_order(kept: Kept) -> list[Layer]:
    return sorted(kept.layers, key=lambda layer: (layer.block, layer.number, layer.attends_to, layer.index))


def _tensors(recording: Recording) -> Iterator[tuple[str, torch.Tensor]]:
    if recording.final is not None:
        yield "final", recording.final
    for i, one in enumerate(recording.rounds):
        yield f"{i}.latents", one.latents
        yield from ((f"{i}.predictions.{j}", part) for j, part in enumerate(one.predictions) if part is not None)
        for j, kept in enumerate(one.attention.values()):
            yield f"{i}.attention.{j}.queries", kept.queries
            yield f"{i}.attention.{j}.keys", kept.keys
            if kept.hidden is not None:
                yield f"{i}.attention.{j}.hidden", kept.hidden


def _recording(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Recording:
    """Of a file's JSON and its tensors, all of which have to be used."""
    layers = [Layer(**{**one, "attends_to": tuple(one["attends_to"])}) for one in header["layers"]]
    until, steps, noise = float(header["until"]), header["steps"], header["noise"]
    if not (0 <= until <= 1 and type(steps) is int and steps > 0 and noise in ("none", "fresh", "fixed")):
        raise _UnfitError("its steps or its kind of noise are out of range")
    final = tensors.pop("final") if header["final"] else None
    rounds = tuple(_round(f"{i}.", one, layers, tensors) for i, one in enumerate(header["rounds"]))
    if tensors:
        raise _UnfitError(f"it has a tensor that belongs to nothing: {min(tensors)}")
    if not rounds:
        raise _UnfitError("it has no rounds")
    latents = rounds[0].latents.shape
    if len(latents) < 3:
        raise _UnfitError(f"its latents are {list(latents)}, not [batch, channels, ...]")
    for one in rounds:
        same = [one.latents, *(part for part in one.predictions if part is not None)]
        if any(part.shape != latents or not part.is_floating_point() for part in same):
            raise _UnfitError("its latents are not all of one shape")
        for (_, layer, _), kept in one.attention.items():
            _check_attention(layer, kept, latents[0])
    if final is not None and final.shape[0] != latents[0]:
        raise _UnfitError("its latents are not all of one shape")
    return Recording(rounds, Kept(frozenset(layers), until), steps, noise, final)


def _round(name: str, header: dict[str, Any], layers: list[Layer], tensors: dict[str, torch.Tensor]) -> Round:
    sigma = float(header["sigma"])
    if not math.isfinite(sigma) or sigma < 0:
        raise _UnfitError("a noise level is out of range")
    there = header["predictions"]
    predictions = tuple(tensors.pop(f"{name}predictions.{j}") if one else None for j, one in enumerate(there))
    attention = {}
    for j, ((number, layer, before), hides) in enumerate(zip(header["attention"], header["hidden"], strict=True)):
        kept, key = f"{name}attention.{j}.", (number, layers[layer], before)
        hidden = tensors.pop(f"{kept}hidden") if hides else None
        attention[key] = Attention(tensors.pop(f"{kept}queries"), tensors.pop(f"{kept}keys"), hidden)
    return Round(sigma, tensors.pop(f"{name}latents"), predictions, MappingProxyType(attention))


def _check_attention(layer: Layer, kept: Attention, batch: int) -> None:
    width = layer.heads * layer.head_dim
    for part in (kept.queries, kept.keys):
        if part.ndim != 3 or len(part) != batch or part.shape[2] != width or not part.is_floating_point():
            raise _UnfitError(f"the attention of block {layer.name} is {list(part.shape)}, not [{batch}, n, {width}]")
    if kept.hidden is not None and kept.hidden.shape[-1] != kept.keys.shape[1]:
        raise _UnfitError(f"the mask of block {layer.name} is not of its keys")


def _broken(path: Path, why: str) -> EditError:
    return EditError("recording", f"{path} is broken: {why}.", "Record the source again.")


def _unwritable(path: Path, error: OSError) -> EditError:
    return EditError("recording", f"{path} can't be written ({error}).", "Choose another place.")
