"""Workers on Ray: the same rows as in one process, from one that is killed, and from two on a cluster of two nodes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest
from bootstrap import CHECKOUT
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.pairs import run as command
from prompt_to_prompt.p2p_core.pairs.cluster import _Actor
from prompt_to_prompt.p2p_core.pairs.drawing import Settings
from prompt_to_prompt.p2p_core.pairs.shards import read_rows
from prompt_to_prompt.p2p_core.pairs.task import Order

pytest.importorskip("ray")
pytest.importorskip("ray.data")

PAIRS = ["--demo_pairs", "24", "--shard", "8", "--samples", "1", "--steps", "2", "--width", "64", "--height", "64"]
PAIRS += ["--format", "webdataset"]


def made(folder) -> list[dict]:
    return [row for file in sorted((folder / "data").glob("train-*")) for row in read_rows(file)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What one process makes without Ray."""
    folder = tmp_path_factory.mktemp("plain")
    assert command.main(["-o", str(folder), *PAIRS]) == 0
    return made(folder)


@pytest.fixture
def start():
    """Starts the command, and ends it with the test."""
    started = []

    def run(folder, *arguments: str) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        whole = [sys.executable, "-m", "p2p_core", "pairs", "-o", str(folder), *PAIRS, *arguments]
        process = subprocess.Popen(whole, cwd=folder.parent, env=environment, stderr=subprocess.PIPE, text=True)  # noqa: S603
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.terminate()


def actors(process: subprocess.Popen) -> list[psutil.Process]:
    """The workers that a run has started, once they are at work."""
    named = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            named += [child] if any("_Actor" in part for part in child.cmdline()) else []
        except psutil.Error:
            continue
    return named


def test_a_worker_makes_the_rows_that_one_process_makes_although_it_is_killed(tmp_path, plain, start):
    """Once a shard is there, the worker dies by SIGKILL in the midst of the next task, which is begun again."""
    folder = tmp_path / "one"
    process = start(folder, "--workers", "1")
    while process.poll() is None and not list(folder.glob("data/train-*.tar")):
        time.sleep(0.05)
    killed = actors(process)
    for worker in killed:
        worker.kill()
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert len(killed) == 1
    assert made(folder) == plain


def test_two_workers_on_a_cluster_of_two_nodes_make_them_too(tmp_path, plain, start):
    """Two nodes on this machine, each with room for one worker."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        process = start(tmp_path / "two", "--workers", "2", "--address", cluster.address)
        _, said = process.communicate()
    finally:
        cluster.shutdown()
    assert process.returncode == 0, said
    assert made(tmp_path / "two") == plain


def test_what_a_worker_refuses_comes_back_in_its_own_words():
    refused = _Actor(Order(Settings(model="nowhere")))({"task": None})["refused"]
    assert str(EditError(*refused)) == "model: there is no file or folder nowhere."
