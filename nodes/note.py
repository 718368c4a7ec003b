"""A sentence on a node, where it ran without an error but not as one would expect."""


def show_note(note: str | None, node_id: str | None) -> None:
    """Show `note` on the canvas, below the node's widgets; does nothing where there is none."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if note and node_id and server is not None:
        server.send_progress_text(note, node_id)
