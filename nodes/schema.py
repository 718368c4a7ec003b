"""What all nodes of the pack share: wire types, a menu category, and a schema that any host takes."""

from dataclasses import fields

from comfy_api.latest import io

NEWER = ("search_aliases", "has_intermediate_output")
CATEGORY = "prompt-to-prompt"

P2PEdit = io.Custom("P2P_EDIT")
P2PMaps = io.Custom("P2P_MAPS")
P2PRecording = io.Custom("P2P_RECORDING")

_SCHEMA_FIELDS = {field.name for field in fields(io.Schema)}


def schema(node_id: str, search_aliases: list[str], advanced: tuple[str, ...] = (), **settings) -> io.Schema:
    """io.Schema in the pack's category; what ComfyUI doesn't know before 2026 is left out where it doesn't.

    Args:
        advanced: inputs that few people touch; Nodes 2.0 folds them away.
    """
    for given in settings["inputs"]:
        if given.id in advanced:
            given.extra_dict["advanced"] = True
    settings["search_aliases"] = ["prompt to prompt", "p2p", *search_aliases]
    known = {name: value for name, value in settings.items() if name in _SCHEMA_FIELDS or name not in NEWER}
    return io.Schema(node_id=node_id, category=CATEGORY, **known)
