"""Edits of every kind as jobs for a server: each a short workflow unlike any other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from support.graphs import DemoGraph, Node

ANIMALS = ("dog", "fox", "lion", "owl", "panda", "rabbit", "penguin", "bear", "cow")
PLACES = ("car", "boat", "box", "chair", "cake", "bus", "bicycle", "pumpkin")
SAMPLERS = ("euler", "dpmpp_2m", "euler_ancestral", "dpmpp_sde", "heun", "lcm")
STEPS = 2


@dataclass(frozen=True)
class Job:
    """An edit to sample. `kept` are the nodes that keep its latents, `picture` the one that shows it.

    `is_noted`: nothing is edited, which ComfyUI tells as a sentence on the node.
    """

    name: str
    graph: DemoGraph
    kept: tuple[Node, ...]
    picture: Node
    is_noted: bool = False


def jobs(number: int, plain: bool = False) -> Iterator[Job]:
    """Jobs of every kind in turn, no two alike: of ComfyUI's cache they use the model and nothing else."""
    for i in range(number):
        kind = "plain" if plain else list(KINDS)[i % len(KINDS)]
        yield _job(f"{i:03d}_{kind}", i, KINDS.get(kind))


def _job(name: str, i: int, kind: Callable | None) -> Job:
    # The first ten hold the largest that there are: two pictures with two edits, and with maps.
    graph = DemoGraph(batch=2 if i % 9 in (4, 6) else 1)
    source = f"a cat sitting on a {PLACES[i % len(PLACES)]}"
    how = {"seed": 1000 + i, "steps": STEPS, "sampler_name": SAMPLERS[i % len(SAMPLERS)]}
    if kind is None:
        latents = [graph.ksampler(graph.text(source), **how)[0]]
    else:
        edited = source.replace("cat", ANIMALS[i % len(ANIMALS)])
        edit, more = kind(graph, source, edited)
        sampled = graph.p2p(edit, **how, **more)
        latents = [sampled[0], sampled[1]]
        if kind is _with_maps:
            maps = graph.add("P2PAttentionMaps", maps=sampled[2], words="", prompt="source")
            graph.add("PreviewImage", images=maps[0])
    kept = tuple(graph.add("SaveLatent", samples=one, filename_prefix=name) for one in latents)
    decoded = graph.add("VAEDecode", samples=latents[-1], vae=graph.vae)
    picture = graph.add("SaveImage", images=decoded[0], filename_prefix=name)
    return Job(name, graph, kept, picture, is_noted=kind is _without_effect)


def _swap(graph: DemoGraph, source: str, edited: str) -> tuple[list, dict]:
    return graph.align(source, edited)[0], {}


def _refinement(graph: DemoGraph, source: str, _edited: str) -> tuple[list, dict]:
    edit = graph.align(source, source.replace("a cat", "a red cat") + " in the snow", "refine")[0]
    return graph.schedule(edit, cross=(0.0, 0.5), self_=(0.0, 0.5), ramp="cosine"), {}


def _reweighting(graph: DemoGraph, source: str, _edited: str) -> tuple[list, dict]:
    return graph.reweight(graph.align(source, "")[0], "cat", -2.0), {}


def _local_blend(graph: DemoGraph, source: str, edited: str) -> tuple[list, dict]:
    words = {"source_words": "cat", "edit_words": edited.split()[1], "threshold": 0.3, "start": 0.0}
    return graph.add("AttentionLocalBlend", edit=graph.align(source, edited)[0], **words)[0], {}


def _two_edits(graph: DemoGraph, source: str, edited: str) -> tuple[list, dict]:
    first = graph.align(source, edited)[0]
    return graph.align(source, source + " at night", more=first)[0], {}


def _shared(graph: DemoGraph, source: str, edited: str) -> tuple[list, dict]:
    return graph.align(source, edited, "sequence")[0], {"trajectory": "shared"}


def _with_maps(graph: DemoGraph, source: str, edited: str) -> tuple[list, dict]:
    return graph.align(source, edited)[0], {}


def _without_effect(graph: DemoGraph, source: str, edited: str) -> tuple[list, dict]:
    return graph.schedule(graph.align(source, edited)[0], cross=(0.0, 0.0), self_=(0.0, 0.0)), {}


KINDS = {
    "swap": _swap,
    "refinement": _refinement,
    "reweighting": _reweighting,
    "local_blend": _local_blend,
    "two_edits": _two_edits,
    "shared": _shared,
    "with_maps": _with_maps,
    "without_effect": _without_effect,
}
