"""The edits that are tried: pairs of captions of the demo world, of which it is known what should change."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from bench.judge.judge import asked  # and with judge p2p_core, which it makes importable
from p2p_core.demo.scenes import COLOURS, OBJECTS, PLACES, SUBJECTS, Scene, sample

FRESH = 3 * 10**9  # seeds of captions, far from those of the trainings and of tests/bench/judge
KINDS = (
    "swap subject",
    "swap object",
    "swap colour",
    "add adjective",
    "change place",
    "weight up",
    "weight down",
    "remove phrase",
)
SCALES = {"weight up": 2.0, "weight down": -4.0}
REMOVED = ("adjective", "worn", "colour", "place")


@dataclass(frozen=True)
class Case:
    """One edit.

    Attributes:
        changed: the attribute of Scene that the edit is about.
        scale: of `word`, where the edit is a weight; None elsewhere.
        seed: of the noise.
    """

    kind: str
    source: Scene
    edit: Scene
    changed: str
    seed: int
    scale: float | None = None

    @property
    def name(self) -> str:
        weight = "" if self.scale is None else f" ({self.word}:{self.scale:g})"
        return f"{self.source.caption} -> {self.edit.caption}{weight} #{self.seed}"

    @property
    def word(self) -> str:
        """What the edit is about, as it is written in the edited caption; empty if it is no longer there."""
        return (getattr(self.edit, self.changed) or "").split(" ")[-1]

    @property
    def thing(self) -> str:
        """What the edit is about: "subject", "object" or "place"."""
        return {"adjective": "subject", "worn": "subject", "colour": "object"}.get(self.changed, self.changed)

    @property
    def kept(self) -> list[str]:
        """The attributes that the source's caption decides and that should stay as they are in its picture."""
        return [name for name in asked(self.source) if name != self.changed]


def cases(per_kind: int, first: int = 0) -> list[Case]:
    """`per_kind` edits of every kind, two seeds of noise a pair of captions from pair `first` on."""
    made = []
    for kind in KINDS:
        for number in range(first, first + -(-per_kind // 2)):
            rng = random.Random(FRESH + 1000 * KINDS.index(kind) + number)
            source, edit, changed = _pair(kind, rng)
            seeds = (2 * number, 2 * number + 1)
            made += [Case(kind, source, edit, changed, seed, SCALES.get(kind)) for seed in seeds]
    return made


def _pair(kind: str, rng: random.Random) -> tuple[Scene, Scene, str]:
    """A scene with a subject and an object that is fit for the kind, the edited one, and what differs."""
    scene = sample(rng)
    while not (scene.subject and scene.object):
        scene = sample(rng)
    scene = replace(scene, subject_box=None, object_box=None)
    if kind.startswith("swap") or kind == "change place":
        changed = kind.split(" ")[-1]
        options = {"subject": SUBJECTS, "object": OBJECTS, "colour": COLOURS, "place": PLACES}[changed]
        old, new = rng.sample(list(options), 2)
        return replace(scene, **{changed: old}), replace(scene, **{changed: new}), changed
    if kind == "add adjective":
        changed = rng.choice(("adjective", "colour"))
        new = "smiling" if changed == "adjective" else rng.choice(list(COLOURS))
        return replace(scene, **{changed: None}), replace(scene, **{changed: new}), changed
    changed = rng.choice(REMOVED if kind != "weight up" else ("adjective", "worn", "colour"))
    options = {"adjective": ("smiling",), "worn": ("hat", "crown"), "colour": tuple(COLOURS), "place": tuple(PLACES)}
    scene = replace(scene, **{changed: rng.choice(options[changed])})
    return scene, replace(scene, **{changed: None}) if kind == "remove phrase" else scene, changed
