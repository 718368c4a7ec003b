"""Which outputs of a node a workflow uses."""

from comfy_execution.progress import get_progress_state
from comfy_execution.utils import get_executing_context


def is_connected(workflow, node_id: str | None, output: int) -> bool:
    """Whether any node takes an output.

    A node that another one put into the workflow, as in a loop, may have its outputs handed on in that one's name,
    which is written nowhere: they count as taken where any of that one's are.

    Args:
        workflow: ComfyUI's DynamicPrompt: the workflow that was queued, and what nodes have put into it.
    """
    if workflow is None:
        return False
    nodes = [workflow.get_node(other) for other in workflow.all_node_ids()]
    values = [value for node in nodes for value in node.get("inputs", {}).values()]
    links = [(str(value[0]), value[1]) for value in values if isinstance(value, list) and len(value) == 2]
    if (str(node_id), output) in links:
        return True
    parents = set()
    while (node_id := workflow.get_parent_node_id(node_id)) is not None:
        parents.add(str(node_id))
    return any(node in parents for node, _ in links)


def is_wanted_now(output: int) -> bool | None:
    """The same for the node whose fingerprint ComfyUI takes at the moment, which it doesn't tell the workflow.

    None where that can't be found out, as in a program that runs workflows without ComfyUI's queue.
    """
    context, state = get_executing_context(), get_progress_state()
    if context is None or state.prompt_id != context.prompt_id:
        return None
    return is_connected(state.dynprompt, context.node_id, output)
