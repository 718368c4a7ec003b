"""Many edits on one ComfyUI, from several clients at once: its memory, and who is told what.

    python3 tests/bootstrap.py python tests/tools/load.py [--jobs 200] [--clients 4] [--plain] [--alone 10]

Prints ComfyUI's memory while the jobs run. --plain: ordinary KSampler jobs in their place, for comparison.
--alone: so many of the jobs again on a ComfyUI that has done nothing before, which has to give the same to the bit.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import median

import torch
import websocket

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.comfy_client import PATIENCE, Result
from support.comfy_server import Server
from support.graphs import DemoGraph, latent
from support.jobs import STEPS, Job, jobs

LEFTOVERS = Path(__file__).resolve().parents[1] / "support" / "leftovers.py"
TEXT_MESSAGE, PREVIEW_WITH_METADATA = 3, 4  # ComfyUI's numbers of binary messages


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
    """

    def __init__(self, server: Server):
        self.server = server
        self.told = Told()
        self.jobs: dict[str, Job] = {}  # by prompt id
        self.failure: BaseException | None = None
        self._id = uuid.uuid4().hex
        address = server.url.replace("http", "ws", 1)
        self._socket = websocket.create_connection(f"{address}/ws?clientId={self._id}", timeout=PATIENCE)
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


def latents(listeners: list[Listener]) -> dict[str, list[torch.Tensor]]:
    """What their jobs made, by the jobs' names."""
    found = {}
    for listener in listeners:
        for prompt_id, job in listener.jobs.items():
            result = listener.result(prompt_id)
            found[job.name] = [latent(listener.server, result, node) for node in job.kept]
    return found


def load(server: Server, wanted: list[Job], clients: int) -> list[Listener]:
    """Queue all jobs at once, from each client in turn, and wait for their end."""
    listeners = [Listener(server) for _ in range(clients)]
    for i, job in enumerate(wanted):
        listeners[i % clients].queue(job)
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    return listeners


@dataclass(frozen=True)
class Loaded:
    """What came of many jobs, queued in lots.

    listeners: the clients of all lots, with what each was told
    jobs:      how many had been made at each look
    looks:     what was alive, and the memory (see support/leftovers.py), after each lot
    """

    listeners: list[Listener]
    jobs: list[int]
    looks: list[tuple[dict, dict]]

    def growth(self, kind: str, after: int = 0) -> float:
        """By how much a job makes a `kind` of memory more, once `after` jobs have been made."""
        points = [(n, memory[kind]) for n, (_, memory) in zip(self.jobs, self.looks) if n >= after]
        return slope(points)


def in_lots(server: Server, wanted: list[Job], clients: int, lot: int) -> Loaded:
    """All jobs, `lot` at a time, with a look at what is left after each lot. Prints a line a lot."""
    loaded = Loaded([], [], [])
    for start in range(0, len(wanted), lot):
        loaded.listeners.extend(load(server, wanted[start : start + lot], clients))
        loaded.jobs.append(min(start + lot, len(wanted)))
        loaded.looks.append(leftovers(server))
        print(f"    {loaded.jobs[-1]:4d} jobs   {_said(loaded.looks[-1][1])}", flush=True)
    return loaded


def _said(memory: dict) -> str:
    """In a line."""
    allocated, resident = ((memory[kind] or 0) / 2**20 for kind in ("allocated", "resident"))
    return f"allocated {allocated:8.2f} MiB   Python's blocks {memory['blocks']:8d}   resident {resident:7.1f} MiB"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line through points (Theil and Sen): the median slope of all pairs, which steps and outliers leave be."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))


def alone(server: Server, job: Job) -> list[torch.Tensor]:
    """A job's latents where nothing else is queued."""
    result = server.run(job.graph.nodes)
    return [latent(server, result, node) for node in job.kept]


def leftovers(server: Server) -> tuple[dict, dict]:
    """What is alive and the memory after an edit, always the same one, and without ComfyUI's history of jobs, which
    grows by some 5 KB a job. For a server with `LEFTOVERS` among its custom nodes."""
    graph = DemoGraph()
    sampled = graph.p2p(graph.align()[0], steps=STEPS)
    counted = graph.add("Leftovers", after=sampled[1])
    server.post("/history", {"clear": True})
    found = server.run(graph.nodes).outputs[counted]
    return found["alive"][0], found["memory"][0]


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
        loaded = in_lots(server, wanted, chosen.clients, lot=10)
        made = latents(loaded.listeners)
    print(f"{len(wanted)} jobs in {time.monotonic() - began:.0f} s")
    if len(loaded.looks) > 4:
        for kind in [kind for kind, size in loaded.looks[0][1].items() if size is not None]:
            print(f"    {kind}: {loaded.growth(kind, after=20):+.0f} a job, from the 20th on")
    for jobs_made, (alive, _) in zip(loaded.jobs, loaded.looks):
        if jobs_made in (loaded.jobs[0], loaded.jobs[-1]):
            print(f"    alive after {jobs_made}: {alive}")
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
