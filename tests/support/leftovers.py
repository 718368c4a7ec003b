"""Nodes for servers under test: what is left in ComfyUI's process. Nothing of the pack imports them."""

import ctypes
import gc
import sys
from collections import Counter

import psutil
import torch

PACK = "prompt-to-prompt."  # what ComfyUI calls the pack's modules, behind the folder that they lie in
STATE_OF_A_RUN = (
    "Run",
    "AttentionPatch",
    "EditGuider",
    "RecordingGuider",
    "RecordedGuider",
    "Session",
    "Keeper",
    "Replay",
    "MapRecorder",
    "StepEdit",
    "SharedNoise",
)


class OutputNode:
    """What ComfyUI wants of a node that is run for its own sake, and each time."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "execute"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's
        return {"required": {"after": ("LATENT",)}}

    @classmethod
    def IS_CHANGED(cls, **_):  # noqa: N802
        return float("nan")


class Leftovers(OutputNode):
    """Counts, once `after` is there, and reports as its `alive`:

    of_a_run:        instances of what a run of an edit consists of, by class
    tensors, bytes:  tensors, and the memory that they hold
    model_patchers:  ComfyUI's models and their clones

    and as its `memory`:

    allocated:       bytes that malloc has given out and nobody has freed, tensors among them; None where it can't be
                     asked
    blocks:          small pieces that Python's own allocator has given out
    resident:        bytes that the process occupies, with what malloc keeps for later given back before
    """

    def execute(self, after):
        gc.collect()
        found, storages, tensors = Counter(), {}, 0
        for thing in gc.get_objects():
            kind = type(thing)
            if kind.__name__ in STATE_OF_A_RUN and PACK in kind.__module__:
                found[kind.__name__] += 1
            elif kind.__name__ == "ModelPatcher":
                found["model_patchers"] += 1
            elif issubclass(kind, torch.Tensor):
                tensors += 1
                storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
        loaded = any(PACK in name for name in sys.modules)
        patchers = found.pop("model_patchers", 0)
        alive = {"pack_is_loaded": loaded, "of_a_run": dict(found), "model_patchers": patchers}
        alive |= {"tensors": tensors, "bytes": sum(storages.values())}
        del storages, thing
        memory = {"allocated": allocated(), "blocks": sys.getallocatedblocks(), "resident": resident()}
        return {"ui": {"alive": [alive], "memory": [memory]}}


class Keep(OutputNode):
    """A leak, to see whether it is seen: keeps the numbers of one latent, where no count of tensors finds them."""

    kept: list[bytes] = []  # noqa: RUF012 - it is to outlive the node

    def execute(self, after):
        self.kept.append(after["samples"][:1].numpy().tobytes())
        return {}


class _Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES.split()]


def allocated() -> int | None:
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None) if sys.platform == "linux" else None
    if mallinfo is None:
        return None
    mallinfo.restype = _Mallinfo
    now = mallinfo()
    return now.uordblks + now.hblkhd  # small pieces of all arenas, and those that have a mapping of their own


def resident() -> int:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    return psutil.Process().memory_info().rss


NODE_CLASS_MAPPINGS = {"Leftovers": Leftovers, "Keep": Keep}
