"""A source that is sampled once, and edited as often as one likes without sampling it again.

An edit takes of its source the queries and keys of the layers in which it injects, and its denoised predictions. The
values are the edit's own, so no map is kept, and nothing of the edit has to be known beforehand.

A *round* is all that a sampler asks the model at once: an evaluation of each conditioning. Second-order samplers make
several in a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch

from .attention import Call
from .errors import EditError
from .layers import Layer, halved
from .rows import Evaluation
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
        return self.keys

    def v(self, call: Call) -> torch.Tensor:
        raise AssertionError("values are not kept: see check_kept")

    def mask(self, call: Call) -> torch.Tensor | None:
        return self.hidden

    def on(self, device: torch.device, dtype: torch.dtype) -> Attention:
        hidden = None if self.hidden is None else self.hidden.to(device)
        return Attention(self.queries.to(device, dtype), self.keys.to(device, dtype), hidden)

    def tiled(self, keys: int) -> Attention:
        """With so many keys, both being whole copies of those of one prompt."""
        once = math.gcd(keys, self.keys.shape[1])  # whole copies as well
        return replace(self, keys=self.keys[:, :once].repeat(1, keys // once, 1))

    def filled_up(self, places: Sequence[int]) -> Attention:
        """With hidden keys in these places, as a prompt has them that is shorter than others."""
        total = self.keys.shape[1] + len(places)
        shown = [i for i in range(total) if i not in set(places)]
        keys = self.keys.new_zeros(len(self.keys), total, self.keys.shape[2])
        keys[:, shown] = self.keys
        before = self.queries.new_zeros(1, 1, 1, len(shown)) if self.hidden is None else self.hidden
        hides = False if before.dtype == torch.bool else -torch.finfo(before.dtype).max
        hidden = before.new_full((*before.shape[:-1], total), hides)
        hidden[..., shown] = before
        return Attention(self.queries, keys, hidden)


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
        final: the latents [batch, ...] that the sampler came to; None where the host leaves the end to its own sampler.
    """

    rounds: tuple[Round, ...] = field(repr=False)
    kept: Kept = field(repr=False)
    steps: int
    noise: str
    final: torch.Tensor | None = field(repr=False)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in _tensors(self))


def _tensors(recording: Recording) -> Iterable[torch.Tensor]:
    if recording.final is not None:
        yield recording.final
    for one in recording.rounds:
        yield one.latents
        yield from (tensor for tensor in one.predictions if tensor is not None)
        for kept in one.attention.values():
            yield from (kept.queries, kept.keys)


def check_fits(wanted: int, free: int, until: float, otherwise: str = "") -> None:
    """Raise EditError where a recording of `wanted` bytes, kept for `until`, would take over half of the free memory.

    Args:
        otherwise: what else the host has that takes less, for people.
    """
    if wanted <= free / 2:
        return
    share = free / 2 / wanted * until
    less = f"set until to {int(share * 100) / 100:g}, " if share >= 0.01 else ""
    raise EditError(
        "keep",
        f"the source's attention takes {readable(wanted)}, which is more than half of the {readable(free)} of memory "
        "that are free.",
        f"To keep less, {less}make a smaller picture, or fewer at once{otherwise}.",
    )


def readable(size: float) -> str:
    """A number of bytes, for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**29 else f"{size / 2**20:.0f} MiB"


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
