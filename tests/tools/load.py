"""Many edits on one ComfyUI, from several clients at once: its memory, and who is told what.

    python3 tests/bootstrap.py python tests/tools/load.py [--jobs 200] [--clients 4] [--plain] [--alone 10]

Prints ComfyUI's resident memory while the jobs run. --plain: ordinary KSampler jobs in their place, for comparison.
--alone: so many of the jobs again on a ComfyUI that has done nothing before, which has to give the same to the bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch
import websocket

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.comfy_client import Result
from support.comfy_server import Server
from support.graphs import DemoGraph, Node, latent

LEFTOVERS = Path(__file__).resolve().parents[1] / "support" / "leftovers.py"
ANIMALS = ("dog", "fox", "lion", "owl", "panda", "rabbit", "penguin", "bear", "cow")
PLACES = ("car", "boat", "box", "chair", "cake", "bus", "bicycle", "pumpkin")
SAMPLERS = ("euler", "dpmpp_2m", "euler_ancestral", "dpmpp_sde", "heun", "lcm")
STEPS = 2
TEXT_MESSAGE, PREVIEW_WITH_METADATA = 3, 4  # ComfyUI's numbers of binary messages


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


@dataclass
class Told:
    """Everything that one client was told, of whichever job.

    messages: (type, data) in order
    previews: the job, by its prompt id, of every preview picture
    notes:    sentences on nodes
    """

    messages: list[tuple[str, dict]] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def about(self) -> set[str]:
        """The prompt ids of all jobs that it was told of."""
        return {data["prompt_id"] for _, data in self.messages if data.get("prompt_id")} | set(self.previews)


class Listener:
    """A client with a websocket of its own, which queues jobs and writes down all that it hears until they are done.

    server: where
    ended:  called at the end of each of its jobs
    """

    def __init__(self, server: Server, ended: Callable[[], None]):
        self.server = server
        self.ended = ended
        self.told = Told()
        self.jobs: dict[str, Job] = {}  # by prompt id
        self.failure: BaseException | None = None
        self._id = uuid.uuid4().hex
        address = server.url.replace("http", "ws", 1)
        self._socket = websocket.create_connection(f"{address}/ws?clientId={self._id}", timeout=60)
        # Previews that say which job they are of, as ComfyUI's own front end asks for them.
        self._socket.send(json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}}))
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def queue(self, job: Job) -> None:
        self.jobs[self.server.queue(job.graph.nodes, self._id)] = job

    def start(self) -> None:
        """After the last `queue`."""
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        if self.failure:
            raise self.failure

    def result(self, prompt_id: str) -> Result:
        """What became of a job, from what this client was told."""
        mine = [(kind, data) for kind, data in self.told.messages if data.get("prompt_id") == prompt_id]
        outputs = {data["node"]: data["output"] for kind, data in mine if kind == "executed" and data["output"]}
        return Result(prompt_id, outputs, messages=mine)

    def _listen(self) -> None:
        open_jobs = set(self.jobs)
        try:
            while open_jobs:
                message = self._socket.recv()
                if isinstance(message, bytes):
                    self._hear(message)
                    continue
                parsed = json.loads(message)
                self.told.messages.append((parsed["type"], parsed["data"]))
                if parsed["type"] == "executing" and parsed["data"]["node"] is None:
                    open_jobs.remove(parsed["data"]["prompt_id"])
                    self.ended()
        except BaseException as error:  # raised where the thread is waited for
            self.failure = error
        finally:
            self._socket.close()

    def _hear(self, message: bytes) -> None:
        kind, length = (int.from_bytes(message[at : at + 4], "big") for at in (0, 4))
        if kind == PREVIEW_WITH_METADATA:
            self.told.previews.append(json.loads(message[8 : 8 + length])["prompt_id"])
        elif kind == TEXT_MESSAGE:
            self.told.notes.append(message[8 + length :].decode())


@dataclass(frozen=True)
class Load:
    """What came of many jobs.

    listeners: the clients, with what each was told
    resident:  ComfyUI's resident memory at the end of each job, in MiB
    """

    listeners: list[Listener]
    resident: list[float]

    def latents(self) -> dict[str, list[torch.Tensor]]:
        """By the jobs' names."""
        found = {}
        for listener in self.listeners:
            for prompt_id, job in listener.jobs.items():
                result = listener.result(prompt_id)
                found[job.name] = [latent(listener.server, result, node) for node in job.kept]
        return found


def load(server: Server, wanted: list[Job], clients: int) -> Load:
    """Queue all jobs at once, from each client in turn, and wait for their end."""
    process, resident = psutil.Process(server.process.pid), []

    def ended() -> None:
        resident.append(process.memory_info().rss / 2**20)
        if len(resident) % 10 == 0:
            print(f"    {len(resident):4d} jobs  {resident[-1]:7.1f} MiB", flush=True)

    listeners = [Listener(server, ended) for _ in range(clients)]
    for i, job in enumerate(wanted):
        listeners[i % clients].queue(job)
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    return Load(listeners, resident)


def alone(server: Server, job: Job) -> list[torch.Tensor]:
    """A job's latents where nothing else is queued."""
    result = server.run(job.graph.nodes)
    return [latent(server, result, node) for node in job.kept]


def leftovers(server: Server) -> dict:
    """What is alive after an edit, always the same one. For a server with `LEFTOVERS` among its custom nodes."""
    graph = DemoGraph()
    sampled = graph.p2p(graph.align()[0], steps=STEPS)
    counted = graph.add("Leftovers", after=sampled[1])
    (found,) = server.run(graph.nodes).outputs[counted]["leftovers"]
    return found


def growth(resident: list[float], after: int = 10, window: int = 20) -> float:
    """MiB by which the most that the last jobs of `resident` needed is above the most of those that follow job `after`.

    Not of single jobs: the allocator gives memory back in steps of 16 to 32 MiB, at one job and not at the next.
    """
    return max(resident[-window:]) - max(resident[after : after + window])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="load", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--plain", action="store_true", help="ordinary KSampler jobs")
    parser.add_argument("--alone", type=int, default=10, help="how many are checked against a run of their own")
    chosen = parser.parse_args(arguments)
    wanted = list(jobs(chosen.jobs, chosen.plain))
    with Server("--preview-method", "auto", beside=[LEFTOVERS]) as server:
        began = time.monotonic()
        first = leftovers(server)
        warm = load(server, wanted[:10], chosen.clients)
        before = leftovers(server)
        rest = load(server, wanted[10:], chosen.clients)
        after = leftovers(server)
        made = {**warm.latents(), **rest.latents()}
        history = len(server.get("/history", raw=True))
    resident = warm.resident + rest.resident
    print(f"{len(resident)} jobs in {time.monotonic() - began:.0f} s")
    for count in (1, 10, 20, 50, 100, 150, 200):
        if count <= len(resident):
            print(f"    after {count:4d}  {resident[count - 1]:7.1f} MiB")
    print(f"    the most of the last 20 jobs against the most of jobs 11 to 30: {growth(resident):+.2f} MiB")
    print(f"    ComfyUI's history, as JSON: {history / 2**20:.2f} MiB")
    for label, found in (("after 0", first), ("after 10", before), (f"after {len(resident)}", after)):
        print(f"    alive {label}: {found}")
    different = []
    if chosen.alone:
        with Server("--preview-method", "auto") as server:
            for job in wanted[:: -max(1, len(wanted) // chosen.alone)]:
                if not all(map(torch.equal, alone(server, job), made[job.name])):
                    different.append(job.name)
    print(f"{len(different)} of the jobs run alone gave something else {different}")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
