"""ComfyUI in float64, so that two ways of doing one thing can be told apart from rounding."""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode


class InFloat64(TorchFunctionMode):
    """The host rounds to float32 here and there, at the UNet's output for one; here it stays float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        func = torch.Tensor.double if func is torch.Tensor.float else func
        args, kwargs = (_wide(part) for part in (tuple(args), kwargs or {}))
        return func(*args, **kwargs)


def _wide(value):
    if isinstance(value, tuple):
        return tuple(map(_wide, value))
    if isinstance(value, dict):
        return {name: _wide(part) for name, part in value.items()}
    return torch.float64 if value is torch.float32 else value
