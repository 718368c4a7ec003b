"""A look at a node's inputs before it runs: each has to be of the kind that the schema asks for."""

import functools
import inspect
import math
import re

import torch
from comfy_api.latest import io

from ..p2p_core.errors import EditError
from ..p2p_core.maps import AttentionMaps

INPUT_OF = {
    "cross_start": "AttentionInjectSchedule",
    "cross_end": "AttentionInjectSchedule",
    "self_start": "AttentionInjectSchedule",
    "self_end": "AttentionInjectSchedule",
    "self_layers": "AttentionInjectSchedule",
    "self_mode": "AttentionInjectSchedule",
    "blocks": "AttentionInjectSchedule",
    "source_words": "AttentionLocalBlend",
    "edit_words": "AttentionLocalBlend",
    "noise": "P2PRealPicture",
    "source_cfg": "P2PRealPicture",
}
"""Where the inputs are that another node can find fault with, once the model or the picture is known."""

# Inputs that may arrive empty: their nodes say why, better than is known here.
_MAY_BE_EMPTY = ("clip", "maps")


def checked(execute):
    """A node's `execute`, which runs only if each input is of the kind that the node's schema asks for.

    ComfyUI 0.3.75 looks at numbers' ranges and at what links come from, and lets the rest through: a choice that is
    not offered, NaN, and in an API workflow "6" where ["6", 0] was meant.

    Raises:
        EditError: names the input, and where it is to be found if it is another node's.
    """

    @functools.wraps(execute)
    def look_first(cls, *args, **kwargs):
        bound = inspect.signature(execute).bind(cls, *args, **kwargs)
        given = bound.arguments | bound.kwargs  # the latter has those that `execute` gathers, one by one
        for declared in cls.define_schema().inputs:
            if declared.id in given:
                _check(declared, given[declared.id])
        try:
            return execute(cls, *args, **kwargs)
        except EditError as error:
            if where := _elsewhere(error.input, {declared.id for declared in cls.define_schema().inputs}):
                raise EditError(error.input, error.problem, f"{error.remedy} ({where})".strip()) from error
            raise

    return look_first


def _elsewhere(inputs: str, own: set[str]) -> str:
    """On which nodes the inputs of an error are, a sentence; empty where they are the failing node's own."""
    names = [name for name in re.split(r" and | or ", inputs) if name in INPUT_OF and name not in own]
    nodes = " and ".join(dict.fromkeys(INPUT_OF[name] for name in names))
    return f"{' and '.join(names)} {'is an input' if len(names) == 1 else 'are inputs'} of {nodes}." if names else ""


def _check(declared, value) -> None:
    name = declared.id
    if isinstance(declared, io.Combo.Input):
        if value not in declared.options:
            raise EditError(name, f"'{value}' is not one of: {', '.join(declared.options)}.")
    elif isinstance(declared, io.Float.Input):
        if not math.isfinite(value):
            raise EditError(name, f"{value} is not a finite number.")
    elif isinstance(declared, (io.String.Input, io.Int.Input)):
        return
    elif value is None and not declared.optional and name not in _MAY_BE_EMPTY:
        raise EditError(name, "it is empty: nothing comes out of the node that it is connected to.")
    elif _is_written(value):
        raise EditError(
            name,
            f"{value!r} is written where a connection belongs.",
            'In an API workflow a connection is the other node\'s id with the number of its output, such as ["6", 0].',
        )


def _is_written(value) -> bool:
    """Whether a value came from the workflow's text and through no connection: latents are dicts as well."""
    return isinstance(value, (str, int, float)) or (isinstance(value, dict) and "samples" not in value)


def check_pictures(name: str, images: torch.Tensor, maps: AttentionMaps) -> None:
    """Raise EditError where pictures [n, height, width, channels] can't be of the run that made these maps."""
    batch, (height, width) = maps.batch, images.shape[1:3]
    edited = batch * len(maps.variants)
    if abs(height / width * maps.size[1] / maps.size[0] - 1) > 16 / min(maps.size):  # more than latents round
        misfit = f"it is {width} x {height} pixels, but the maps are of pictures of {maps.size[1]} x {maps.size[0]}."
    elif len(images) not in (1, batch, edited):
        misfit = f"it has {len(images)} pictures, but the maps are of a run with {batch}, and {edited} edited ones."
    else:
        return
    raise EditError(
        name,
        misfit,
        "Connect the decoded source or edited pictures of the run that made the maps. If a node that fills every free "
        "input made this connection, disconnect it.",
    )
