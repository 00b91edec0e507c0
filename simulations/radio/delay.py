"""The way from the air to the receiving host, as a pure state machine: things in with due times, out in order."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

MAX_UNDER_WAY: Final = 4096
"""Packets that may be under way to a host; beyond, the link layer holds its data back, as with full receive buffers."""


class DelayLine(Generic[Item]):
    """Keeps the order whatever the delays: nothing is due before what went in earlier.

    Whoever fills it asks `full` first.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[float, Item]] = deque()
        self._latest_s = float("-inf")

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether nothing more should go in."""
        return len(self._queue) >= MAX_UNDER_WAY

    @property
    def due_s(self) -> float | None:
        """When the next item comes out."""
        return self._queue[0][0] if self._queue else None

    def push(self, item: Item, due_s: float) -> None:
        """Put `item` in, to come out at `due_s` or with the one before it, whichever is later."""
        self._latest_s = max(self._latest_s, due_s)
        self._queue.append((self._latest_s, item))

    def pop(self, now_s: float = float("inf")) -> list[Item]:
        """Take out what is due, oldest first."""
        items = []
        while self._queue and self._queue[0][0] <= now_s:
            items.append(self._queue.popleft()[1])
        return items
