"""Which outputs of a node a workflow uses."""

from comfy_execution.utils import get_executing_context


def is_connected(prompt: dict | None, node_id: str | None, output: int) -> bool:
    """Whether any node of the workflow takes an output."""
    links = (value for node in (prompt or {}).values() for value in node.get("inputs", {}).values())
    return any(isinstance(link, list) and [str(link[0]), link[1]] == [str(node_id), output] for link in links)


def is_wanted_now(output: int) -> bool | None:
    """The same for the node whose fingerprint ComfyUI takes at the moment, which it doesn't tell the workflow.

    None where that can't be found out, as in a program that runs workflows without ComfyUI's queue.
    """
    # Only here: where nodes run without ComfyUI's server, importing it would be all that fails.
    from server import PromptServer

    context = get_executing_context()
    if context is None or getattr(PromptServer, "instance", None) is None:
        return None
    running, _ = PromptServer.instance.prompt_queue.get_current_queue()
    prompts = [prompt for _, prompt_id, prompt, *_ in running if prompt_id == context.prompt_id]
    return is_connected(prompts[0], context.node_id, output) if prompts else None
