"""Two hundred edits on one server, queued by several people at once: nothing of them stays, and none meets another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from support.comfy_server import Server
from support.graphs import DemoGraph, latent
from support.jobs import STEPS, Job, jobs
from tools.load import LEFTOVERS, Loaded, alone, in_lots, latents, slope

# A minute and a half on a core of its own.
pytestmark = pytest.mark.timeout(2400)
JOBS, CLIENTS, LOT = 200, 4, 10
WARM = 40  # after so many, every kind of edit has met every sampler
LATENT = 4 * 16 * 16 * 4  # bytes of a picture's latent here; a map of attention is larger
ARENA = 16 * 2**20  # what is resident comes and goes in pieces of this size, at one job and not at the next


def plain_run(server: Server) -> torch.Tensor:
    graph = DemoGraph()
    kept = graph.keep(graph.ksampler(graph.text("a fox sitting on a boat"), steps=4)[0])
    return latent(server, server.run(graph.nodes), kept)


def leaking(wanted: Iterator[Job]) -> list[Job]:
    """The same jobs, each of which leaves one latent behind."""
    changed = list(wanted)
    for job in changed:
        job.graph.add("Keep", after=job.graph.nodes[job.kept[-1]]["inputs"]["samples"])
    return changed


@dataclass
class Session:
    """A server's two hundred edits, an ordinary run before and after them; and some more edits, with a leak."""

    edits: Loaded
    latents: dict[str, list[torch.Tensor]]
    plain: list[torch.Tensor]
    with_leak: Loaded


@pytest.fixture(scope="module")
def session() -> Session:
    # Previews are drawn only where ComfyUI is told to.
    with Server("--preview-method", "auto", beside=[LEFTOVERS]) as server:
        plain = [plain_run(server)]
        edits = in_lots(server, list(jobs(JOBS)), CLIENTS, LOT)
        plain.append(plain_run(server))
        with_leak = in_lots(server, leaking(jobs(WARM)), CLIENTS, LOT // 2)
        return Session(edits, latents(edits.listeners), plain, with_leak)


def memory(session: Session, kind: str) -> list[int]:
    """After each lot of edits, the warm ones left out."""
    return [sizes[kind] for n, (_, sizes) in zip(session.edits.jobs, session.edits.looks) if n >= WARM]


def test_memory_does_not_grow_from_edit_to_edit(session):
    """Whatever asked for it: less than half a latent an edit, of what malloc has given out and not got back."""
    if memory(session, "allocated")[0] is None:
        pytest.skip("the C library doesn't say what it has given out")
    assert session.edits.growth("allocated", WARM) < LATENT / 2


def test_python_s_memory_does_not_grow_from_edit_to_edit(session):
    """Of its small pieces, of which each token of a prompt takes one at least, fewer than a prompt would."""
    assert session.edits.growth("blocks", WARM) < 77


def test_what_is_resident_stays_within_the_allocator_s_pieces(session):
    """Not from edit to edit: see ARENA. The least of the second half is compared with the least of the first."""
    resident = memory(session, "resident")
    half = len(resident) // 2
    assert min(resident[half:]) - min(resident[:half]) <= 2 * ARENA


def test_one_latent_an_edit_would_be_seen(session):
    """The leak is planted in the process that has shown none."""
    if memory(session, "allocated")[0] is None:
        pytest.skip("the C library doesn't say what it has given out")
    assert session.with_leak.growth("allocated") > 0.9 * LATENT


def test_steps_and_outliers_are_no_growth():
    flat = [(n, 1000.0) for n in range(10)]
    assert slope(flat) == 0
    assert slope([(n, y + (500 if n == 7 else 0)) for n, y in flat]) == 0
    assert slope([(n, y + 3 * n + (500 if n == 2 else 0)) for n, y in flat]) == pytest.approx(3, abs=0.1)


def test_nothing_of_a_run_is_alive_after_it(session):
    """No patch, no guider, no state; and of all tensors and models exactly what there was after the first edits."""
    first, *later = [alive for alive, _ in session.edits.looks]
    assert first["pack_is_loaded"]
    assert first["of_a_run"] == {}
    assert all(alive == first for alive in later)


def test_an_ordinary_run_is_unchanged_to_the_bit_after(session):
    before, after = session.plain
    assert torch.equal(after, before)


def test_a_client_hears_of_its_own_jobs_and_of_no_other(session):
    for listener in session.edits.listeners:
        assert listener.told.about() == set(listener.jobs)
        assert set(listener.told.previews) == set(listener.jobs)
        # A sentence on a node says nothing of its job, so they are counted.
        assert len(listener.told.notes) == sum(job.is_noted for job in listener.jobs.values())
        assert all(note.startswith("Nothing was edited") for note in listener.told.notes)
    assert any(listener.told.notes for listener in session.edits.listeners)
    assert not all(listener.told.notes for listener in session.edits.listeners)


def test_a_client_follows_each_of_its_jobs_to_the_end(session):
    for listener in session.edits.listeners:
        for prompt_id, job in listener.jobs.items():
            result = listener.result(prompt_id)
            sampler = next(n for n, node in job.graph.nodes.items() if node["class_type"] == "P2PSampler")
            assert sampler not in result.cached
            steps = [d["value"] for kind, d in result.messages if kind == "progress" and d["node"] == sampler]
            assert steps == sorted(steps), job.name
            assert steps[-1] == STEPS, job.name
            assert [kind for kind, _ in result.messages].count("execution_success") == 1


def test_a_client_gets_its_own_pictures(session):
    for listener in session.edits.listeners:
        for prompt_id, job in listener.jobs.items():
            files = listener.result(prompt_id).outputs[job.picture]["images"]
            assert files
            assert all(file["filename"].startswith(f"{job.name}_") for file in files)


def test_a_job_gives_the_same_alone_to_the_bit(session):
    """A sample, last ones first, on a server that has done nothing before."""
    with Server() as fresh:
        for job in list(jobs(JOBS))[::-19]:
            found = alone(fresh, job)
            assert all(map(torch.equal, found, session.latents[job.name])), job.name
