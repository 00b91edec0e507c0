"""What the cascade says, and the shape every policy has."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from phone.cascade.inputs import Conditions, Signals


class Rule(StrEnum):
    """Which rule decided, for the ledger and for statistics."""

    NEVER = "never"
    CONSENT = "consent"
    PRIVATE = "private"
    FRAME = "frame"
    NO_LEDGER = "no ledger"
    NO_CLOUD = "no cloud"
    NO_NETWORK = "no network"
    CLOUD_DOWN = "cloud down"
    CLOUD_BUSY = "cloud busy"
    DIRECTION = "direction"
    BUDGET = "budget"
    LATE = "late"
    BATTERY = "battery"
    HOT = "hot"
    SURE = "sure"
    HOPELESS = "hopeless"
    DEAR = "dear"
    """The cloud would help, but not for that price."""
    UNSURE = "unsure"
    UNCERTIFIED = "uncertified"
    """Asked because the reading is not among those the risk certificate covers."""
    FALLBACK = "fallback"
    """A number was missing or impossible: the safe choice."""
    PLACE = "place"
    """What this sign says was known at this place; or readings of places were shared, which are no pictures."""
    POLICY = "policy"
    """The policy of an experiment, which weighs nothing."""


class Action(StrEnum):
    """What is done with a sign."""

    KEEP = "keep"
    ESCALATE = "escalate"
    """Ask the cloud now."""
    HOLD = "hold"
    """Ask the cloud when the radio is open, or at `Decision.hold_seconds` at the latest."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The cascade's verdict.

    Attributes:
        action: what is done.
        rule: which rule decided.
        reason: one line that the wearer understands.
        gain: expected gain; 0 where a rule forbade the call before it was worked out.
        price: price of asking, in the same unit.
        certified: whether the phone's reading is among those the risk certificate covers.
        hold_seconds: how long a held escalation may wait for an open radio.
        price_shared: price of asking along with another call; what `phone.cascade.batching` weighs a held one by.
    """

    action: Action
    rule: Rule
    reason: str
    gain: float
    price: float
    certified: bool = False
    hold_seconds: float = 0.0
    price_shared: float = 0.0

    @property
    def escalate(self) -> bool:
        """Whether the cloud is asked, now or soon."""
        return self.action is not Action.KEEP


@dataclass(frozen=True, slots=True)
class CascadeMemory:
    """What one decision leaves for the next: hysteresis, so that nothing flaps at a threshold.

    Attributes:
        saving: whether the battery is being saved.
        slow: whether the link or the cloud counts as too slow.
        empty: whether the battery is so low that nothing is asked.
    """

    saving: bool = False
    slow: bool = False
    empty: bool = False


class CascadePolicy(Protocol):
    """A policy: a pure function. The daemon and the simulator run the very same one."""

    @property
    def name(self) -> str:
        """Under which settings and experiments choose it."""
        ...

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        """Keep the phone's reading, or ask the cloud."""
        ...
