"""The word swap, made by a real ComfyUI: one labelled picture of source, edit, and edit without prompt-to-prompt.

python3 tests/bootstrap.py demo [--seed 1 2 3] [--source "a cat ..."] [--edit "a dog ..."] [--out demo.png]
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bootstrap import CHECKOUT

from support.comfy_client import Workflow, WorkflowError
from support.comfy_server import Server, ServerError
from tools.contact_sheet import Panel, contact_sheet

WORKFLOW = CHECKOUT / "example_workflows" / "api" / "word_swap.json"


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, nargs="+", default=[9], help="one row of the picture each")
    parser.add_argument("--source", help="another source prompt")
    parser.add_argument("--edit", help="another edit prompt")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "demo.png", help="where the picture goes")
    return parser.parse_args(arguments)


def filled_in(workflow: Workflow, seed: int, source: str | None, edit: str | None) -> Workflow:
    """A copy of `workflow` with this seed in every sampler, and other prompts if any are given."""
    workflow = copy.deepcopy(workflow)
    wanted = {"seed": seed, "source_prompt": source, "edit_prompt": edit}
    for node in workflow.values():
        node["inputs"].update({k: v for k, v in wanted.items() if k in node["inputs"] and v is not None})
    return workflow


def prompts(workflow: Workflow) -> tuple[str, str]:
    """Source and edit, with the edit's empty prompt read as the node reads it."""
    inputs = next(node["inputs"] for node in workflow.values() if node["class_type"] == "PromptPairAlign")
    return inputs["source_prompt"], inputs["edit_prompt"] or inputs["source_prompt"]


class Bar:
    """A progress bar over all samplers of all runs; without a terminal, one line per run."""

    def __init__(self, samplers: int, runs: int):
        self.samplers, self.runs, self.run = samplers, runs, 0
        self.started: list[str] = []  # this run's samplers, in the order in which ComfyUI takes them
        self.began, self.live = time.monotonic(), sys.stdout.isatty()

    def __call__(self, node: str, value: float, maximum: float) -> None:
        if node not in self.started:
            self.started.append(node)
        self.draw(self.run + (len(self.started) - 1 + value / maximum) / self.samplers)

    def next_run(self) -> None:
        self.run += 1
        self.started.clear()
        self.draw(self.run)
        if not self.live:
            print(f"  sampled {self.run} of {self.runs}, {self.elapsed:.0f} s", flush=True)
        elif self.run == self.runs:
            print()

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    def draw(self, done: float) -> None:
        """`done` counts runs, with fractions."""
        if self.live:
            width = max(10, min(40, shutil.get_terminal_size().columns - 40))
            full = round(width * done / self.runs)
            print(f"\r  sampling [{'=' * full}{' ' * (width - full)}] {self.elapsed:3.0f} s", end="", flush=True)


def sample(workflow: Workflow, seeds: list[int], source: str | None, edit: str | None) -> list[list[Panel]]:
    """A row of panels a seed: one for each SaveImage, with the node's title as its label."""
    before, after = prompts(filled_in(workflow, 0, source, edit))
    samplers = sum("seed" in node["inputs"] for node in workflow.values())
    saves = {node_id: node["_meta"]["title"] for node_id, node in workflow.items() if node["class_type"] == "SaveImage"}
    rows, began = [], time.monotonic()
    print("Starting ComfyUI ...", end=" ", flush=True)
    with Server() as server:
        print(f"{time.monotonic() - began:.0f} s", flush=True)
        bar = Bar(samplers, len(seeds))
        for seed in seeds:
            result = server.run(filled_in(workflow, seed, source, edit), progress=bar)
            bar.next_run()
            captions = {title: before if title == "source" else after for title in saves.values()}
            rows.append([Panel(result.images[i][0], title, captions[title], before) for i, title in saves.items()])
    return rows


def main(arguments: list[str]) -> int:
    given = options(arguments)
    workflow = json.loads(WORKFLOW.read_text())
    try:
        rows = sample(workflow, given.seed, given.source, given.edit)
    except (WorkflowError, ServerError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    contact_sheet(rows, [f"seed {seed}" for seed in given.seed]).save(given.out)
    print(f"The picture: {given.out.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
