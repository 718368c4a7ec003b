"""A node for servers under test: what is alive in ComfyUI's process. Nothing of the pack imports it."""

import gc
import sys
from collections import Counter

import torch

PACK = "prompt-to-prompt."  # what ComfyUI calls the pack's modules, behind the folder that they lie in
STATE_OF_A_RUN = ("Run", "AttentionPatch", "EditGuider", "MapRecorder", "StepEdit", "SharedNoise")


class Leftovers:
    """Counts, once `after` is there, and reports as its `leftovers`:

    of_a_run:        instances of what a run of an edit consists of, by class
    tensors, bytes:  tensors, and the memory that they hold
    model_patchers:  ComfyUI's models and their clones
    """

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "count"
    CATEGORY = "testing"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 - ComfyUI's
        return {"required": {"after": ("LATENT",)}}

    @classmethod
    def IS_CHANGED(cls, **_):  # noqa: N802
        return float("nan")

    def count(self, after):
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
        counted = {"pack_is_loaded": loaded, "of_a_run": dict(found), "model_patchers": patchers}
        return {"ui": {"leftovers": [{**counted, "tensors": tensors, "bytes": sum(storages.values())}]}}


NODE_CLASS_MAPPINGS = {"Leftovers": Leftovers}
