"""What is known of single other nodes: those that an edit gets along with if it helps them, and those it can't."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch

from ...errors import EditError
from ...rows import Rows
from .pictures import filled

_LATENT_KEYFRAMES = ("latent_keyframes", "latent_keyframe_override")
_NEGATIVES = "A word's weight below 0 does what it is for: AttentionReweight with a scale of -2 or less."


def check_others(model, conditionings: Iterable[list[list[Any]]]) -> None:
    """Raise EditError where another node is known to give source and edits what isn't theirs.

    Args:
        model: ModelPatcher.
        conditionings: CONDITIONING of all rows.
    """
    options = model.model_options
    patches = options["transformer_options"].get("patches", {})
    names = [_name_of(patch) for some in patches.values() for patch in some] + list(map(str, options))
    if any("negpip" in name.lower() for name in names):
        raise EditError(
            "model",
            "it has NegPip on it, which makes two vectors for each token: words can't be told from their weights.",
            f"Take it out of the model and the CLIP. {_NEGATIVES}",
        )
    guidance = options.get("sampler_cfg_function")
    if guidance is not None and _is(guidance, ("nodes_perpneg", "cfg_function")):
        raise EditError(
            "model",
            "it has PerpNeg on it, which measures all pictures of a batch as one: source and edits would not be what "
            "each is alone.",
            "Take it out.",
        )
    _check_films(model)
    for conditioning in conditionings:
        for _, entry in conditioning:
            _check_control(entry.get("control"))


def _check_films(model) -> None:
    held = [getattr(model, name, None) or {} for name in ("attachments", "injections", "additional_models")]
    if any(str(key).startswith("ADE") for of in held for key in of) or "animatediff" in type(model).__module__.lower():
        raise EditError(
            "model",
            "it has AnimateDiff on it, which takes all pictures of a batch for one film: source and edits would be "
            "frames of it.",
            "Take it out; an edit is made of pictures, each by itself.",
        )


def _check_control(control: Any) -> None:
    while control is not None:
        frames = getattr(getattr(control, "timestep_keyframes", None), "keyframes", None) or []
        if any(getattr(some, name, None) for some in (control, *frames) for name in _LATENT_KEYFRAMES):
            raise EditError(
                "source and edited",
                "a ControlNet in them has latent keyframes, which give each picture of a batch a strength by its "
                "number: the edits would have that of other pictures.",
                "Use ControlNet with one strength for all pictures.",
            )
        control = getattr(control, "previous_controlnet", None)


def _is(function: Callable, known: tuple[str, str]) -> bool:
    file, name = known
    return file in getattr(function, "__module__", "") and getattr(function, "__name__", "") == name


def _name_of(patch: Any) -> str:
    own = patch if hasattr(patch, "__qualname__") else type(patch)
    return f"{own.__module__}.{own.__qualname__}"


def adapters_of_each_picture(model, rows: Rows) -> None:
    """Have IPAdapter's patches on `model`, a private clone, lay out as `rows` do what they have for each picture.

    They have references, weights and masks, and size each to the batch by repeating the last.
    """
    for patches in model.model_options["transformer_options"].get("patches_replace", {}).values():
        for place, patch in patches.items():
            adapters = getattr(patch, "kwargs", None)
            if isinstance(adapters, list) and all(isinstance(one, dict) and "ipadapter" in one for one in adapters):
                patches[place] = own = copy.copy(patch)
                own.kwargs = [_of_each_picture(one, rows) for one in adapters]
                own.multigpu_kwargs = {}


def _of_each_picture(adapter: dict[str, Any], rows: Rows) -> dict[str, Any]:
    def laid(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: laid(item) for key, item in value.items()}
        several = isinstance(value, torch.Tensor) and value.ndim and len(value) > 1
        return rows.tile(filled(value, rows.batch)) if several else value

    own = ("weight", "mask", *(("cond", "cond_alt", "uncond") if adapter.get("unfold_batch") else ()))
    return {key: laid(value) if key in own else value for key, value in adapter.items()}
