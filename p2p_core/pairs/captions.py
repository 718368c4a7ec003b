"""Pairs of captions of the demo world, so that a data set can be made with nothing at hand."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..demo.scenes import ADJECTIVES, COLOURS, OBJECTS, PLACES, SUBJECTS, WORN, Scene, sample

KINDS = {
    "swap subject": ("subject", tuple(SUBJECTS)),
    "swap object": ("object", tuple(OBJECTS)),
    "swap colour": ("colour", tuple(COLOURS)),
    "change place": ("place", tuple(PLACES)),
    "add adjective": ("adjective", ADJECTIVES),
    "add hat": ("worn", tuple(WORN)),
    "add colour": ("colour", tuple(COLOURS)),
    "remove hat": ("worn", tuple(WORN)),
    "remove adjective": ("adjective", ADJECTIVES),
}
"""What of a scene each kind of edit changes, and to what."""
FRESH = 5 * 10**9  # seeds of captions, far from those that the model was trained on and is judged by
EDITS = 2  # of one source: they share its picture


def demo_lines(count: int, seed: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """`count` lines by their numbers from 1, EDITS of each source, and as far as scenes allow as many of each kind."""
    made = dict.fromkeys(KINDS, 0)
    known: set[tuple[str, str]] = set()
    for number in itertools.count():
        rng = random.Random(FRESH + 10**6 * seed + number)
        scene = _with_both(rng)
        kinds = [kind for kind in KINDS if _fits(kind, scene)]
        for _ in range(EDITS):
            kind = min(kinds, key=made.__getitem__)
            kinds.remove(kind)
            captions = scene.caption, _edited(scene, kind, rng).caption
            if len(known) == count:
                return
            if captions not in known:
                known.add(captions)
                made[kind] += 1
                yield len(known), {"source": captions[0], "edit": captions[1], "kind": kind}


def _with_both(rng: random.Random) -> Scene:
    """A scene with a subject and an object."""
    scene = sample(rng)
    while not (scene.subject and scene.object):
        scene = sample(rng)
    return scene


def _fits(kind: str, scene: Scene) -> bool:
    has = getattr(scene, KINDS[kind][0]) is not None
    return has != kind.startswith("add")


def _edited(scene: Scene, kind: str, rng: random.Random) -> Scene:
    changed, options = KINDS[kind]
    own = getattr(scene, changed)
    new = None if kind.startswith("remove") else rng.choice([option for option in options if option != own])
    return replace(scene, **{changed: new})
