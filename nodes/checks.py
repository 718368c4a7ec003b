"""A look at a node's inputs before it runs: each has to be of the kind that the schema asks for."""

import functools
import inspect
import math

from comfy_api.latest import io

from ..p2p_core.errors import EditError

# Inputs that may arrive empty: their nodes say why, better than is known here.
_MAY_BE_EMPTY = ("clip", "maps")


def checked(execute):
    """A node's `execute`, which runs only if each input is of the kind that the node's schema asks for.

    ComfyUI 0.3.75 looks at numbers' ranges and at what links come from, and lets the rest through: a choice that is
    none of the offered, NaN, and in an API workflow "6" where ["6", 0] was meant.

    Raises:
        EditError: names the input.
    """

    @functools.wraps(execute)
    def look_first(cls, *args, **kwargs):
        bound = inspect.signature(execute).bind(cls, *args, **kwargs)
        given = bound.arguments | bound.kwargs  # the latter has those that `execute` gathers, one by one
        for declared in cls.define_schema().inputs:
            if declared.id in given:
                _check(declared, given[declared.id])
        return execute(cls, *args, **kwargs)

    return look_first


def _check(declared, value) -> None:
    name = declared.id
    if isinstance(declared, io.Combo.Input):
        if value not in declared.options:
            raise EditError(f"{name}: '{value}' is none of {', '.join(declared.options)}.")
    elif isinstance(declared, io.Float.Input):
        if not math.isfinite(value):
            raise EditError(f"{name} is {value}: it has to be a number.")
    elif isinstance(declared, (io.String.Input, io.Int.Input)):
        return
    elif value is None and not declared.optional and name not in _MAY_BE_EMPTY:
        raise EditError(f"{name} is empty: nothing comes out of the node that it is connected to.")
    elif _is_written(value):
        raise EditError(
            f"{name}: {value!r} is written where a connection belongs, which in an API workflow is "
            'the other node\'s id with the number of its output, as ["6", 0].'
        )


def _is_written(value) -> bool:
    """Whether a value came from the workflow's text and through no connection: latents are dicts as well."""
    return isinstance(value, (str, int, float)) or (isinstance(value, dict) and "samples" not in value)
