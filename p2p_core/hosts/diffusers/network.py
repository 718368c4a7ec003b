"""What a pipeline denoises with, its UNet or its transformer, as far as an edit has to know it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from ...architecture import Architecture
from ...layers import Layer

if TYPE_CHECKING:
    from .run import PipelineRun


@dataclass(frozen=True)
class Inputs:
    """What a pipeline gives its network.

    Attributes:
        latents: [rows, channels, height, width].
        timestep: as the scheduler has it.
        text: the prompts' embeddings [rows, tokens, width].
        image, references: the network's positions of the picture, and of pictures that it refers to.
    """

    latents: torch.Tensor
    timestep: float
    text: torch.Tensor
    image: int = 0
    references: int = 0


@dataclass(frozen=True)
class Network(ABC):
    """A network, its architecture, and each of its layers with the module that computes it.

    Attributes:
        of_the_prompt: arguments that say what the prompt is; all others belong to the picture.
        no_rows: arguments that have no axis of rows.
        names: of its first arguments, where they are given by place.
        tiles: whether prompts may be longer than the edit's, by a whole number of times.
    """

    module: torch.nn.Module
    architecture: Architecture
    layers: tuple[tuple[Layer, Any], ...]

    of_the_prompt: ClassVar[tuple[str, ...]]
    no_rows: ClassVar[tuple[str, ...]] = ()
    names: ClassVar[tuple[str, ...]] = ()
    tiles: ClassVar[bool] = False

    @abstractmethod
    def processor(self, run: PipelineRun, layer: Layer, previous) -> Any:
        """An attention processor that makes a layer's attention within a run; `previous` is the one before."""

    @abstractmethod
    def read(self, args: tuple, kwargs: dict[str, Any], scheduler) -> Inputs:
        """What it is called with."""

    def has_prompts_of(self, given: Inputs, first: Inputs) -> bool:
        """Whether a call's last rows have the prompts of a run's first call."""
        return True

    def predicted(self, output: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """Its output as a prediction of the latents, [rows, channels, height, width]."""
        return output

    def as_output(self, prediction: torch.Tensor, output: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """Such a prediction in the form of its output."""
        return prediction
