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
from difflib import SequenceMatcher
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.append(str(Path(__file__).resolve().parents[2]))  # p2p_core; there is no ComfyUI in this process
from bootstrap import CHECKOUT

from support.comfy_client import Workflow, WorkflowError
from support.comfy_server import Server, ServerError

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


def sample(workflow: Workflow, seeds: list[int], source: str | None, edit: str | None) -> list[list[Image.Image]]:
    """A row of pictures a seed, one for each SaveImage."""
    samplers = sum("seed" in node["inputs"] for node in workflow.values())
    rows, began = [], time.monotonic()
    print("Starting ComfyUI ...", end=" ", flush=True)
    with Server() as server:
        print(f"{time.monotonic() - began:.0f} s", flush=True)
        bar = Bar(samplers, len(seeds))
        for seed in seeds:
            result = server.run(filled_in(workflow, seed, source, edit), progress=bar)
            bar.next_run()
            rows.append([result.images[node][0] for node in titles(workflow)])
    return rows


def titles(workflow: Workflow) -> dict[str, str]:
    """What each SaveImage shows, by its id."""
    return {node_id: node["_meta"]["title"] for node_id, node in workflow.items() if node["class_type"] == "SaveImage"}


def caption(title: str, before: str, after: str) -> list[tuple[str, bool]]:
    """A picture's title and prompt; the edit's words that are not in the source's place stand out."""
    words = before.split()
    if title == "source":
        return [(f"{title}:", False), *((word, False) for word in words)]
    changes = SequenceMatcher(None, words, after.split(), autojunk=False).get_opcodes()
    marked = [(word, change != "equal") for change, _, _, start, end in changes for word in after.split()[start:end]]
    return [(f"{title}:", False), *marked]


def sheet(rows: list[list[Image.Image]], seeds: list[int], workflow: Workflow, before: str, after: str) -> Image.Image:
    from p2p_core.show.sheets import Sheet  # torch with it, which the server needs no one to wait for

    columns = [caption(title, before, after) for title in titles(workflow).values()]
    return Sheet(rows, columns, [[(f"seed {seed}", False)] for seed in seeds]).draw()


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
    before, after = prompts(filled_in(workflow, 0, given.source, given.edit))
    sheet(rows, given.seed, workflow, before, after).save(given.out)
    print(f"The picture: {given.out.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
