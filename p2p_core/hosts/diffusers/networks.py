"""Which network a pipeline has."""

from __future__ import annotations

from ...errors import EditError
from .network import Network
from .transformer import Transformer
from .unet import Unet


def network_of(pipe) -> Network:
    """A pipeline's network.

    Raises:
        EditError: it has no attention that can be edited, or it is compiled.
    """
    for name in ("unet", "transformer"):
        module = getattr(pipe, name, None)
        if hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None):
            raise EditError(
                "pipe",
                f"its {name} is compiled by torch.compile, but prompt-to-prompt changes the attention from step to "
                "step.",
                f"Use the uncompiled one for edits: pipe.{name} = pipe.{name}._orig_mod.",
            )
    return Transformer.of(pipe) or Unet.of(pipe)
