"""What every fuzz target is made of: a reader that turns bytes into choices, and a broken promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shared.wire.receiver import Refusal

T = TypeVar("T")


class Violation(AssertionError):
    """The code under test broke a promise."""


def demand(holds: bool, promise: str) -> None:
    """Raise `Violation` unless a promise holds."""
    if not holds:
        raise Violation(promise)


@dataclass(slots=True)
class Observed:
    """What targets saw, over many executions.

    Attributes:
        values: ATT values fed to a session.
        largest_buffered: most bytes a session held for incoming objects.
        largest_burst: most values a session gave at once.
        objects: delivered whole.
        refusals: values not taken, by reason.
        malformed: values that were no frame, `codec` only.
    """

    values: int = 0
    largest_buffered: int = 0
    largest_burst: int = 0
    objects: int = 0
    refusals: Counter[Refusal] = field(default_factory=Counter)
    malformed: int = 0

    def figures(self) -> dict[str, int | dict[str, int]]:
        """Everything, as JSON has it."""
        return {
            "values": self.values,
            "largest_buffered": self.largest_buffered,
            "largest_burst": self.largest_burst,
            "objects": self.objects,
            "refusals": {reason.value: count for reason, count in self.refusals.items()},
            "malformed": self.malformed,
        }

    def add(self, other: Observed) -> None:
        """Add what another run saw."""
        self.values += other.values
        self.largest_buffered = max(self.largest_buffered, other.largest_buffered)
        self.largest_burst = max(self.largest_burst, other.largest_burst)
        self.objects += other.objects
        self.refusals += other.refusals
        self.malformed += other.malformed


class FuzzBytes:
    """Reads choices off the front of a byte string; behind its end everything is zero."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        taken = self._data[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def number(self, width: int) -> int:
        """An unsigned number of `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        return self.number(1 if bound <= 0x100 else 2 if bound <= 0x10000 else 4) % bound

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.number(1) & 1)

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, of which there is at least one."""
        return choices[self.below(len(choices))]
