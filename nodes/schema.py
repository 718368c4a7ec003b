"""What all nodes of the pack share: wire types, a menu category, and a schema that any host takes."""

from dataclasses import fields

from comfy_api.latest import io

CATEGORY = "prompt-to-prompt"

P2PEdit = io.Custom("P2P_EDIT")
P2PMaps = io.Custom("P2P_MAPS")
P2PRecording = io.Custom("P2P_RECORDING")

_SCHEMA_FIELDS = {field.name for field in fields(io.Schema)}


def schema(node_id: str, search_aliases: list[str], **settings) -> io.Schema:
    """io.Schema in the pack's category; search aliases only where ComfyUI knows them (not before 2026)."""
    if "search_aliases" in _SCHEMA_FIELDS:
        settings["search_aliases"] = ["prompt to prompt", "p2p", *search_aliases]
    return io.Schema(node_id=node_id, category=CATEGORY, **settings)
