"""Which held escalations go out now, so that several share one opening of the cellular radio.

A cellular radio that has sent something stays in its high-power tail for seconds (`phone.cascade.price`), and a call
that wakes it pays for all of that. An escalation whose gain does not cover a tail of its own, but would cover its share
of one, is held: `Decision` says for how long. Here it is decided, again without I/O or clock, when the held ones go.

A worthwhile one is never held: it goes out at once, and those that wait ride along with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from phone.cascade.price import CELLULAR_TAIL_S

FRESH_S: Final = 1.0
"""For so long after a call the tail has hardly begun, and another call adds hardly anything to it."""


@dataclass(frozen=True, slots=True)
class Held:
    """One escalation that waits. Times are seconds on any one clock, gain and prices those of its `Decision`.

    Attributes:
        id: tells it from the others.
        since: when it was held.
        latest: until when it may wait (`since` + `Decision.hold_seconds`).
        gain: of asking.
        price_alone: of asking now and alone (`Decision.price`).
        price_shared: of asking along with another call (`Decision.price_shared`).
    """

    id: int
    since: float
    latest: float
    gain: float
    price_alone: float
    price_shared: float


def is_fresh(radio_open_seconds: float) -> bool:
    """Whether the radio's tail has just begun, so that joining it is nearly free.

    Args:
        radio_open_seconds: how long it will stay open without another call.
    """
    return radio_open_seconds >= CELLULAR_TAIL_S - FRESH_S


def due(held: Sequence[Held], now: float, radio_open: bool) -> list[int]:
    """The ids to send now, in the order given.

    All that are still in time and worth their share go when the radio was just opened by another call, or when
    together they are worth opening it. That includes the case that one alone is.

    Args:
        held: those that wait.
        now: on their clock.
        radio_open: whether a call goes out now or did a moment ago (`is_fresh`): joining it costs no tail.
    """
    worth = [one for one in held if now <= one.latest and one.gain > one.price_shared]
    surplus = sum(one.gain - one.price_shared for one in worth)
    # One opening serves all; its price may have changed between them, and the dearest is the safe guess.
    opening = max((one.price_alone - one.price_shared for one in worth), default=0.0)
    if radio_open or surplus > opening:
        return [one.id for one in worth]
    return []


def given_up(held: Sequence[Held], now: float) -> list[int]:
    """The ids whose time has passed: ask `due` first; what is left of these keeps the phone's reading."""
    return [one.id for one in held if not now < one.latest]


def next_change(held: Sequence[Held]) -> float | None:
    """When `due` or `given_up` has to be asked again if nothing else happens; None while nothing waits."""
    return min((one.latest for one in held), default=None)
