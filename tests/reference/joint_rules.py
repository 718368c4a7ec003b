"""Two rules for joint attention, written out for a ComfyUI model of Flux's shape: text first, then the picture.

Shin et al. 2025, "Exploring Multimodal Diffusion Transformers for Enhanced Prompt-based Image Editing", and the
attention of ReFlex (Kim et al. 2025), on materialised maps. The rows of the model's positive conditioning are
[source, edit].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .hertz import LENGTH, step_of


def maps_of(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


class Rule:
    """What is done to the attention of the positive conditioning."""

    def __call__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, block: int, step: int) -> torch.Tensor:
        """q, k, v [2, heads, text + image, head_dim] of a block and a step, by number -> the same shape."""
        raise NotImplementedError

    def patched(self, model):
        """A copy of a ComfyUI model under this rule."""
        depth = len(model.get_model_object("diffusion_model").double_blocks)

        def override(func, q, k, v, heads, mask=None, **more):
            options = more["transformer_options"]
            block = options["block_index"] + (depth if options["block_type"] == "single" else 0)
            step, out = step_of(options["sigmas"], options), []
            for uncond, *rows in zip(options["cond_or_uncond"], *(x.split(2) for x in (q, k, v))):
                out.append(maps_of(rows[0], rows[1]) @ rows[2] if uncond else self(*rows, block, step))
            return torch.cat(out).transpose(1, 2).flatten(2)

        model = model.clone()
        model.model_options["transformer_options"]["optimized_attention_override"] = override
        return model


@dataclass(frozen=True)
class Shin(Rule):
    """The picture's queries and keys are the source's, in all blocks of the first steps. The text's rows see these keys
    too."""

    steps: int
    window: float = 0.2

    def __call__(self, q, k, v, block: int, step: int) -> torch.Tensor:
        if step < int(self.window * self.steps):
            q, k = q.clone(), k.clone()
            q[1:, :, LENGTH:], k[1:, :, LENGTH:] = q[:1, :, LENGTH:], k[:1, :, LENGTH:]
        return maps_of(q, k) @ v


@dataclass(frozen=True)
class Reflex(Rule):
    """From the picture's places to words: the source's map where the edit's token has one, else its own times a scale.
    From places to places: the source's map. The sum is not made one again; text rows keep their own.

    Attributes:
        mapper, alphas: [77], of hertz.refinement_mapper.
        word_steps, place_steps, word_blocks, place_blocks: where each is done. In the paper's code these are the first
            10 and 7 of 28 steps, and blocks 13 to 44 and 20 to 44 of 57.
        refilled: what the source's map from places to places has above its so many-th largest entry is shared out as
            the edit's own map has it there. The paper's code has 20 of 4,096; in the first step 1, which is nothing.
        scale: of tokens that the source has not.
    """

    mapper: torch.Tensor
    alphas: torch.Tensor
    word_steps: int
    place_steps: int
    word_blocks: range
    place_blocks: range
    refilled: int = 1
    scale: float = 4.0

    def __call__(self, q, k, v, block: int, step: int) -> torch.Tensor:
        maps = maps_of(q, k)
        source, own = maps[0, :, LENGTH:], maps[1, :, LENGTH:]
        if block in self.word_blocks and step < self.word_steps:
            alphas = self.alphas.to(maps)
            words = source[..., self.mapper] * alphas + own[..., :LENGTH] * (1 - alphas) * self.scale
        else:
            words = own[..., :LENGTH]
        places = own[..., LENGTH:]
        if block in self.place_blocks and step < self.place_steps:
            places = self._places(source[..., LENGTH:], places, self.refilled if step else 1)
        maps[1, :, LENGTH:] = torch.cat([words, places], -1)
        return maps @ v

    def _places(self, source: torch.Tensor, own: torch.Tensor, refilled: int) -> torch.Tensor:
        largest = source > source.topk(refilled, -1).values[..., -1:]
        shared = own * largest
        shared = (shared / shared.sum(-1, keepdim=True)).nan_to_num(0) * (source * largest).sum(-1, keepdim=True)
        return torch.where(largest, shared, source)
