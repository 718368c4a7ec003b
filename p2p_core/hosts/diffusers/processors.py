"""A run of a pipeline on its network: attention processors and forward hooks, gone when the context is left."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ...errors import EditError
from .network import Network
from .run import PipelineRun
from .transformer import JointProcessor
from .unet import EditProcessor


@contextmanager
def edited_network(network: Network, run: PipelineRun) -> Iterator[PipelineRun]:
    """While active, the network's calls are the run's.

    Raises:
        EditError: another context is active on it, or the pipeline is called with other prompts, or not at all.
    """
    with ExitStack() as undo:
        for layer, attention in network.layers:
            if isinstance(attention.processor, (EditProcessor, JointProcessor)):
                raise EditError(
                    "pipe",
                    "another prompt_to_prompt context is editing it already.",
                    "Join the edits into one: align takes several prompts.",
                )
            undo.callback(attention.set_processor, attention.processor)
            attention.set_processor(network.processor(run, layer, attention.processor))
        undo.callback(network.module.register_forward_pre_hook(run.before_network, with_kwargs=True).remove)
        undo.callback(network.module.register_forward_hook(run.after_network, always_call=True).remove)
        undo.enter_context(run.noise)
        yield run
    if run.engine is None:
        raise EditError("pipe", "it was not called within prompt_to_prompt or record.", "Call pipe(run.prompts, ...).")
    run.check_called()
    if note := run.note():
        logging.getLogger(__name__).warning(note)
