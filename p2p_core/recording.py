"""A source that is sampled once, and edited as often as one likes without sampling it again.

An edit takes of its source the queries and keys of the layers in which it injects, and its denoised predictions. The
values are the edit's own, so no map is kept, and nothing of the edit has to be known beforehand.

A *round* is all that a sampler asks the model at once: an evaluation of each conditioning. Second-order samplers make
several in a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from .attention import Call
from .errors import EditError
from .layers import Layer, halved
from .picture import RealPicture
from .rows import Evaluation
from .run import Run
from .schedule import InjectSchedule, Window

KEEP = ("attention", "predictions")


@dataclass(frozen=True)
class Kept:
    """Whose attention is kept, and for how long.

    Attributes:
        layers: none where the source's predictions alone are kept.
        until: the share of the steps, in [0, 1].
    """

    layers: frozenset[Layer]
    until: float = 1.0

    @classmethod
    def of(cls, layers: Sequence[Layer], keep: str = "attention", self_layers: str = "half", until: float = 1.0):
        """Of all layers that read the prompt, and of those of self-attention that a schedule's `self_layers` names.

        Raises:
            EditError: a value out of range or unknown; `quarter` where all layers have one resolution.
        """
        if keep not in KEEP:
            raise EditError("keep", f"'{keep}' is not one of: {', '.join(KEEP)}.")
        if not 0 <= until <= 1:
            raise EditError("until", f"{until} is out of range.", "Choose a fraction of the steps, from 0 to 1.")
        schedule = InjectSchedule(self_layers=self_layers).on(layers)
        chosen = [one for one in layers if "text" in one.attends_to or schedule.injects(one, "image")]
        return cls(frozenset(chosen if keep == "attention" else ()), until)

    def steps(self, steps: int) -> int:
        """Of how many steps attention is kept; they are the first."""
        return Window(0.0, self.until).steps_of(steps)[1] if self.layers else 0

    def bytes_a_round(self, size: tuple[int, int], text: int, itemsize: int) -> int:
        """Of one picture and one conditioning of `text` tokens, for a latent of this height and width."""
        return sum(_numbers(layer, size, text) for layer in self.layers) * itemsize


def _numbers(layer: Layer, size: tuple[int, int], text: int) -> int:
    """In a layer's queries of the picture and in its keys."""
    image = math.prod(halved(*size, layer.level))
    keys = text * ("text" in layer.attends_to) + image * ("image" in layer.attends_to)
    return (image + keys) * layer.heads * layer.head_dim


@dataclass(frozen=True)
class Attention:
    """What one attention call had of the source: a Source without values.

    Attributes:
        queries: the picture's [batch, n, c].
        keys: [batch, m, c'].
        hidden: its mask [batch or 1, ...]; None where it had none.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    hidden: torch.Tensor | None = None

    def q(self, call: Call) -> torch.Tensor:
        return self.queries

    def k(self, call: Call) -> torch.Tensor:
        """As many as the call has: prompts are tiled or filled up to the longest of those that are sampled together."""
        wanted, has = call.k.shape[1], self.keys.shape[1]
        if wanted == has:
            return self.keys
        if call.layer.attends_to == ("text",):
            # Both are whole copies of one prompt, and so is what goes into both.
            once = math.gcd(wanted, has)
            return self.keys[:, :once].repeat(1, wanted // once, 1)
        return self._filled_up(self.keys, call, 1, 0)

    def v(self, call: Call) -> torch.Tensor:
        raise AssertionError("values are not kept: see check_kept")

    def mask(self, call: Call) -> torch.Tensor | None:
        if call.k.shape[1] == self.keys.shape[1] or call.layer.attends_to == ("text",):
            return self.hidden
        shown = self.hidden
        if shown is None:
            shown = self.queries.new_zeros(1, 1, 1, self.keys.shape[1])
        hides = False if shown.dtype == torch.bool else -torch.finfo(shown.dtype).max
        return self._filled_up(shown, call, -1, hides)

    def _filled_up(self, x: torch.Tensor, call: Call, axis: int, filling: float) -> torch.Tensor:
        """With positions behind those of the prompt, as a shorter one has them."""
        missing = call.k.shape[1] - self.keys.shape[1]
        end = call.text_keys.stop - missing
        before, after = x.split([end, x.shape[axis] - end], axis)
        shape = list(x.shape)
        shape[axis] = missing
        return torch.cat([before, x.new_full(shape, filling), after], axis)

    def to(self, like: torch.Tensor) -> Attention:
        return Attention(self.queries.to(like), self.keys.to(like), _maybe(self.hidden, like))


def _maybe(hidden: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor | None:
    return None if hidden is None else hidden.to(like.device)


Key = tuple[int, Layer, int]
"""The number of a conditioning, a layer, and how often it was evaluated before in the round: guidance of other packs
evaluates a conditioning again."""


@dataclass(frozen=True)
class Round:
    """What is kept of a round.

    Attributes:
        sigma: the noise level.
        latents: where the sampler was, [batch, channels, ...].
        predictions: of the denoised latents, as the host hands them to `Keeper.predicted`; on the CPU.
        attention: on the CPU, in the precision of the model.
    """

    sigma: float
    latents: torch.Tensor
    predictions: tuple[torch.Tensor | None, ...]
    attention: Mapping[Key, Attention]


@dataclass(frozen=True)
class Recording:
    """A source that was sampled before.

    Attributes:
        steps: how many were made.
        noise: where the model was asked: at a picture's latents with `fresh` or `fixed` noise, see RealPicture; or
            `none`, where the source was drawn from its prompt.
        final: the latents [batch, ...] that the sampler came to.
    """

    rounds: tuple[Round, ...] = field(repr=False)
    kept: Kept = field(repr=False)
    steps: int
    noise: str
    final: torch.Tensor = field(repr=False)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in _tensors(self))


def _tensors(recording: Recording) -> Iterable[torch.Tensor]:
    yield recording.final
    for one in recording.rounds:
        yield one.latents
        yield from (tensor for tensor in one.predictions if tensor is not None)
        for kept in one.attention.values():
            yield from (kept.queries, kept.keys)


def on_the_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that holds no more than itself."""
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


class Keeper:
    """Keeps a source while it is sampled.

    Args:
        kept: of what.
        place: where each tensor is kept: what it gives holds no more memory than its own.
    """

    def __init__(self, kept: Kept, place: Callable[[torch.Tensor], torch.Tensor] = on_the_cpu):
        self.kept = kept
        self.rounds: list[Round] = []
        self._place = place
        self._final: torch.Tensor | None = None
        self._begun: tuple[float, torch.Tensor] | None = None
        self._attention: dict[Key, Attention] = {}
        self._keeps = False

    def wants(self, layer: Layer) -> bool:
        return layer in self.kept.layers

    def begin(self, sigma: float, latents: torch.Tensor, step: int, steps: int) -> None:
        """A round at step `step` of `steps`, with the sampler at `latents` [batch, channels, ...]."""
        self._begun, self._attention = (sigma, self._place(latents)), {}
        self._keeps = step < self.kept.steps(steps)

    def keep(self, call: Call, evaluation: Evaluation) -> None:
        """A layer's attention; `call` has the source's rows alone."""
        if not (self._keeps and self.wants(call.layer)):
            return
        before = sum(key[:2] == (evaluation.number, call.layer) for key in self._attention)
        mask = None if call.mask is None else self._place(call.mask)
        kept = Attention(self._place(call.q[:, call.image]), self._place(call.k), mask)
        self._attention[evaluation.number, call.layer, before] = kept

    def predicted(self, *predictions: torch.Tensor | None) -> None:
        """The round's end: predictions [batch, channels, ...] of the denoised latents, in any order of the host's."""
        placed = tuple(None if one is None else self._place(one) for one in predictions)
        self.rounds.append(Round(*self._begun, placed, MappingProxyType(self._attention)))
        self._begun = None

    def ended(self, latents: torch.Tensor) -> None:
        """What the sampler came to, [batch, channels, ...]."""
        self._final = self._place(latents)

    def recording(self, steps: int, noise: str = "none") -> Recording:
        """Of a run that has ended; see Recording."""
        return Recording(tuple(self.rounds), self.kept, steps, noise, self._final)


class Replay:
    """A recording as the source of one run; see Recorded."""

    def __init__(self, recording: Recording):
        self.recording = recording
        self._number = -1
        self._taken: dict[tuple[int, Layer], int] = {}
        self._attention: Mapping[Key, Attention] = {}

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
        return kept.to(call.q)


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
