"""Workers on Ray: the same rows as in one process, also where a worker is killed, and on a cluster of two nodes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest
from bootstrap import CHECKOUT
from prompt_to_prompt.p2p_core.pairs import run as command
from prompt_to_prompt.p2p_core.pairs.shards import read_rows

pytest.importorskip("ray")
pytest.importorskip("ray.data")

PAIRS = ["--demo_pairs", "32", "--shard", "8", "--samples", "1", "--steps", "2", "--width", "64", "--height", "64"]
PAIRS += ["--format", "webdataset"]


def made(folder) -> list[dict]:
    return [row for file in sorted((folder / "data").glob("train-*")) for row in read_rows(file)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What one process makes without Ray."""
    folder = tmp_path_factory.mktemp("plain")
    assert command.main(["-o", str(folder), *PAIRS]) == 0
    return made(folder)


def start(folder, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    whole = [sys.executable, "-m", "p2p_core", "pairs", "-o", str(folder), *PAIRS, *arguments]
    return subprocess.Popen(whole, cwd=folder.parent, env=environment, stderr=subprocess.PIPE, text=True)  # noqa: S603


def actors(process: subprocess.Popen) -> list[psutil.Process]:
    """The workers that a run has started, once they are at work."""
    named = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            named += [child] if any("_Actor" in part for part in child.cmdline()) else []
        except psutil.Error:
            continue
    return named


def test_two_workers_make_the_rows_that_one_process_makes_although_both_are_killed(tmp_path, plain):
    """Once a shard is there, both workers die by SIGKILL in the midst of the next tasks, which are begun again."""
    folder = tmp_path / "two"
    process = start(folder, "--workers", "2")
    limit = time.monotonic() + 400
    while process.poll() is None and not list(folder.glob("data/train-*.tar")):
        assert time.monotonic() < limit
        time.sleep(0.05)
    killed = actors(process)
    for worker in killed:
        worker.kill()
    _, said = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert len(killed) == 2
    assert made(folder) == plain


def test_a_cluster_of_two_nodes_makes_them_with_two_workers_and_with_one(tmp_path, plain):
    """Two nodes on this machine, each with room for one worker. What a worker refuses is told in its own words."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        for workers in ("2", "1"):
            process = start(tmp_path / workers, "--workers", workers, "--address", cluster.address)
            _, said = process.communicate(timeout=400)
            assert process.returncode == 0, said
            assert made(tmp_path / workers) == plain
        process = start(tmp_path / "none", "--workers", "1", "--address", cluster.address, "--model", "nowhere")
        _, said = process.communicate(timeout=400)
        assert process.returncode == 1
        assert "prompt-to-prompt pairs: model: there is no file or folder nowhere." in said
    finally:
        cluster.shutdown()
