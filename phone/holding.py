"""Escalations that wait for an open radio: bounded, and none for longer than its decision allows.

Which of them go, and when, is `phone.cascade.batching`'s to say; this only keeps them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from phone.cascade import batching
from phone.cascade.decision import Decision

MAX_HELD: Final = 32
"""Escalations that wait; above it the oldest is given up. A wearer who walks meets a few signs in the seconds that one
may wait."""

CallT = TypeVar("CallT")


class Holding(Generic[CallT]):
    """Calls that wait, oldest first.

    Args:
        max_held: above it the oldest gives way.
    """

    def __init__(self, *, max_held: int = MAX_HELD) -> None:
        self._max_held = max_held
        self._held: OrderedDict[int, tuple[batching.Held, CallT]] = OrderedDict()
        self._next_id = 0

    def __len__(self) -> int:
        """Calls that wait."""
        return len(self._held)

    def add(self, call: CallT, decision: Decision, *, now: float, seconds: float) -> CallT | None:
        """Keep a call for at most so long; returns one that had to give way to it.

        Args:
            call: what waits.
            decision: that held it: it says what going alone, and going along, would cost.
            now: on the clock.
            seconds: how long it may wait.
        """
        self._next_id += 1
        held = batching.Held(
            self._next_id, now, now + seconds, decision.gain, decision.price, min(decision.price_shared, decision.price)
        )
        self._held[held.id] = (held, call)
        if len(self._held) <= self._max_held:
            return None
        return self._held.popitem(last=False)[1][1]

    def take_due(self, *, now: float, radio_open: bool, at_most: int) -> list[CallT]:
        """Those that go out now, oldest first; the others wait on.

        Args:
            now: on the clock.
            radio_open: whether going along with another call costs no waking of the radio.
            at_most: calls that may begin now.
        """
        due = batching.due([held for held, _ in self._held.values()], now, radio_open)
        return [self._held.pop(one)[1] for one in due[:at_most]]

    def take_given_up(self, *, now: float) -> list[CallT]:
        """Those whose time has passed; ask `take_due` first."""
        over = batching.given_up([held for held, _ in self._held.values()], now)
        return [self._held.pop(one)[1] for one in over]

    def next_change(self) -> float | None:
        """When to ask again if nothing else happens; None while nothing waits."""
        return batching.next_change([held for held, _ in self._held.values()])
