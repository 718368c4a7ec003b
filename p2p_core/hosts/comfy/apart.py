"""Other nodes' rules on predictions, some of which take all pictures of a batch together: shown each prompt's alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import CellType, FunctionType, MethodType
from typing import Any

import torch

from ...rows import Rows

_RULES = ("sampler_pre_cfg_function", "sampler_cfg_function", "sampler_post_cfg_function")
"""The host's places for them."""

Rule = Callable[[dict[str, Any]], Any]
Cut = Callable[[torch.Tensor], torch.Tensor]


def prompt_by_prompt(model, rows: Rows) -> None:
    """Have the rules on predictions of `model`, a private clone, see each prompt's pictures as if they were alone."""
    for name in _RULES:
        rules = model.model_options.get(name)
        if rules:
            model.model_options[name] = Apart(rules, rows) if callable(rules) else [Apart(rule, rows) for rule in rules]


class Apart:
    """A rule that gives each prompt's rows what they get alone.

    Most rules do so by themselves, and stay as they are. One that takes a mean over all rows, or counts them, is found
    out before it is called: copies of it are tried on all rows and on each prompt's. From then on each prompt has a
    copy, with a memory of its own. A rule that asks the model can't be tried.
    """

    def __init__(self, rule: Rule, rows: Rows):
        self._rule, self._rows = rule, rows
        self._of_each: list[Rule] | None = None
        self._can_be_tried = True

    def __call__(self, args: dict[str, Any]) -> Any:
        if self._of_each is None and self._can_be_tried and self._mixes(args):
            self._of_each = self._copies()
        if self._of_each is None:
            return self._rule(args)
        return _joined([rule(_of_rows(args, self._cut(place))) for place, rule in enumerate(self._of_each)])

    def _mixes(self, args: dict[str, Any]) -> bool:
        args = {**args, "model": _Unasked(args["model"])}
        devices = [args["input"].device] if args["input"].is_cuda else []
        made = []
        try:
            cuts = [lambda tensor: tensor, *map(self._cut, range(self._rows.prompts))]
            for rule, cut in zip([_copy(self._rule, cuts[0]), *self._copies()], cuts):
                with torch.random.fork_rng(devices):
                    made.append(rule(_of_rows(args, lambda tensor, cut=cut: cut(tensor).clone())))
        except Exception:  # its own or ours: what a rule makes of other rows than it expects is no fault of it
            self._can_be_tried = False
            return False
        return not _close(_joined(made[1:]), made[0])

    def _copies(self) -> list[Rule]:
        return [_copy(self._rule, self._cut(place)) for place in range(self._rows.prompts)]

    def _cut(self, place: int) -> Cut:
        own, count = self._rows.of(place), len(self._rows)
        return lambda tensor: tensor[own] if tensor.ndim and len(tensor) == count else tensor


class _Unasked:
    """A model in everything but that it can't be asked for a prediction."""

    def __init__(self, model):
        self._model = model

    def __getattr__(self, name: str) -> Any:
        if name == "apply_model":
            raise LookupError("a rule that is only tried has asked the model")
        return getattr(self._model, name)


def _of_rows(args: dict[str, Any], cut: Cut) -> dict[str, Any]:
    """What a rule is given, cut to some rows: its tensors and lists of these."""

    def one(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return cut(value)
        if isinstance(value, list) and any(isinstance(item, torch.Tensor) for item in value):
            return [one(item) for item in value]
        return value

    return {name: one(value) for name, value in args.items()}


def _copy(value: Any, cut: Cut, made: dict[int, Any] | None = None) -> Any:
    """A copy of a rule with a memory of its own; or of what it remembers, cut to some rows.

    Args:
        made: copies by the ids of what they are of.
    """
    made = {} if made is None else made
    if id(value) in made:
        return made[id(value)]
    if isinstance(value, torch.Tensor):
        return cut(value).clone()
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    if type(value) in (list, tuple):
        return type(value)(_copy(item, cut, made) for item in value)
    if type(value) is dict:
        return {key: _copy(item, cut, made) for key, item in value.items()}
    if isinstance(value, FunctionType) and value.__closure__:
        return _copy_function(value, cut, made)
    if isinstance(value, MethodType):
        return MethodType(value.__func__, _copy(value.__self__, cut, made))
    if _keeps(value):
        made[id(value)] = twin = copy.copy(value)
        for name, held in vars(value).items():
            if isinstance(held, (torch.Tensor, list, tuple, dict)):
                setattr(twin, name, _copy(held, cut, made))
        return twin
    return value


def _copy_function(function: FunctionType, cut: Cut, made: dict[int, Any]) -> FunctionType:
    cells = tuple(made.setdefault(id(cell), CellType()) for cell in function.__closure__)
    twin = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    twin.__kwdefaults__ = function.__kwdefaults__
    made[id(function)] = twin
    for cell, own in zip(function.__closure__, cells):
        own.cell_contents = _copy(cell.cell_contents, cut, made)
    return twin


def _keeps(value: Any) -> bool:
    """Whether an object may be a rule's memory: not a model, of which there is one."""
    is_model = isinstance(value, torch.nn.Module) or hasattr(value, "model_options")
    return hasattr(value, "__dict__") and not is_model and type(value).__module__ not in ("builtins", "logging")


def _joined(parts: list[Any]) -> Any:
    """Predictions of each prompt as those of all rows; of a rule that gives several, each by itself."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    return [None if some[0] is None else torch.cat(some) for some in zip(*parts)]


def _close(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor):
        return len(a) == len(b) and all(x is y or _close(x, y) for x, y in zip(a, b))
    return a.shape == b.shape and bool((a - b).abs().max() <= 1e-5 * b.abs().max())
