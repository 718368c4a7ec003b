"""A sentence on a node, where it ran without an error but not as one would expect."""

from collections.abc import Callable
from functools import partial


def teller(node) -> Callable[[str | None], None]:
    """What shows sentences on a running node, also while a later node samples with what it gave."""
    return partial(show_note, node_id=getattr(node.hidden, "unique_id", None))


def show_note(note: str | None, node_id: str | None) -> None:
    """Show `note` below the node's widgets, on the canvas that queued it; does nothing where there is none."""
    if not note or not node_id:
        return
    from server import PromptServer  # only here: where nodes run without ComfyUI's server, nothing is shown

    server = getattr(PromptServer, "instance", None)
    if getattr(server, "client_id", None) is not None:
        # Without a receiver it goes to everyone who is connected, and onto whichever node has this id there.
        server.send_progress_text(note, node_id, sid=server.client_id)
