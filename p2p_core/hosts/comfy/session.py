"""What a guider holds while it samples."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ...errors import EditError
from ...noise import SharedNoise
from ...rows import Evaluation
from ...run import Run
from .real_picture import Picture


@dataclass
class Session:
    """One sampling.

    Attributes:
        run: the one whose rows the model evaluates.
        sigmas: of all steps over which windows count, falling; those that are made are among them.
        ends: whether the last of them is made.
        picture: the real one that the source is pinned to, if it is.
        evaluations: for the id of each conditioning of the run's prompts its evaluation, at row 0; filled once the
            host has processed them.
    """

    run: Run
    sigmas: list[float]
    ends: bool
    noise: SharedNoise
    picture: Picture | None = None
    evaluations: dict[uuid.UUID, Evaluation] = field(default_factory=dict)

    def check_called(self) -> None:
        """Raise EditError where the model was sampled without asking for its attention."""
        if self.evaluations and not self.run.called and any(map(self.run.concerns, self.run.architecture.layers)):
            raise EditError(
                "model",
                "it was sampled without calling the edited attention, so nothing could be edited. This happens with "
                "nodes that run the model outside of ComfyUI's own code or with a copy of the patches taken earlier, "
                "such as TensorRT or Automatic CFG with attention modifiers.",
                "Take them out.",
            )

    def note(self) -> str | None:
        """What to tell the user of a sampling that is done."""
        return self.run.note() if self.evaluations and self.ends else None

    @contextmanager
    def evaluating(self, run: Run) -> Iterator[None]:
        """While the model evaluates the rows of another run."""
        own, self.run = self.run, run
        try:
            yield
        finally:
            self.run = own
