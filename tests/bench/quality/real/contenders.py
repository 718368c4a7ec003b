"""What is tried on pictures: the methods of the table, and settings along whose values the curves go."""

from __future__ import annotations

from dataclasses import replace

from prompt_to_prompt.p2p_core.picture import RealPicture

from ..methods import setting
from .methods import FREE, Way

DEFAULTS = Way()
NO_INJECTION = setting(0.0, 0.0)


def held(**how) -> Way:
    return Way(held=RealPicture(**how))


def sampled(sampler: str, noise: str) -> Way:
    return Way(held=RealPicture(noise=noise), sampler=sampler)


DIRECT_INVERSION = Way(held=FREE, path="pinned")
FLOWEDIT = Way(NO_INJECTION)
INFEDIT = Way(held=RealPicture(noise="fixed"), sampler="lcm")
COMBINED = {"": setting(), ", cross 1": setting(1.0), ", blend": setting(blend=0.3)}

CURVES: dict[str, dict[str, Way]] = {
    "defaults": {"": DEFAULTS},
    "fidelity": {f"{f:g}": held(fidelity=f) for f in (0.0, 0.5, 0.8)},
    "denoise": {f"{d:g}": Way(denoise=d) for d in (0.6, 0.7, 0.8, 0.9)},
    "source_cfg": {f"{g:g}": held(source_cfg=g) for g in (1.0, 2.0, 3.0, 4.0)},
    "release": {f"{r:g}": held(release=r) for r in (0.1, 0.3)},
    "cross, self": {
        f"{c:g}, {s:g}": Way(setting(c, s))
        for c, s in ((0.4, 0.2), (0.6, 0.2), (0.8, 0.2), (0.8, 0.6), (1, 0.4), (1, 0.8))
    },
    "blend": {"": Way(setting(blend=0.3)), "cross 1": Way(setting(1.0, blend=0.3))},
    "fresh": {s: sampled(s, "fresh") for s in ("heun", "dpmpp_2m", "euler_ancestral")},
    "fixed": {s: sampled(s, "fixed") for s in ("euler", "dpmpp_2m")},
    "denoise 0.9, source_cfg": {
        f"{g:g}{more}": Way(setting, RealPicture(source_cfg=g), denoise=0.9)
        for g in (2.0, 3.0)
        for more, setting in COMBINED.items()
    },
    "denoise 0.8, source_cfg": {f"{g:g}": Way(held=RealPicture(source_cfg=g), denoise=0.8) for g in (2.0, 3.0)},
    "FlowEdit": {"": FLOWEDIT, **{f"{g:g}": Way(NO_INJECTION, RealPicture(source_cfg=g)) for g in (1.0, 2.0, 3.0)}},
    "InfEdit": {"": INFEDIT},
    "Direct Inversion": {
        f"{c:g}, {s:g}": replace(DIRECT_INVERSION, setting=setting(c, s))
        for c, s in ((0.4, 0.6), (0.6, 0.2), (0.8, 0.4))
    }
    | {"blend": replace(DIRECT_INVERSION, setting=setting(blend=0.3))},
}

METHODS: dict[str, Way] = {
    "img2img, denoise 0.5": Way(held=None, denoise=0.5),
    "img2img, denoise 0.7": Way(held=None, denoise=0.7),
    "DDIM inversion": Way(held=None, path="inverted"),
    "Direct Inversion": DIRECT_INVERSION,
    "Direct Inversion, blend": replace(DIRECT_INVERSION, setting=setting(blend=0.3)),
    "FlowEdit": FLOWEDIT,
    "InfEdit": INFEDIT,
    "defaults": DEFAULTS,
}
