"""Which layers matter: an edit with each group of layers injected alone, and with all but that group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from ..edit import Edit, Variant
from ..errors import EditError
from ..layers import BlockRange, Layer, blocks, grid_name
from ..schedule import Window

GROUPINGS = ("block", "resolution", "part")
ATTENTIONS = ("both", "cross", "self")
EVERYTHING = "all layers"


@dataclass(frozen=True)
class Group:
    """Some blocks of a model, as InjectSchedule.blocks has them."""

    label: str
    blocks: tuple[BlockRange, ...]


@dataclass(frozen=True)
class Measure:
    """What injection into some layers does to the picture, compared to the source.

    Attributes:
        moved: the root of the mean squared difference to the source, in percent of the full range.
        kept: the structural similarity to the source, 1 for the same picture.
    """

    moved: float
    kept: float


@dataclass(frozen=True)
class Finding:
    """A group's measures: with injection into this group only, and into all layers but it."""

    label: str
    only: Measure
    without: Measure


def group_layers(layers: Sequence[Layer], by: str, height: int, width: int) -> list[Group]:
    """The model's blocks with attention one by one, by resolution, or by part of the model."""
    found: dict[str, list[BlockRange]] = {}
    for name, (layer, *_) in blocks(layers).items():
        label = {"block": name, "resolution": grid_name(layer, height, width), "part": layer.block}[by]
        found.setdefault(label, []).append(BlockRange(layer.block, layer.number, layer.number))
    return [Group(label, tuple(ranges)) for label, ranges in found.items()]


def study(edit: Edit, groups: Sequence[Group], attention: str = "both") -> Edit:
    """The variants to sample: everything, nothing, then each group alone, then all but each group.

    Args:
        edit: one that is `on` its model.

    Raises:
        EditError: an edit of several prompts or one that injects nothing; fewer than two groups.
    """
    if len(edit.variants) != 1:
        raise EditError(
            "edit",
            f"it has {len(edit.variants)} edited prompts, but a study looks at one.",
            "Use an edit with a single edited prompt.",
        )
    if len(groups) < 2:
        raise EditError("by", "this choice puts all layers of the model into one group.", "Choose 'block' instead.")
    variant = _limited(edit.variants[0], attention)
    if variant.schedule.blocks:
        raise EditError("blocks", "it is set in this edit, but choosing blocks is the study's task.", "Leave it empty.")
    every = tuple(some for group in groups for some in group.blocks)
    chosen = [every, (), *(group.blocks for group in groups)]
    chosen += [tuple(some for some in every if some not in group.blocks) for group in groups]
    return replace(edit, variants=tuple(_injected_in(variant, ranges) for ranges in chosen))


def findings(groups: Sequence[Group], source: torch.Tensor, pictures: torch.Tensor) -> list[Finding]:
    """What the pictures of `study` show; the first finding is of all layers together.

    Args:
        source: [batch, height, width, 3]; pictures: [variants * batch, height, width, 3], in [0, 1].
    """
    batch = len(source)
    everywhere, nowhere, *rest = (measure(source, pictures[i : i + batch]) for i in range(0, len(pictures), batch))
    alone, left_out = rest[: len(groups)], rest[len(groups) :]
    return [
        Finding(EVERYTHING, everywhere, nowhere),
        *(Finding(group.label, *measures) for group, *measures in zip(groups, alone, left_out)),
    ]


def measure(source: torch.Tensor, pictures: torch.Tensor) -> Measure:
    """Of pictures [n, height, width, 3] in [0, 1] and their sources, averaged over n."""
    moved = (pictures - source).square().mean((1, 2, 3)).sqrt().mean()
    return Measure(100 * float(moved), float(similarity(source, pictures).mean()))


def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Structural similarity (Wang et al. 2004) of [n, height, width, 3] in [0, 1], of the grey pictures, [n]."""
    grey = torch.tensor([0.299, 0.587, 0.114], device=a.device)
    a, b = ((x[..., :3].float() @ grey)[:, None] for x in (a, b))

    def mean(x):
        return F.avg_pool2d(x, 7, stride=1)

    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    light, contrast = 0.01**2, 0.03**2
    values = (2 * mean_a * mean_b + light) * (2 * covariance + contrast)
    return (values / ((mean_a**2 + mean_b**2 + light) * (variances + contrast))).mean((1, 2, 3))


def table(found: Sequence[Finding]) -> str:
    """The findings, one line each, and sentences that say which group holds most of the source."""
    everything, groups = found[0], found[1:]
    width = max(len(finding.label) for finding in found)
    lines = [
        f"{'':<{width}}   injected only here    everywhere but here",
        f"{'':<{width}}     moved      kept       moved      kept",
    ]
    for finding in found:
        both = (finding.only, finding.without)
        numbers = (f"{measured.moved:>6.1f} %   {measured.kept:>7.3f}" for measured in both)
        lines.append(f"{finding.label:<{width}}   {'     '.join(numbers)}")
    lines += [
        "",
        "moved: how far the edit is from the source (root mean square, of the full range).",
        "kept: structural similarity with the source; 1 is the same picture.",
        f"The row '{EVERYTHING}', column 'everywhere but here', is without injection.",
    ]
    gap = everything.only.kept - everything.without.kept
    if gap < 0.01:
        return "\n".join([*lines, "With these settings injection hardly changes how much of the source is kept."])
    best = max(groups, key=lambda finding: finding.only.kept)
    missed = min(groups, key=lambda finding: finding.without.kept)
    lines.append(
        f"Alone, {best.label} keeps most of the source: {best.only.kept:.3f}. Without injection it is "
        f"{everything.without.kept:.3f}, with injection everywhere {everything.only.kept:.3f}."
    )
    lines.append(f"Left out, {missed.label} is missed most: {missed.without.kept:.3f} without it.")
    return "\n".join(lines)


def _limited(variant: Variant, attention: str) -> Variant:
    schedule = variant.schedule
    if attention == "cross":
        schedule = replace(schedule, self_window=Window(0.0, 0.0, "self"))
    if attention == "self":
        schedule = replace(schedule, cross_window=Window(0.0, 0.0, "cross"), word_windows=())
    return replace(variant, schedule=schedule)


def _injected_in(variant: Variant, ranges: tuple[BlockRange, ...]) -> Variant:
    if ranges:
        return replace(variant, schedule=replace(variant.schedule, blocks=ranges))
    nothing = {"cross_window": Window(0.0, 0.0, "cross"), "self_window": Window(0.0, 0.0, "self"), "word_windows": ()}
    return replace(variant, schedule=replace(variant.schedule, **nothing))
