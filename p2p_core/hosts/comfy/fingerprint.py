"""What tells one MODEL from another, without holding on to it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from ...errors import EditError

_DEEP = 12
"""How far into what other packs hang on a model is looked."""


def fingerprint(model) -> dict[str, str]:
    """Of a ModelPatcher: a digest for each of its parts that change what it predicts, by what people call them."""
    parts = {
        "checkpoint": (type(model.model).__name__, model.model.model_config.unet_config, *_some_weights(model)),
        "LoRA": model.patches,
        "patches of other nodes": (model.model_options, getattr(model, "wrappers", {})),
        "sampling": model.object_patches,
    }
    return {name: digest(part) for name, part in parts.items()}


def check_same(model, recorded: dict[str, str]) -> None:
    """Raise EditError where a ModelPatcher is another than the one of a fingerprint, naming the first difference."""
    for name, of_part in fingerprint(model).items():
        if of_part != recorded[name]:
            raise EditError(
                "model",
                f"it is not the one that the source was recorded with: its {name} is another."
                if not name.endswith("s of other nodes")
                else "it is not the one that the source was recorded with: other nodes have changed it since.",
                "Connect the recorder's own model, or record the source with this one.",
            )


def _some_weights(model) -> Iterator[tuple[str, torch.Tensor]]:
    """The first weight, and all with one axis, as they were before a LoRA was put into them.

    They are few, and what is stored in another format leaves them out.
    """
    for number, (name, parameter) in enumerate(model.model.diffusion_model.named_parameters()):
        if number == 0 or parameter.ndim == 1:
            kept = model.backup.get(f"diffusion_model.{name}")
            yield name, parameter if kept is None else kept.weight


def digest(value: Any) -> str:
    """Of anything: tensors by their numbers, functions by their names and what they close over."""
    hashed = hashlib.sha1(usedforsecurity=False)
    for part in _told(value, _DEEP, set()):
        hashed.update(part.encode())
        hashed.update(b"\0")
    return hashed.hexdigest()


def _told(value: Any, deep: int, above: set[int]) -> Iterator[str]:
    """What a value is, in words. What is deeper than `deep`, or lies in itself, is its type alone."""
    yield type(value).__qualname__
    if isinstance(value, (str, int, float, bool, type(None), torch.dtype, torch.device)):
        yield repr(value)
    elif isinstance(value, torch.Tensor):
        numbers = value.detach().double() if value.dtype != torch.bool else value.double()
        yield f"{tuple(value.shape)} {float(numbers.sum())!r} {float(numbers.square().sum())!r}"
    elif isinstance(value, torch.nn.Module) or hasattr(value, "model_options") or not deep or id(value) in above:
        return
    else:
        for part in _parts(value):
            yield from _told(part, deep - 1, above | {id(value)})


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for key in sorted(value, key=str) for part in (str(key), value[key])]
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if hasattr(value, "__func__"):
        return [value.__func__.__qualname__, value.__self__]
    if hasattr(value, "__code__"):
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__module__, value.__qualname__, cells, value.__defaults__, value.__kwdefaults__]
    return [vars(value)] if hasattr(value, "__dict__") else []
