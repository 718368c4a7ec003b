"""A recording in the source's place in a run, and what it has to hold for that."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .attention import Call
from .errors import EditError
from .layers import Layer
from .picture import RealPicture
from .recording import Attention, Key, Recording, Round
from .rows import Evaluation
from .run import Run
from .tokens import Prompt


class Replay:
    """A recording as the source of one run; see Recorded.

    Args:
        source: the edit's source prompt, as long as the run has it: where it has hidden positions, the recorded one had
            none.
    """

    def __init__(self, recording: Recording, source: Prompt):
        self.recording = recording
        self._hidden = source.positions("none")
        self._number = -1
        self._taken: dict[tuple[int, Layer], int] = {}
        self._attention: Mapping[Key, Attention] = {}

    @property
    def begun(self) -> int:
        """How many rounds were."""
        return self._number + 1

    @property
    def round(self) -> Round:
        """The one that is being made."""
        return self.recording.rounds[self._number]

    def begin(self, sigma: float) -> None:
        """The next round.

        Raises:
            EditError: it was not recorded at this noise level.
        """
        self._number += 1
        rounds = self.recording.rounds
        there = rounds[self._number].sigma if self._number < len(rounds) else None
        if there is None or abs(there - sigma) > 1e-4 * sigma:
            asked = f"the sampler asks the model at noise level {sigma:.4g} in round {self._number + 1}"
            was = f"it has {len(rounds)} rounds" if there is None else f"the source was recorded at {there:.4g}"
            raise EditError("recording", f"{asked}, but {was}.", "Record the source again.")
        self.follow(self.round.attention)

    def follow(self, attention: Mapping[Key, Attention]) -> None:
        """Take the round's attention from here, where the recording has none."""
        self._taken, self._attention = {}, attention

    def source(self, call: Call, evaluation: Evaluation) -> Attention:
        """What the source's attention was in the same layer and evaluation, on the call's device.

        Raises:
            EditError: it was not kept, or the picture was of another size.
        """
        name = evaluation.number, call.layer
        before = self._taken.get(name, 0)
        self._taken[name] = before + 1
        kept = self._attention.get((*name, before))
        if kept is None and before:
            raise EditError(
                "recording",
                "another node evaluates the prompts again in each round, as PAG and SEG do, and of that the recording "
                "has nothing.",
                "Record the source with keep 'attention', and with that node on the model.",
            )
        if kept is None:
            raise EditError(
                "recording",
                f"it has nothing of the {call.layer.kind}-attention of block {call.layer.name} in round "
                f"{self._number + 1}.",
                "Record the source again, with the same nodes before and after.",
            )
        positions = call.of_image.q.shape[1]
        if kept.queries.shape[1] != positions:
            raise EditError(
                "recording",
                f"block {call.layer.name} had {kept.queries.shape[1]} positions in it, and has {positions} now: the "
                "picture has another size, or a node resizes it inside the model.",
                "Record the source again.",
            )
        return self._as_long_as(call, kept.on(call.q.device, call.q.dtype))

    def _as_long_as(self, call: Call, kept: Attention) -> Attention:
        """Prompts are tiled, or filled up, to the longest of those that are sampled together."""
        more = call.k.shape[1] - kept.keys.shape[1]
        if not more:
            return kept
        if more == len(self._hidden):
            return kept.filled_up([call.text_keys.start + place for place in self._hidden])
        if call.layer.attends_to == ("text",):
            return kept.tiled(call.k.shape[1])
        raise EditError(
            "recording",
            f"block {call.layer.name} had {kept.keys.shape[1]} keys in it, and has {call.k.shape[1]} now: something "
            "else than the words of the edit is longer.",
            "Record the source again, with the same nodes before and after.",
        )


def check_kept(run: Run, recording: Recording) -> None:
    """Raise EditError, before anything is sampled, where an edit takes more of its source than a recording has."""
    _check_picture(run.edit.picture, recording)
    kept, steps = recording.kept, recording.steps
    layers, last, of_map = set(), -1, -1
    for step in range(steps):
        run.begin_step(step, steps)
        for layer in run.architecture.layers:
            _check_values(run, layer)
            if not run.takes(layer) or not kept.layers:
                continue
            if not run.fidelity and recording.noise == "fresh":
                raise EditError(
                    "recording",
                    f"the source was recorded with fresh noise, but in step {step + 1}, in which the edit takes its "
                    "attention, the edit is not held to the picture.",
                    "Record it with picture 'fixed', raise fidelity above 0, or let the windows and maps end before "
                    "release begins.",
                )
            if layer not in kept.layers:
                layers.add(layer)
            elif run.injects(layer):
                last = step
            else:
                of_map = step
    if layers:
        name = min((layer for layer in run.architecture.layers if layer in layers), key=run.architecture.layers.index)
        raise EditError(
            "recording",
            f"the edit takes the source's self-attention in {len(layers)} layers that were not kept, such as block "
            f"{name.name}.",
            "Record the source with self_layers 'all', or choose fewer layers in the edit's schedule.",
        )
    first = kept.steps(steps)
    if kept.layers and last >= first:
        until = math.ceil((last + 1) / steps * 100) / 100
        raise EditError(
            "recording",
            f"its attention was kept for the first {first} of {steps} steps, but the edit takes it until step "
            f"{last + 1}.",
            f"Record the source with until at {until:g} or more, or let the edit's windows end by {kept.until:g}.",
        )
    if kept.layers and of_map >= first:
        raise EditError(
            "recording",
            f"its attention was kept for the first {first} of {steps} steps, but maps of words are made of all steps: "
            "where a local blend has words, or maps are asked for.",
            "Record the source with until at 1, or do without: give the blend a mask in place of words.",
        )


def _check_picture(picture: RealPicture | None, recording: Recording) -> None:
    if picture is None and recording.noise != "none":
        raise EditError(
            "edit",
            "the recorded source is a real picture, but the edit is not one of a picture.",
            "Make it one, or record the source with picture 'none'.",
        )
    if picture is not None and recording.noise == "none":
        raise EditError(
            "edit",
            "it is one of a real picture, but the recorded source was drawn from its prompt.",
            f"Record the source with picture '{picture.noise}', or make it an edit of a drawn source.",
        )
    if picture is not None and picture.fidelity and picture.noise != recording.noise:
        raise EditError(
            "noise",
            f"the edit asks for {picture.noise} noise, but the source was recorded with picture '{recording.noise}'.",
            f"Choose '{recording.noise}' here, or record the source with '{picture.noise}'.",
        )


def _check_values(run: Run, layer: Layer) -> None:
    if (mode := run.takes_values(layer)) is not None:
        raise EditError(
            "self_mode",
            f"'{mode}' takes the source's values, and a recording has its queries and keys alone.",
            "Choose 'map', or on a transformer 'layout'; or sample source and edit together.",
        )
