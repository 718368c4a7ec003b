"""The judge as a filter of edit pairs of the demo world:

python -m p2p_core pairs --filter tests.bench.judge.pairs:Follows
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from p2p_core.demo.scenes import parse

from .judge import asked, load, marks, read


class Follows:
    """Keeps pairs that show what their captions say changes, and in which nothing else changed.

    The score is the share of what both captions decide that is seen. It reads `source`, `edited` and `sample.request`
    of what it is given.
    """

    scores = ("judge",)
    ranks_by = "judge"

    def __init__(self):
        self.judge = load()

    def __call__(self, drawn: Sequence) -> list:
        from p2p_core.pairs.filtering import Verdict

        seen = read(self.judge, _tensor([picture for pair in drawn for picture in (pair.source, pair.edited)]))
        found = []
        for pair, before, after in zip(drawn, seen[0::2], seen[1::2]):
            score, dropped = verdict(pair.sample.request.source, pair.sample.request.edit, before, after)
            found.append(Verdict({"judge": round(score, 4)}, dropped))
        return found


def verdict(source: str, edit: str, before, after) -> tuple[float, str]:
    """Of captions and of what is seen in their pictures: the score, and why to drop the pair or nothing."""
    wanted, edited = parse(source), parse(edit)
    changed = [name for name in asked(edited) if getattr(wanted, name) != getattr(edited, name)]
    right, made = marks(wanted, before), marks(edited, after)
    score = float(np.mean([*right.values(), *made.values()]))
    if not all(right.get(name, True) for name in changed):
        return score, "judge: source unlike its caption"
    if not all(made[name] for name in changed):
        return score, "judge: edit not made"
    if any(right.get(name) and not made[name] for name in made if name not in changed):
        return score, "judge: more has changed"
    return score, ""


def _tensor(pictures: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255
