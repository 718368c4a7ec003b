"""A source that is given: a real picture, to which the source is pinned and the edits are held."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import EditError
from .schedule import Window

NOISES = ("fresh", "fixed")


@dataclass(frozen=True)
class RealPicture:
    """How edits are held to a picture, which is their source. No inversion: the source is never sampled.

    With D the denoised prediction, x^ the picture's latent, rows s (source) and e (edit), at every evaluation:
    D_s := x^ and D_e := D_e + f (x^ - D_s). The source's latent then is x^ + sigma n at every level and ends at
    x^, with any sampler, and at f = 1 the same words give the picture back. With a fresh noise at every
    evaluation it is FlowEdit (Kulikov et al. 2024), on the steps of LCM InfEdit's virtual inversion (Xu et al.
    2023), on ancestral ones Edit-Friendly DDPM (Huberman-Spiegelglas et al. 2023). With f = 0 on an inverted
    path it is Direct Inversion (Ju et al. 2023).

    Attributes:
        fidelity: f in [0, 1], the share of the source's own error by which the edits are corrected.
        source_cfg: guidance scale of that error's D_s, in [0, 100]; 0 is the sampler's.
        noise: `fresh`, a new one at every evaluation, or `fixed`, the sampler's own.
        release: the last part of the steps, in [0, 1], in which the edits are left to themselves.

    Raises:
        EditError: a value out of range or unknown.
    """

    fidelity: float = 1.0
    source_cfg: float = 0.0
    noise: str = "fresh"
    release: float = 0.0

    def __post_init__(self):
        for name, most in (("fidelity", 1), ("source_cfg", 100), ("release", 1)):
            if not 0 <= getattr(self, name) <= most:
                raise EditError(name, f"{getattr(self, name)} is out of range: it goes from 0 to {most}.")
        if self.noise not in NOISES:
            raise EditError("noise", f"'{self.noise}' is not one of: {', '.join(NOISES)}.")

    def fidelity_at(self, step: int, steps: int) -> float:
        """f at step `step` of `steps`: 0 once the edits are released."""
        return self.fidelity if Window(0.0, 1.0 - self.release).holds(step, steps) else 0.0
