"""What those who count may know of a read: how it ended and how long it took, never what the sign said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cloud.callers import Caller
from cloud.plans import ReadPlan


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """One strip or text, answered or not. Strips of a batch are told one by one.

    Attributes:
        method: "ReadStrip", "ReadStrips" or "Translate".
        caller: who asked.
        plan: how it was to be read, with the arm that said so.
        outcome: "answered", "cancelled" or `calls.Outcome.name`, such as "overloaded".
        seconds: from the call to its end.
        in_time: whether it ended before the caller's deadline.
        confidence: of the weakest stage, 0..1; None when there is no answer, or nothing was read or translated.
        agrees: whether the text read is the one the phone had read (`local_text`), but for case and spaces; None when
            there is no answer or the phone did not say.
        remembered: whether the answer came from the memory of places or from the one of repeated keys.
    """

    method: str
    caller: Caller
    plan: ReadPlan
    outcome: str
    seconds: float
    in_time: bool
    confidence: float | None = None
    agrees: bool | None = None
    remembered: bool = False

    @property
    def answered(self) -> bool:
        """Whether there was an answer."""
        return self.outcome == "answered"


ReadObserver = Callable[[ReadEvent], None]
"""Told of every read when it has ended, in the event loop: it must be quick and must not raise."""


def all_of(observers: Iterable[ReadObserver]) -> ReadObserver:
    """One observer that tells several."""
    told = tuple(observers)

    def tell(event: ReadEvent) -> None:
        for observer in told:
            observer(event)

    return tell
