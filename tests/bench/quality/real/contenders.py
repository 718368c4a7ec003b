"""What is tried on pictures: the methods of the table, and settings along whose values the curves go."""

from __future__ import annotations

from dataclasses import replace

from prompt_to_prompt.p2p_core.picture import RealPicture

from ..methods import Setting, setting
from .methods import FREE, Way

NO_INJECTION, BLEND = setting(0.0, 0.0), setting(blend=0.3)
PLAIN, CROSS, BOTH = setting(), setting(1.0), setting(1.0, blend=0.3)


def held(how: Setting = PLAIN, sampler: str = "euler", denoise: float = 1.0, **picture) -> Way:
    return Way(how, RealPicture(**picture), sampler, denoise)


DEFAULTS = held()
TUNED = {"source_cfg": 3.0}
DIRECT_INVERSION = Way(held=FREE, path="pinned")

CURVES: dict[str, dict[str, Way]] = {
    "defaults": {"": DEFAULTS},
    "fidelity": {f"{f:g}": held(fidelity=f) for f in (0.0, 0.5, 0.8)},
    "denoise": {f"{d:g}": held(denoise=d) for d in (0.6, 0.7, 0.8, 0.9)},
    "source_cfg": {f"{g:g}": held(source_cfg=g) for g in (1.0, 2.0, 3.0, 4.0)},
    "release": {f"{r:g}": held(release=r) for r in (0.1, 0.3)},
    "cross, self": {
        f"{c:g}, {s:g}": held(setting(c, s))
        for c, s in ((0.4, 0.2), (0.6, 0.2), (0.8, 0.2), (0.8, 0.6), (1, 0.4), (1, 0.8))
    },
    "blend": {"": held(BLEND), "cross 1": held(BOTH)},
    "fresh": {s: held(sampler=s) for s in ("heun", "dpmpp_2m", "euler_ancestral")},
    "fixed": {s: held(sampler=s, noise="fixed") for s in ("euler", "dpmpp_2m")},
    "source_cfg 3,": {
        name: held(how, **TUNED) for name, how in (("cross 1", CROSS), ("blend", BLEND), ("cross 1, blend", BOTH))
    },
    "denoise 0.9, source_cfg 3": {
        name: held(how, denoise=0.9, **TUNED) for name, how in (("", PLAIN), ("cross 1", CROSS), ("blend", BLEND))
    },
    "FlowEdit": {"": held(NO_INJECTION), **{f"{g:g}": held(NO_INJECTION, source_cfg=g) for g in (1.0, 2.0, 3.0)}},
    "InfEdit": {"": held(sampler="lcm", noise="fixed")},
    "Direct Inversion": {
        f"{c:g}, {s:g}": replace(DIRECT_INVERSION, setting=setting(c, s))
        for c, s in ((0.4, 0.6), (0.6, 0.2), (0.8, 0.4))
    }
    | {"blend": replace(DIRECT_INVERSION, setting=BLEND)},
}

# Of FlowEdit and InfEdit the source has a guidance scale of 1, near to what their authors use.
METHODS: dict[str, Way] = {
    "img2img, denoise 0.5": Way(held=None, denoise=0.5),
    "img2img, denoise 0.7": Way(held=None, denoise=0.7),
    "DDIM inversion": Way(held=None, path="inverted"),
    "Direct Inversion": DIRECT_INVERSION,
    "Direct Inversion, blend": replace(DIRECT_INVERSION, setting=BLEND),
    "FlowEdit": held(NO_INJECTION, source_cfg=1.0),
    "InfEdit": held(sampler="lcm", noise="fixed", source_cfg=1.0),
    "defaults": DEFAULTS,
    "tuned": held(**TUNED),
    "tuned, blend": held(BLEND, **TUNED),
}
