"""What stands in the ledger: its rows, what they are summed up to, and what they are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from phone.cascade.decision import Action
from phone.database import Row


class Outcome(StrEnum):
    """What came of a decision."""

    KEPT = "kept"
    """Nothing was sent."""
    HELD = "held"
    """It waits for an open radio, and nothing was sent yet; stays so when the phone dies meanwhile."""
    PENDING = "pending"
    """A call is about to be made; stays so when the phone dies during it."""
    REFINED = "refined"
    CONFIRMED = "confirmed"
    """The cloud answered, and says the same as the phone."""
    NO_BETTER = "no better"
    """The cloud answered, and is less sure than the phone."""
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    REFUSED = "refused"
    SHARED = "shared"
    """Texts of places were shared or asked for, and the cloud answered; no picture left."""
    GARBLED = "garbled"
    """The cloud's answer could not be used."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Which sign a decision is about."""

    frame_id: int
    region_id: int
    engine: str
    source: str
    target: str
    text: str


@dataclass(frozen=True, slots=True)
class Setting:
    """Under which circumstances it was decided.

    Attributes:
        policy: name of the policy.
        network: what a call would go over; empty when not known.
        joules: predicted for the call; None where nobody predicted.
        arms: of experiments that were in force (`shared.experiments.arms_line`); empty for none.
    """

    policy: str = ""
    network: str = ""
    joules: float | None = None
    arms: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision. Times are Unix seconds. What rows of an older Wayword do not tell is None, or as for "no".

    Attributes:
        bytes_out: what left the phone for it; while the call is pending, an upper bound.
        bytes_in: what the cloud answered.
        right_chance, helped_chance, harmed_chance: the metamodel's estimate.
        cloud: HOST:PORT that was asked.
        held_ms: how long it waited for an open radio; None where it was not held, or waits still.
        hedged: whether a second attempt went out because the first was slow.
        arms: of experiments that were in force, as "experiment=arm,experiment=arm".
    """

    id: int
    wall_time: float
    frame_id: int
    region_id: int
    escalate: bool
    rule: str
    reason: str
    gain: float
    price: float
    bytes_out: int
    outcome: Outcome
    cloud_ms: float | None
    recognition: float
    script: float
    language: float
    translation: float
    engine: str
    source: str
    target: str
    text: str | None
    action: Action = Action.KEEP
    certified: bool = False
    right_chance: float | None = None
    helped_chance: float | None = None
    harmed_chance: float | None = None
    policy: str | None = None
    network: str | None = None
    cloud: str | None = None
    joules: float | None = None
    held_ms: float | None = None
    hedged: bool = False
    bytes_in: int = 0
    arms: str | None = None


@dataclass(frozen=True, slots=True)
class RuleCount:
    """How often a rule decided so, and the bytes that left for it."""

    action: Action
    rule: str
    decisions: int
    bytes_out: int
    bytes_in: int


@dataclass(frozen=True, slots=True)
class DayBytes:
    """Bytes of one day, by the local calendar ("2026-01-31")."""

    day: str
    decisions: int
    bytes_out: int


FIELDS: Final = tuple(field.name for field in fields(Entry))
"""Columns of an entry."""


def entry_of(names: Sequence[str], row: Row) -> Entry:
    """The entry of a row, of which an older file may have fewer columns."""
    values: dict[str, object] = dict(zip(names, row, strict=True))
    for name in ("escalate", "certified", "hedged"):
        values[name] = bool(values.get(name, False))
    values["outcome"] = Outcome(str(values["outcome"]))
    # What kept or asked, before there was a third way.
    done = Action.ESCALATE if values["escalate"] else Action.KEEP
    values["action"] = Action(str(values.get("action", done.value)))
    return Entry(**values)  # type: ignore[arg-type]  # the columns are declared with these types
