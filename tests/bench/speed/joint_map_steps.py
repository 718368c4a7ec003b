"""An edit of joint attention on materialised maps, as code that isn't fused has it: for its cost."""

from __future__ import annotations

from typing import Any

import torch


def options(model, alignment: torch.Tensor) -> dict[str, Any]:
    """A model's options with every joint call on its maps; of each two rows the second has the first's map.

    Args:
        alignment: [n_source, n_edit], all of the prompt's positions, which come first.
    """
    text = len(alignment)

    def attend(func, q, k, v, heads, mask=None, skip_reshape=False, transformer_options=None, **more):
        if not skip_reshape:
            q, k, v = (x.flatten(2).unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        maps = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        rows = [i for i, cond in enumerate(transformer_options["cond_or_uncond"]) if cond == 0]
        if maps.shape[-2] == maps.shape[-1] > text:
            for source in (2 * i for i in rows):
                edited = maps[source, :, text:].clone()
                edited[..., :text] = edited[..., :text] @ alignment.to(maps)
                maps[source + 1, :, text:] = edited
        return (maps @ v).transpose(1, 2).flatten(2)

    patched = model.clone()
    patched.model_options["transformer_options"]["optimized_attention_override"] = attend
    return patched.model_options
