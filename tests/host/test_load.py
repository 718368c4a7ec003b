"""Two hundred edits on one server, queued by several people at once: nothing of them stays, and none meets another."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from support.comfy_server import Server
from support.graphs import DemoGraph, latent
from tools.load import LEFTOVERS, STEPS, Load, alone, growth, jobs, leftovers, load

pytestmark = pytest.mark.timeout(1200)  # a minute and a half on a core of its own
JOBS, CLIENTS, WARM = 200, 4, 10
# MiB in all. ComfyUI's history grows by some 5 KB a job, with edits or without; this is room for eight times that.
# What a run leaves behind may be smaller still at this size, and is counted: see leftovers.
ALLOWED = 8


def plain_run(server: Server) -> torch.Tensor:
    graph = DemoGraph()
    kept = graph.keep(graph.ksampler(graph.text("a fox sitting on a boat"), steps=4)[0])
    return latent(server, server.run(graph.nodes), kept)


@dataclass
class Loaded:
    """A server's two hundred edits, the first ten and the rest, with what was there before and after."""

    parts: list[Load]
    latents: dict[str, list[torch.Tensor]]
    leftovers: list[dict]
    plain: list[torch.Tensor]

    @property
    def listeners(self):
        return [listener for part in self.parts for listener in part.listeners]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    wanted = list(jobs(JOBS))
    # Previews are drawn only where ComfyUI is told to.
    with Server("--preview-method", "auto", beside=[LEFTOVERS]) as server:
        plain, counted, parts = [plain_run(server)], [], []
        for part in (wanted[:WARM], wanted[WARM:]):
            parts.append(load(server, part, CLIENTS))
            counted.append(leftovers(server))
        plain.append(plain_run(server))
        latents = {name: found for part in parts for name, found in part.latents().items()}
    return Loaded(parts, latents, counted, plain)


def test_memory_does_not_grow_after_the_tenth(loaded):
    resident = [value for part in loaded.parts for value in part.resident]
    assert len(resident) == JOBS
    print({count: round(resident[count - 1]) for count in (1, 10, 50, 100, 200)}, "MiB")
    assert growth(resident, WARM) <= ALLOWED


def test_nothing_of_a_run_is_alive_after_it(loaded):
    """No patch, no guider, no state; and of all tensors and models exactly what there was after the tenth edit."""
    after_ten, after_all = loaded.leftovers
    assert after_all["pack_is_loaded"]
    assert after_all["of_a_run"] == {}
    assert after_all == after_ten


def test_an_ordinary_run_is_unchanged_to_the_bit_after(loaded):
    before, after = loaded.plain
    assert torch.equal(after, before)


def test_a_client_hears_of_its_own_jobs_and_of_no_other(loaded):
    for listener in loaded.listeners:
        assert listener.told.about() == set(listener.jobs)
        assert set(listener.told.previews) == set(listener.jobs)
        # A sentence on a node says nothing of its job, so they are counted.
        assert len(listener.told.notes) == sum(job.is_noted for job in listener.jobs.values())
        assert all(note.startswith("Nothing was edited") for note in listener.told.notes)
    assert any(listener.told.notes for listener in loaded.listeners)
    assert not all(listener.told.notes for listener in loaded.listeners)


def test_a_client_follows_each_of_its_jobs_to_the_end(loaded):
    for listener in loaded.listeners:
        for prompt_id, job in listener.jobs.items():
            result = listener.result(prompt_id)
            sampler = next(n for n, node in job.graph.nodes.items() if node["class_type"] == "P2PSampler")
            assert sampler not in result.cached
            steps = [d["value"] for kind, d in result.messages if kind == "progress" and d["node"] == sampler]
            assert steps == sorted(steps), job.name
            assert steps[-1] == STEPS, job.name
            assert [kind for kind, _ in result.messages].count("execution_success") == 1


def test_a_client_gets_its_own_pictures(loaded):
    for listener in loaded.listeners:
        for prompt_id, job in listener.jobs.items():
            files = listener.result(prompt_id).outputs[job.picture]["images"]
            assert files
            assert all(file["filename"].startswith(f"{job.name}_") for file in files)


def test_a_job_gives_the_same_alone_to_the_bit(loaded):
    """A sample, last ones first, on a server that has done nothing before."""
    with Server() as fresh:
        for job in list(jobs(JOBS))[::-19]:
            found = alone(fresh, job)
            assert all(map(torch.equal, found, loaded.latents[job.name])), job.name
