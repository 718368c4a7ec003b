"""The judge: a small network that reads a scene of the demo world back from its picture.

    judge = load()
    seen = read(judge, pictures)          # pictures: [B, 3, 128, 128] in [0, 1] -> a Scene each, with boxes
    marks(parse("a cat on a box"), seen[0])  # {'subject': True, ...}: what the caption asks for, and whether it is seen

Trained by `python -m tests.bench.judge.train` on drawn scenes whose words and boxes are known.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from p2p_core.demo.scenes import ADJECTIVES, COLOURS, OBJECTS, PLACES, RELATIONS, SUBJECTS, WORN, Scene

FILE = Path(__file__).with_name("judge.safetensors")

# What can be seen of each attribute, in the order of the network's outputs. None: nothing of the kind is there.
# Colour, relation and place have no None: they are read, and meant, only where a caption speaks of them.
OPTIONS = {
    "subject": (None, *SUBJECTS),
    "object": (None, *OBJECTS),
    "colour": (*COLOURS,),
    "relation": RELATIONS,
    "place": (*PLACES,),
    "adjective": (None, *ADJECTIVES),
    "worn": (None, *WORN),
}


class Judge(nn.Module):
    """[B, 3, 128, 128] in [0, 1] -> logits [B, options] by attribute, boxes [B, 2, 4] of subject and object."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 128)):
        super().__init__()
        before = widths[0]
        layers = [nn.Conv2d(3, before, 5, 2, 2), nn.ReLU()]  # no norm yet, so that flat colours pass
        for i, width in enumerate(widths):
            layers += [
                nn.Conv2d(before, width, 3, 2 if i else 1, 1),
                nn.GroupNorm(8, width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, 1, 1),
                nn.GroupNorm(8, width),
                nn.ReLU(),
            ]
            before = width
        layers += [nn.Conv2d(before, 48, 1), nn.Flatten(), nn.Linear(48 * 8 * 8, 224), nn.ReLU(), nn.Dropout(0.2)]
        self.features = nn.Sequential(*layers)
        self.heads = nn.ModuleDict({name: nn.Linear(224, len(options)) for name, options in OPTIONS.items()})
        self.boxes = nn.Linear(224, 8)

    def forward(self, pictures: torch.Tensor) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        x = self.features(pictures * 2 - 1)
        return {name: head(x) for name, head in self.heads.items()}, self.boxes(x).unflatten(1, (2, 4))


def load(path: str | Path = FILE) -> Judge:
    judge = Judge()
    judge.load_state_dict({name: tensor.float() for name, tensor in load_file(str(path)).items()})
    return judge.eval().requires_grad_(False)


@torch.no_grad()
def read(judge: Judge, pictures: torch.Tensor) -> list[Scene]:
    """What the judge sees, everything filled in: colour, relation and place are guesses where nothing is."""
    logits, boxes = judge(pictures)
    best = {name: scores.argmax(1).tolist() for name, scores in logits.items()}
    scenes = []
    for i, (subject_box, object_box) in enumerate(boxes.tolist()):
        words = {name: OPTIONS[name][best[name][i]] for name in OPTIONS}
        scenes.append(Scene(**words, subject_box=tuple(subject_box), object_box=tuple(object_box)))
    return scenes


def asked(scene: Scene) -> list[str]:
    """The attributes that a caption decides. No smile and no hat are decided too, where there is a subject."""
    names = ["subject", "object"] + [name for name in ("colour", "relation", "place") if getattr(scene, name)]
    return names + (["adjective", "worn"] if scene.subject else [])


def marks(wanted: Scene, seen: Scene) -> dict[str, bool]:
    """Attribute by attribute, whether what the caption decides is what the judge sees."""
    return {name: getattr(wanted, name) == getattr(seen, name) for name in asked(wanted)}
