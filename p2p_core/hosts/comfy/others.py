"""What is known of single other nodes that an edit can't get along with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from ...errors import EditError

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
    _check_adapters(options["transformer_options"].get("patches_replace", {}))
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


def _check_adapters(replaced: dict[str, dict]) -> None:
    for of_kind in replaced.values():
        for patch in of_kind.values():
            for settings in getattr(patch, "kwargs", None) or []:
                images = settings.get("cond") if isinstance(settings, dict) else None
                if isinstance(images, torch.Tensor) and settings.get("unfold_batch") and len(images) > 1:
                    raise EditError(
                        "model",
                        "it has IPAdapter Batch on it, which gives each picture of a batch a reference of its own: "
                        "source and edits would have different ones.",
                        "Use IPAdapter with references for all pictures together, and sample picture after picture.",
                    )


def _check_control(control: Any) -> None:
    while control is not None:
        frames = getattr(getattr(control, "timestep_keyframes", None), "keyframes", None) or []
        if getattr(control, "latent_keyframes", None) or any(getattr(f, "latent_keyframes", None) for f in frames):
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
