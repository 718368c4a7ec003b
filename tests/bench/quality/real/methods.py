"""Ways to edit a picture, all from the same noise by the same model: ours, and the literature's with our attention.

What tells them apart is where the source's latents come from and what the edits' predictions are corrected by; the
attention that they inject is one code for all. tests/host/literature compares each with the paper's own steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import comfy.samplers
import torch
from prompt_to_prompt.p2p_core.hosts.comfy import EditGuider
from prompt_to_prompt.p2p_core.picture import RealPicture

from ..cases import Case
from ..methods import Maker, Setting

STEPS = 20
FREE = RealPicture(fidelity=0.0, noise="fixed")


@dataclass(frozen=True)
class Way:
    """How a picture is edited.

    Attributes:
        setting: of the attention.
        held: how the edit is held to the picture; None where only the noisy picture is started from.
        path: `inverted` starts from the picture's DDIM inversion, `pinned` besides puts the source back on its
            path after every step: Direct Inversion.
    """

    setting: Setting = Setting()
    held: RealPicture | None = RealPicture()
    sampler: str = "euler"
    denoise: float = 1.0
    path: str | None = None

    @property
    def beside(self) -> tuple:
        """Ways that agree in this may be sampled side by side, with one source."""
        return self.held, self.sampler, self.denoise, self.path


class PictureMaker(Maker):
    """Makes edits of pictures of one caption; latents are [pictures, 4, 16, 16]."""

    def made(
        self, cases: Sequence[Case], latents: torch.Tensor, ways: Sequence[Way]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Latents of the source, and for each way of the edits. The ways are all to be sampled side by side."""
        way, case = ways[0], cases[0]
        edits = [self.edit(case, way.setting) for way in ways]
        edit = replace(edits[0], variants=tuple(variant for edit in edits for variant in edit.variants))
        edit = edit if way.held is None else edit.real_picture(**vars(way.held))
        guider = EditGuider(self.model, edit, self.encode(""), self.sampling.cfg, latent_holds="source")
        sampler = comfy.samplers.sampler_object(way.sampler)
        if way.path is not None:
            sampler = along(self._inverted(case, latents), way.path == "pinned")
        source, *edited = self._from(guider, cases, latents, sampler, way.denoise).chunk(1 + len(ways))
        return source, edited

    def encoded(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.vae.encode(pictures.movedim(1, -1))

    def decoded(self, latents: torch.Tensor) -> torch.Tensor:
        return self._pictures(latents)

    def _from(self, guider, cases: Sequence[Case], latents: torch.Tensor, sampler, denoise: float) -> torch.Tensor:
        noises = [torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(case.seed)) for case in cases]
        sampling = self.model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, self.sampling.scheduler, int(STEPS / denoise))[-STEPS - 1 :]
        seed = cases[0].seed
        return guider.sample(torch.stack(noises), latents, sampler, sigmas, disable_pbar=True, seed=seed)

    def _inverted(self, case: Case, latents: torch.Tensor) -> list[torch.Tensor]:
        """The pictures' latents at each level, falling, by DDIM at guidance scale 1 with the source's caption."""
        guider = comfy.samplers.CFGGuider(self.model)
        guider.set_conds(self.encode(case.source.caption), self.encode(""))
        guider.set_cfg(1.0)
        path: list[torch.Tensor] = []

        def sample(model, x, sigmas, extra_args, callback=None, disable=None):
            path.append(model.latent_image)
            for then, now in reversed(list(pairwise(sigmas))):  # from `now` up to `then`, where the model is asked
                z = path[-1]
                path.append(z + (z - model(z, then * z.new_ones(len(z)), **extra_args)) / then * (then - now))
            return path[0]

        self._from(guider, [case] * len(latents), latents, comfy.samplers.KSAMPLER(sample), 1.0)
        return path[::-1]


def along(path: Sequence[torch.Tensor], pinned: bool) -> comfy.samplers.KSAMPLER:
    """DDIM's steps from the first of `path`; `pinned`: each of the source's ends on the next."""

    def sample(model, x, sigmas, extra_args, callback=None, disable=None):
        run = model.inner_model.current_run
        x = run.rows.tile(path[0])
        for (now, then), (before, after) in zip(pairwise(sigmas), pairwise(path), strict=True):
            if pinned:  # to where a straight line from here through the next ends
                run._picture = before - now * (after - before) / (then - now)
            x = x + (x - model(x, now * x.new_ones(len(x)), **extra_args)) / now * (then - now)
        return x

    return comfy.samplers.KSAMPLER(sample)


def groups(ways: dict[str, Way]) -> list[dict[str, Way]]:
    """Ways by what may be sampled side by side."""
    by: dict[tuple, dict[str, Way]] = {}
    for name, way in ways.items():
        by.setdefault(way.beside, {})[name] = way
    return list(by.values())
