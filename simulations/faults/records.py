"""What a run leaves behind, for the checks and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from shared.link import Lane
from simulations.faults.resume import Resumed
from simulations.faults.schedule import End, Schedule
from simulations.faults.trace import Trace


class Kind(StrEnum):
    """What an object is to the product."""

    STRIP = "strip"
    STATUS = "status"
    READING = "reading"


class Outcome(StrEnum):
    """How `Link.send` ended."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXPIRED = "expired"
    FAILED = "failed"
    KILLED = "its process was killed"


@dataclass(slots=True)
class SentObject:
    """One call of `Link.send` and what became of it. Times are virtual seconds from the start.

    Attributes:
        name: unique in the run.
        life: of the sending process, counted from 1.
        why: message of the error, when there was one.
        deliveries: life of the receiving process and time, each time its application was given the object.
    """

    name: str
    kind: Kind
    sender: End
    life: int
    lane: Lane
    size: int
    at: float
    deadline: float
    outcome: Outcome = Outcome.PENDING
    why: str = ""
    resolved_at: float | None = None
    deliveries: list[tuple[int, float]] = field(default_factory=list)


class Cause(StrEnum):
    """What changed how usable the link is."""

    CONNECTED = "connected"
    MTU = "ATT MTU"
    ENDED = "connection ended"
    KILLED = "process killed"
    OUT_OF_RANGE = "out of range"
    IN_RANGE = "in range"
    DISTURBED = "values disturbed"
    QUIET = "values quiet again"


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `at` on, until the next one, the link was as stated.

    Attributes:
        usable: both sides were alive, connected and in range, and nothing was done to values.
        max_write: largest value in bytes.
        lives: of the glasses' and the phone's process.
        cause: what began the stretch.
    """

    at: float
    usable: bool
    max_write: int
    lives: tuple[int, int]
    cause: Cause


@dataclass(slots=True)
class Run:
    """Everything about one run.

    Attributes:
        faults: how often each kind of fault happened.
        strangers: objects an application was given that nobody had sent.
        resumed: what was sent again after each connection that ended.
        most_buffered: bytes the receiving side of a link held, at most.
        rounds: of the event loop.
        greeted_at_end: whether both links had a peer that had said HELLO.
        left_tasks: names of tasks that outlived their links.
        ended_at: virtual seconds.
    """

    schedule: Schedule
    trace: Trace
    objects: list[SentObject] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    strangers: list[str] = field(default_factory=list)
    resumed: Sequence[Resumed] = ()
    connections: int = 0
    refused_frames: int = 0
    most_buffered: int = 0
    rounds: int = 0
    greeted_at_end: bool = True
    left_tasks: list[str] = field(default_factory=list)
    ended_at: float = 0.0
