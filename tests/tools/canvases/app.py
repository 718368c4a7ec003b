"""An edit without the graph: two prompts and a seed, two pictures."""

from __future__ import annotations

from tools.workflow_builder import Canvas

from .demo import Demo


def edit_app(canvas: Canvas) -> None:
    demo = Demo(canvas)
    edit = demo.align("a cat sitting on a car", "a dog sitting on a car")
    sampled = demo.sample(edit["edit"], 2, seed=9)
    shown = [
        demo.save(demo.decode(sampled[name], 3, f"decode the {title}"), 4, title)
        for name, title in (("source", "source"), ("edited", "edit"))
    ]
    inputs = [[edit.id, "source_prompt"], [edit.id, "edit_prompt"], [sampled.id, "seed"]]
    canvas.extra |= {"linearMode": True, "linearData": {"inputs": inputs, "outputs": [save.id for save in shown]}}
    canvas.note("""
### An app: two prompts, a seed, two pictures

Front ends from 1.41.13 on open this as an app, where the graph is out of sight; older ones show the graph.

- **Back to the graph:** choose *Graph* at the top left.
- **Your own model:** a checkpoint loader in place of *P2PDemoModel*, the latent at that model's size.
- **Another input in the app:** *Build an app* in the app's toolbar, and click it.
""")
