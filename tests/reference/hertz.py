"""The controllers of Hertz et al. 2022 on materialised maps, for a ComfyUI model.

Written out after the paper and its published procedure, defects included, and kept as far from the
engine as can be: words are split on spaces, maps are tensors [prompts, heads, n, m], windows are the
steps below `int(fraction * (steps + 1))` for cross-attention and `int(fraction * steps)` for self-attention.

The rows of the model's positive conditioning are [source, edit 1, ...].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import comfy.samplers
import torch
import torch.nn.functional as F

LENGTH = 77
Encode = Callable[[str], list[int]]
"""A text's token ids with start and end, without padding."""


# --- which token takes which map ---


def word_places(text: str, word: str | int, encode: Encode) -> list[int]:
    """Token positions of every place of a word, or of the word of a number."""
    places, position = [], 1
    for number, written in enumerate(text.split(" ")):
        count = len(encode(written)) - 2
        if word in (number, written):
            places += range(position, position + count)
        position += count
    return places


def replacement_mapper(source: str, edit: str, encode: Encode) -> torch.Tensor:
    """[77, 77]: the matrix of AttentionReplace."""
    old, new = source.split(" "), edit.split(" ")
    if len(old) != len(new):
        raise ValueError("replacement needs as many words in both prompts")
    changed = [i for i, (a, b) in enumerate(zip(old, new)) if a != b]
    swaps = [(word_places(source, i, encode), word_places(edit, i, encode)) for i in changed]
    mapper = torch.zeros(LENGTH, LENGTH, dtype=torch.float64)
    i = j = 0
    while i < LENGTH and j < LENGTH:
        if swaps and swaps[0][0][0] == i:
            sources, targets = swaps.pop(0)
            if len(sources) == len(targets):
                mapper[sources, targets] = 1
            else:
                for target in targets:
                    mapper[sources, target] = 1 / len(targets)
            i += len(sources)
            j += len(targets)
            continue
        # After the last swap the paper's code writes mapper[j, j], which is mapper[i, j] only as long
        # as no swap changed the number of tokens.
        mapper[i if swaps else j, j] = 1
        i, j = i + 1, j + 1
    return mapper


def refinement_mapper(source: str, edit: str, encode: Encode) -> tuple[torch.Tensor, torch.Tensor]:
    """[77] and [77]: the source's token for each of the edit's, and whether there is one."""
    x, y = encode(source), encode(edit)
    score = torch.zeros(len(x) + 1, len(y) + 1, dtype=torch.long)
    came = torch.zeros_like(score)
    came[0, 1:], came[1:, 0] = 1, 2
    for i in range(1, len(x) + 1):
        for j in range(1, len(y) + 1):
            left, up = score[i, j - 1], score[i - 1, j]
            diagonal = score[i - 1, j - 1] + (1 if x[i - 1] == y[j - 1] else -1)
            score[i, j] = best = max(left, up, diagonal)
            came[i, j] = 1 if best == left else 2 if best == up else 3
    mapper, alphas = torch.arange(LENGTH), torch.ones(LENGTH, dtype=torch.float64)
    i, j = len(x), len(y)
    while i or j:
        if came[i, j] == 3:
            i, j = i - 1, j - 1
            mapper[j] = i
        elif came[i, j] == 1:
            j -= 1
            mapper[j], alphas[j] = -1, 0
        else:
            i -= 1
    return mapper, alphas


def equalizer(text: str, words: dict[str, float], encode: Encode) -> torch.Tensor:
    """[77]: the weight of each token."""
    weights = torch.ones(LENGTH, dtype=torch.float64)
    for word, weight in words.items():
        weights[word_places(text, word, encode)] = weight
    return weights


def time_alphas(edits: Sequence[str], steps: int, windows: dict[str, float | tuple], encode: Encode) -> torch.Tensor:
    """[steps + 1, edits, 77]: when each token's map is the source's. `windows` by word, or "default_"."""
    alphas = torch.zeros(steps + 1, len(edits), LENGTH, dtype=torch.float64)

    def write(bounds: float | tuple, edit: int, places: Sequence[int]) -> None:
        first, last = bounds if isinstance(bounds, tuple) else (0.0, bounds)
        first, last = int(first * len(alphas)), int(last * len(alphas))
        for place in places:
            alphas[:, edit, place] = 0
            alphas[first:last, edit, place] = 1

    for edit, text in enumerate(edits):
        write(windows.get("default_", (0.0, 1.0)), edit, range(LENGTH))
        for word, bounds in windows.items():
            if word != "default_":
                write(bounds, edit, word_places(text, word, encode))
    return alphas


# --- what is done to the maps ---

Cross = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""The source's map [heads, n, 77] and the edits' own [edits, heads, n, 77] -> the edits' new ones."""


def replace(mappers: torch.Tensor) -> Cross:
    """mappers: [edits, 77, 77]."""
    return lambda source, own: torch.einsum("hpw,ewn->ehpn", source, mappers)


def refine(mappers: torch.Tensor, alphas: torch.Tensor) -> Cross:
    """mappers, alphas: [edits, 77]."""
    alphas = alphas[:, None, None]
    return lambda source, own: source[:, :, mappers].permute(2, 0, 1, 3) * alphas + own * (1 - alphas)


def reweight(equalizers: torch.Tensor, before: Cross | None = None) -> Cross:
    """equalizers: [edits, 77]; before: another controller, whose maps are weighted."""
    equalizers = equalizers[:, None, None]
    return lambda source, own: (before(source, own) if before else source[None]) * equalizers


@dataclass
class WordBlend:
    """LocalBlend of the later notebook, with words taken out of the mask and a late start.

    words, subtract: [prompts, 77], 1 at the words' tokens.
    resolution: of the maps that make the mask; the paper's 16 is for latents of 64 x 64.
    """

    words: torch.Tensor
    subtract: torch.Tensor | None = None
    threshold: float = 0.3
    start: float = 0.2
    resolution: int = 16

    def mask(self, stored: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """stored: a layer's summed maps [prompts, heads, resolution ** 2, 77] each."""
        maps = torch.cat([layer.unflatten(2, (self.resolution, self.resolution)) for layer in stored], dim=1)
        mask = self._of(maps, self.words, size, pool=True)
        if self.subtract is not None:
            mask = mask & ~self._of(maps, self.subtract, size, pool=False)
        return mask.to(maps)

    def _of(self, maps: torch.Tensor, words: torch.Tensor, size: tuple[int, int], pool: bool) -> torch.Tensor:
        mask = (maps * words[:, None, None, None]).sum(-1).mean(1, keepdim=True)
        if pool:
            mask = F.max_pool2d(mask, (3, 3), (1, 1), padding=(1, 1))
        mask = F.interpolate(mask, size=size)
        mask = mask / mask.amax((2, 3), keepdim=True) > self.threshold
        return mask[:1] | mask


@dataclass
class Controller:
    """One run's attention control.

    Attributes:
        cross: what is done to cross maps, and `alphas` [steps + 1, edits, 77] when.
        self_replace: fractions of the steps in which self maps are the source's.
        self_resolution: the largest resolution of those maps; the paper's 16 and later 32 are for 64 x 64 latents.
    """

    steps: int
    cross: Cross
    alphas: torch.Tensor
    self_replace: tuple[float, float] = (0.0, 0.0)
    self_resolution: int = 16
    blend: WordBlend | None = None
    stored: dict = field(default_factory=dict)

    def edited(self, maps: torch.Tensor, is_cross: bool, step: int, layer: tuple) -> torch.Tensor:
        """Maps [prompts, heads, n, m] of the conditional half of one layer."""
        source, own = maps[0], maps[1:]
        if is_cross:
            alphas = self.alphas[step][:, None, None]
            own = self.cross(source, own) * alphas + own * (1 - alphas)
        elif int(self.self_replace[0] * self.steps) <= step < int(self.self_replace[1] * self.steps):
            own = source.expand_as(own) if maps.shape[2] <= self.self_resolution**2 else own
        maps = torch.cat([source[None], own])
        if is_cross and self.blend and maps.shape[2] == self.blend.resolution**2:
            self.stored[layer] = self.stored.get(layer, 0) + maps
        return maps

    def mask(self, step: int, size: tuple[int, int]) -> torch.Tensor | None:
        """[prompts, 1, *size], or None where the blend hasn't begun."""
        if self.blend is None or step < int(self.blend.start * self.steps):
            return None
        return self.blend.mask(list(self.stored.values()), size)

    def patched(self, model):
        """A copy of a ComfyUI model under this controller.

        The word blend acts on the denoised prediction, as the pack's does, and not on the latent as the paper's:
        where the mask of words shrinks, the paper's form drops what earlier steps changed there at once, the
        pack's lets it fade with the noise. For a mask that stays the same the two are one (latent_blend_sampler).
        """
        model = model.clone()
        for is_cross, name in ((False, "attn1"), (True, "attn2")):
            for block in ("input", "middle", "output"):
                for number in range(12):
                    model.set_model_patch_replace(self._patch(is_cross), name, block, number)
        if self.blend is not None:
            model.set_model_sampler_post_cfg_function(self._post_cfg)
        return model

    def _patch(self, is_cross: bool):
        def patch(q, k, v, options):
            heads, layer = options["n_heads"], (*options["block"], options["block_index"])
            q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
            maps = list((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1).chunk(len(options["cond_or_uncond"])))
            step = step_of(options["sigmas"], options)
            for chunk, uncond in enumerate(options["cond_or_uncond"]):
                if not uncond:
                    maps[chunk] = self.edited(maps[chunk], is_cross, step, layer)
            return (torch.cat(maps) @ v).transpose(1, 2).flatten(-2)

        return patch

    def _post_cfg(self, args):
        denoised = args["denoised"]
        mask = self.mask(step_of(args["sigma"], args["model_options"]["transformer_options"]), denoised.shape[-2:])
        return denoised if mask is None else denoised[:1] + mask * (denoised - denoised[:1])


def step_of(sigma: torch.Tensor, options: dict) -> int:
    return int((options["sample_sigmas"] == sigma[0]).nonzero())


def latent_blend_sampler(mask: torch.Tensor) -> comfy.samplers.KSAMPLER:
    """DDIM (in sigmas: Euler), and after every step the paper's blend of the latents under a fixed mask."""

    def sample(model, x, sigmas, extra_args, callback=None, disable=None):
        for now, then in pairwise(sigmas):
            denoised = model(x, now * x.new_ones(len(x)), **extra_args)
            x = x + (x - denoised) / now * (then - now)
            x = x[:1] + mask * (x - x[:1])
        return x

    return comfy.samplers.KSAMPLER(sample)
