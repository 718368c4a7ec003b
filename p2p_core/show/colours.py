"""The colours of everything that is drawn."""

from __future__ import annotations

import torch

PAPER, INK, GREY, LINE, ACCENT = "#ffffff", "#16181d", "#5b6270", "#d1d5db", "#c2410c"

# From nothing to all, rising in lightness, so that it reads in grey and for the colour-blind as well.
_RAMP = ("#000004", "#320a5e", "#781c6d", "#bb3754", "#ec6824", "#fbb41a", "#fcffa4")


def heat_colours(values: torch.Tensor) -> torch.Tensor:
    """[...] in [0, 1] -> colours [..., 3] in [0, 1], from black over red to pale yellow."""
    ramp = torch.tensor([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in _RAMP])
    at = values.float().cpu().clamp(0, 1) * (len(ramp) - 1)
    low = at.floor().long().clamp(max=len(ramp) - 2)
    return torch.lerp(ramp[low], ramp[low + 1], (at - low)[..., None])
