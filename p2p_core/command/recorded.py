"""--record and --from: a source in a file, with what it was sampled with."""

from __future__ import annotations

import argparse

from ..errors import EditError

_KINDS = {
    "seed": int,
    "steps": int,
    "cfg": float,
    "sampler_name": str,
    "scheduler": str,
    "negative": str,
    "width": int,
    "height": int,
}
"""The options that belong to a source: edits have those of the recording."""


def check_recorded(options: argparse.Namespace) -> None:
    """Raise EditError where options can't be combined with --record or --from."""
    if options.record is None and options.recorded is None:
        return
    name = "record" if options.record is not None else "from"
    if options.record is not None and options.recorded is not None:
        raise EditError("record", "it can't be combined with --from.", "Record a source first, then edit it.")
    if options.image is not None:
        raise EditError("image", f"it can't be combined with --{name} so far.", "Leave one of them out.")
    if options.record is not None and options.edit_prompt:
        raise EditError("edit_prompt", "--record samples the source alone.", "Give the edit's prompt with --from.")
    for other in ("source", "maps"):
        if getattr(options, other) is not None:
            makes = "--record makes the source" if options.record is not None else "--from makes the edit"
            raise EditError(other, f"{makes} alone, and its picture goes to --output.", "Leave it out.")


def record_source(pipe, options: argparse.Namespace):
    """Sample the source, write its recording, and give back its picture."""
    from ..hosts.diffusers.recording import record
    from .sampling import sampled

    layers = {"self_layers": options.self_layers}
    with record(pipe, options.source_prompt, **layers) as recorder:
        [picture] = sampled(pipe, recorder.prompts, options, width=options.width, height=options.height)
    recorder.recording.save(options.record, {name: getattr(options, name) for name in _KINDS})
    return picture


def recorded_for(options: argparse.Namespace):
    """The recording of --from; the options that belong to its source become what they were.

    Raises:
        EditError: the file is none of --record's, or an option was given another value.
    """
    from ..hosts.diffusers.recording import PipelineRecording

    recording, told = PipelineRecording.load(options.recorded)
    for name, kind in _KINDS.items():
        if type(told.get(name)) is not kind:
            raise EditError("from", f"{options.recorded} does not say its {name}.", "Use a file made by --record.")
        given = getattr(options, name)
        if given is not None and given != told[name]:
            raise EditError(
                name,
                f"the source was recorded with {told[name]}, not with {given}.",
                "Leave it out, or record the source again.",
            )
        setattr(options, name, told[name])
    return recording
