"""A sentence on a node, where it ran without an error but not as one would expect."""

from collections.abc import Callable
from functools import partial


def teller(node_id: str | None) -> Callable[[str], None]:
    """What shows sentences on a node, also while a later node samples with what it gave."""
    return partial(show_note, node_id=node_id)


def show_note(note: str | None, node_id: str | None) -> None:
    """Show `note` below the node's widgets, on the canvas that queued it; does nothing where there is none."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if note and node_id and getattr(server, "client_id", None) is not None:
        # Without a receiver it goes to everyone who is connected, and onto whichever node has this id there.
        server.send_progress_text(note, node_id, sid=server.client_id)
