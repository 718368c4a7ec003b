"""Tasks on Ray Data: workers that hold the model, on this machine or on a cluster.

Ray streams tasks to its actors and rows back, holds tasks back while rows are not taken, and gives the task of an actor
that died to another one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import EditError
from .plan import Task
from .task import Done, Order, Worker

_ROOT = Path(__file__).parents[2]
_MOST_BLOCKS = 10_000


def on_ray(order: Order, tasks: Iterable[Task], workers: int, address: str = "", gpus: float = 0.0) -> Iterator[Done]:
    """Each task's outcome, in whatever order they are done.

    Args:
        workers: actors; each has a model of its own.
        address: of a Ray cluster; empty starts Ray on this machine.
        gpus: of a GPU for each worker; 0.5 puts two on one.

    Raises:
        EditError: Ray is missing or cannot be reached; whatever a worker raises.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise EditError(
            "workers", "they need Ray, which is missing.", "Run pip install 'ray[data]', or leave --workers out."
        ) from error
    waiting = [{"task": task} for task in tasks]
    if not waiting:
        return
    _connect(ray, workers * order.settings.threads, address)
    try:
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        blocks = min(len(waiting), _MOST_BLOCKS)  # a block is what an actor is handed, and what is done again
        found = ray.data.from_items(waiting, override_num_blocks=blocks).map(
            _Actor,
            fn_constructor_args=(order,),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=order.settings.threads,
            num_gpus=gpus or None,
        )
        for row in found.iter_rows():
            if row["refused"]:
                raise EditError(*row["refused"])
            yield row["done"]
    finally:
        ray.shutdown()


class _Actor:
    """A worker as Ray's actor. What it refuses comes back as a row, since Ray would wrap it in its own words."""

    def __init__(self, order: Order):
        self.order = order
        self.worker: Worker | None = None

    def __call__(self, row: dict) -> dict:
        try:
            self.worker = self.worker or Worker(self.order)
            return {"done": self.worker(row["task"]), "refused": None}
        except EditError as error:
            return {"done": None, "refused": [error.input, error.problem, error.remedy]}


def _connect(ray, cpus: int, address: str) -> None:
    """Start Ray here with as many processors as the workers use, or join a cluster, which is sent this package.

    Ray says little meanwhile: the progress bar is ours.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address:
            ray.init(address=address, runtime_env={"py_modules": [str(_ROOT / "p2p_core")]}, **quiet)
        else:
            paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
            here = {"num_cpus": cpus, "include_dashboard": False}
            ray.init(runtime_env={"env_vars": {"PYTHONPATH": paths}}, **here, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise EditError("address", f"no Ray answers at {address or 'this machine'} ({error}).") from error
