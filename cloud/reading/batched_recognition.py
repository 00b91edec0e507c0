"""The recogniser that all workers share: lines are encoded and decoded where they come from, and read in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from cloud.reading.batcher import ON_CPU, ON_GPU, Batcher, BatchPlan
from shared.clock import Clock
from shared.geometry import ImageBgr
from shared.models.packs import InstalledPack
from shared.models.recognition import Recognition, TextRecogniser

Lines = npt.NDArray[np.float32]
"""What the network sees of one line, float32 of shape (1, 3, 48, columns), or says of it, of shape (steps, classes)."""


class BatchedRecogniser:
    """A `shared.models.recognition.LineRecogniser` for many threads.

    Answers are those of a `TextRecogniser` alone: exactly where lines are read one by one, as on the CPU; a batch of
    equal lines may differ in the last digits of a probability.

    Args:
        sessions: recognisers of one pack, each used by a thread of its own.
        clock: of the deadlines.
        plan: how lines are put together; None for what suits the device of the sessions.
    """

    def __init__(self, sessions: Sequence[TextRecogniser], *, clock: Clock, plan: BatchPlan | None = None) -> None:
        self._recogniser = sessions[0]
        if plan is None:
            plan = ON_GPU if self._recogniser.on_gpu else ON_CPU
        computers: list[Callable[[Sequence[Lines]], Sequence[Lines]]] = [
            partial(_read, session) for session in sessions
        ]
        self.batcher = Batcher[Lines, Lines](computers, clock=clock, plan=plan)

    @property
    def pack(self) -> InstalledPack:
        """The pack it was loaded from."""
        return self._recogniser.pack

    @property
    def alphabet(self) -> frozenset[str]:
        """Every character it can answer with."""
        return self._recogniser.alphabet

    @property
    def on_gpu(self) -> bool:
        """Whether the networks run on a GPU."""
        return self._recogniser.on_gpu

    def recognise(self, crops: Sequence[ImageBgr]) -> list[Recognition]:
        """Read lines of text on behalf of this thread's claim (`claims.on_behalf_of`).

        Args:
            crops: one upright line each, uint8 of shape (height, width, 3).

        Returns:
            One answer per crop, in the same order.

        Raises:
            InputError: a crop is not BGR, has no pixel, or is too large.
            PackUnsupported: the model does not answer as a recogniser does.
            Refusal: the claim is over, or too many lines wait.
            BatcherClosed: the service is shutting down.
        """
        lines = self._recogniser.encoded(crops)
        answers = self.batcher.compute([(line.columns, line.tensor) for line in lines])
        return [self._recogniser.decoded(line, answer) for line, answer in zip(lines, answers, strict=True)]

    def close(self) -> None:
        """Read no more lines."""
        self.batcher.close()


def _read(session: TextRecogniser, tensors: Sequence[Lines]) -> Sequence[Lines]:
    """One batch of lines of equal columns."""
    return list(session.probabilities(tensors[0] if len(tensors) == 1 else np.concatenate(tensors)))
