"""Pictures, masks and hints in a conditioning: each picture of a batch has its own, in every prompt's rows."""

from __future__ import annotations

from typing import Any

import torch

from ...rows import Rows
from .conditioning import BY_ROW

TEXT = {"cross_attn", "cross_attn_controlnet", *BY_ROW}
"""What has a row for each prompt, in the host's own form of an entry, `[{option: value}, ...]`."""
STRETCHED = {"concat_latent_image", "concat_mask", "concat_image"}
"""What the host stretches over a batch, as A, A, B, B; it repeats everything else, as A, B, A, B."""


def spread(entries: list[dict[str, Any]], rows: Rows, controls: dict[int, Any], text: bool) -> list[dict[str, Any]]:
    """Entries of a conditioning in which whatever there is of each picture lies as `rows` do.

    The host sizes it to the batch by its place, and would take the rows of source and edits for so many pictures.
    Of each prompt, picture i gets what the host gives picture i of the source's batch.

    Args:
        controls: ControlNets that were spread before, by their ids; the host evaluates entries with one together.
        text: whether the texts are spread as well: where they are not the edit's own.
    """
    return [
        {key: _spread(key, value, rows, controls) if text or key not in TEXT else value for key, value in entry.items()}
        for entry in entries
    ]


def _spread(key: str, value: Any, rows: Rows, controls: dict[int, Any]) -> Any:
    if hasattr(value, "cond_hint_original"):
        return _control(value, rows, controls)
    if isinstance(value, torch.Tensor) and (value.ndim > 2 or key in TEXT) and len(value) > 1:
        of_picture = stretched if key in STRETCHED else repeated
        return rows.tile(of_picture(value, rows.batch))
    if isinstance(value, list):
        return [_spread(key, item, rows, controls) for item in value]
    return value


def repeated(values: torch.Tensor, batch: int) -> torch.Tensor:
    """[n, ...] -> [batch, ...]: A, B, A, B."""
    return values[torch.arange(batch) % len(values)]


def stretched(values: torch.Tensor, batch: int) -> torch.Tensor:
    """[n, ...] -> [batch, ...]: A, A, B, B; of more than there are pictures, some from the first to the last."""
    n = len(values)
    if batch < n:
        chosen = [min(round(i * (n - 1) / max(batch - 1, 1)), n - 1) for i in range(batch)]
    else:
        chosen = [int((i + 0.5) * n / batch) for i in range(batch)]
    return values[chosen]


def filled(values: torch.Tensor, batch: int) -> torch.Tensor:
    """[n, ...] -> [batch, ...]: A, B, B, B."""
    return values[torch.arange(batch).clamp(max=len(values) - 1)]


_HINTS = ("cond_hint_original", "mask_cond_hint_original")
"""What a ControlNet has of each picture; the second is Advanced-ControlNet's."""


def _control(control: Any, rows: Rows, controls: dict[int, Any]) -> Any:
    """A ControlNet, and those before it, with each picture's hints in every prompt's rows, once it has sized them.

    The host repeats hints over the rows, Advanced-ControlNet the last of them. The one that came in stays as it is.
    """
    if id(control) in controls:
        return controls[id(control)]
    before = getattr(control, "previous_controlnet", None)
    spread_before = before and _control(before, rows, controls)
    fills = hasattr(control, "mask_cond_hint_original")

    def is_right(hint: Any) -> bool:
        if not isinstance(hint, torch.Tensor):
            return True
        return len(hint) == 1 or (not fills and rows.batch % len(hint) == 0)

    def laid(hint: Any) -> Any:
        return hint if is_right(hint) else rows.tile((filled if fills else repeated)(hint, rows.batch))

    own, more = control, getattr(control, "extra_concat_orig", None) or []
    hints = {name: getattr(control, name, None) for name in _HINTS}
    if spread_before is not before or not all(map(is_right, (*hints.values(), *more))):
        own = control.copy()
        own.set_previous_controlnet(spread_before)
        for name, hint in hints.items():
            if hint is not None:
                setattr(own, name, laid(hint))
        if more:
            own.extra_concat_orig = list(map(laid, more))
    controls[id(control)] = own
    return own
