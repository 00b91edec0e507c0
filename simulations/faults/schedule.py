"""What happens to a link and when, drawn from a seed: traffic, connections and faults. Times: seconds from the start.

The traffic loads the link to about half of its rate, so that whatever a fault leaves behind can be caught up with.
The last fault has ended by `FAULTS_END_S`; whatever is sent behind it must arrive.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from simulations.radio.profile import LinkProfile

FAULTS_END_S: Final = 18.0
"""No fault begins later."""
TRAFFIC_END_S: Final = 30.0
"""No strip or status is sent later."""
STRIP_DEADLINE_S: Final = 8.0
"""As the glasses send them."""
CONTROL_DEADLINE_S: Final = 5.0
STATUS_EVERY_S: Final = 2.0
LOAD: Final = 0.5
"""Share of the rate that strips take, at most, on average."""
TRAFFIC_BYTES: Final = 120_000
"""Bytes of all strips, at most about."""
_NEAR_TRAFFIC: Final = 0.7
"""Share of the faults that happen while a look's strips are under way, or shortly behind it."""

_RATES: Final = (25e3, 40e3, 60e3, 100e3)  # bytes a second
_INTERVALS_S: Final = (0.015, 0.030, 0.050)
_SUPERVISIONS_S: Final = (0.42, 0.72, 2.0, 4.0)
_MAX_WRITES: Final = (512, 512, 512, 509, 244, 182)  # iOS allows 182, many Android phones 509 and more


class End(StrEnum):
    """The two sides of the link."""

    GLASSES = "glasses"
    PHONE = "phone"

    @property
    def other(self) -> End:
        """The opposite side."""
        return End.PHONE if self is End.GLASSES else End.GLASSES


class NoiseKind(StrEnum):
    """What happens to single values where they are handed to ATT."""

    DUPLICATED = "duplicated"  # at once
    REPEATED_LATE = "repeated late"  # a copy of an earlier value of the same connection
    TRUNCATED = "truncated"  # only a beginning arrives
    GARBAGE = "garbage"  # random bytes arrive as well
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends behind the `after_values`-th value that crosses it from `at` on.

    Attributes:
        told_s: seconds until the glasses and the phone learn of it.
    """

    at: float
    after_values: int
    told_s: tuple[float, float]

    def __str__(self) -> str:
        told = f"glasses told after {self.told_s[0]:.2f} s, phone after {self.told_s[1]:.2f} s"
        return f"{self.at:6.2f}  cut behind {self.after_values} more values; {told}"


@dataclass(frozen=True, slots=True)
class OutOfRange:
    """Nothing crosses for `seconds`; the connection ends when that is longer than its supervision timeout."""

    at: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.at:6.2f}  out of range for {self.seconds:.2f} s"


@dataclass(frozen=True, slots=True)
class Silence:
    """Values vanish, and neither side is ever told, as when a Bluetooth daemon dies."""

    at: float

    def __str__(self) -> str:
        return f"{self.at:6.2f}  silence until a side gives the connection up"


@dataclass(frozen=True, slots=True)
class Kill:
    """A process dies without a farewell and is started again.

    Attributes:
        told_s: seconds until the other side learns of it; None: never.
        restart_s: seconds until the new process starts.
    """

    at: float
    end: End
    told_s: float | None
    restart_s: float

    def __str__(self) -> str:
        told = "never told" if self.told_s is None else f"told after {self.told_s:.2f} s"
        return f"{self.at:6.2f}  {self.end} killed, started again after {self.restart_s:.2f} s; {self.end.other} {told}"


@dataclass(frozen=True, slots=True)
class Noise:
    """For `seconds`, every value is hit with a probability."""

    at: float
    seconds: float
    kind: NoiseKind
    probability: float

    def __str__(self) -> str:
        return f"{self.at:6.2f}  values {self.kind} for {self.seconds:.2f} s, {self.probability:.0%} of them"


@dataclass(frozen=True, slots=True)
class Overflow:
    """A queue on the way from one side throws `values` values away, one after the other."""

    at: float
    sender: End
    values: int

    def __str__(self) -> str:
        return f"{self.at:6.2f}  {self.values} values from the {self.sender} lost in a full queue"


Fault = Cut | OutOfRange | Silence | Kill | Noise | Overflow


@dataclass(frozen=True, slots=True)
class MtuStep:
    """From `after_s` into the connection, the largest value is `max_write` bytes."""

    after_s: float
    max_write: int


@dataclass(frozen=True, slots=True)
class Setup:
    """How one connection comes about.

    Attributes:
        connect_s: from both sides being there to the connection.
        skew_s: how much later than the glasses the phone knows that it is ready; negative for earlier.
        steps: the ATT MTU; the first is at 0 s.
    """

    connect_s: float
    skew_s: float
    steps: tuple[MtuStep, ...]

    def __str__(self) -> str:
        steps = ", ".join(f"{step.max_write} B from {step.after_s:.2f} s" for step in self.steps)
        return f"in {self.connect_s:.2f} s, phone ready {self.skew_s:+.3f} s, {steps}"


@dataclass(frozen=True, slots=True)
class PlannedStrip:
    """A strip the glasses send, if they are alive then."""

    at: float
    size: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that is drawn by chance about one run, but for the bytes themselves.

    Attributes:
        profile: rate, interval, delays, missed events, and the silence after which a controller ends a connection.
        queue_values: values that one side's stack holds before `write` waits.
        setups: of the first, second, ... connection, over again when there are more.
    """

    seed: int
    profile: LinkProfile
    queue_values: int
    setups: tuple[Setup, ...]
    strips: tuple[PlannedStrip, ...]
    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.profile}, {self.queue_values} values queue",
            f"{len(self.strips)} strips of {sum(strip.size for strip in self.strips)} bytes together",
            *(f"connection {number}: {setup}" for number, setup in enumerate(self.setups, 1)),
            *(str(fault) for fault in self.faults),
        ]
        return "\n".join(lines)


def draw(seed: int) -> Schedule:
    """The schedule of a seed; the same one always and everywhere."""
    rng = random.Random(seed)
    supervision = rng.choice(_SUPERVISIONS_S)
    profile = LinkProfile(
        rate_bytes_per_s=rng.choice(_RATES),
        interval_s=rng.choice(_INTERVALS_S),
        latency_s=round(rng.uniform(0.0005, 0.008), 4),
        jitter_s=rng.choice((0.0, 0.005, 0.02)),
        miss=rng.choice((0.0, 0.0, 0.02, 0.1)),
        supervision_s=supervision,
        seed=seed,
    )
    strips = tuple(_strips(rng, profile))
    return Schedule(
        seed=seed,
        profile=profile,
        queue_values=rng.randint(2, 12),
        setups=tuple(_setup(rng) for _ in range(8)),
        strips=strips,
        faults=tuple(sorted(_faults(rng, supervision, strips), key=lambda fault: fault.at)),
    )


def cut_behind(values: int) -> Schedule:
    """One strip of 20 kB on a quiet link, cut behind its `values`-th value (answers count)."""
    setup = Setup(connect_s=0.3, skew_s=0.0, steps=(MtuStep(0.0, 512),))
    return Schedule(
        seed=values,
        profile=LinkProfile(40e3, 0.030, latency_s=0.002, supervision_s=2.0),
        queue_values=6,
        setups=(setup,),
        strips=(PlannedStrip(1.0, 20_000),),
        faults=(Cut(0.999, values, (0.0, 0.0)),),
    )


def _setup(rng: random.Random) -> Setup:
    final = rng.choice(_MAX_WRITES)
    steps = [MtuStep(0.0, final)]
    match rng.randrange(4):
        case 0:  # late: the default until the exchange has finished
            steps = [MtuStep(0.0, 20), MtuStep(rng.uniform(0.05, 3.0), final)]
        case 1:  # it grows while transfers run
            first = rng.uniform(0.0, 1.0)
            steps = [MtuStep(0.0, 20), MtuStep(first, 64), MtuStep(first + rng.uniform(0.05, 2.0), 244)]
            steps.append(MtuStep(steps[-1].after_s + rng.uniform(0.05, 3.0), 512))
    return Setup(connect_s=rng.uniform(0.1, 1.5), skew_s=rng.uniform(-0.15, 0.15), steps=tuple(steps))


def _strips(rng: random.Random, profile: LinkProfile) -> Iterator[PlannedStrip]:
    assert profile.rate_bytes_per_s is not None
    bytes_per_s = min(LOAD * profile.rate_bytes_per_s, TRAFFIC_BYTES / TRAFFIC_END_S)
    at = rng.uniform(0.0, 1.0)
    while at < TRAFFIC_END_S:
        # One look at a scene finds one to four signs.
        look = [rng.randint(2_000, 20_000) for _ in range(rng.randint(1, 4))]
        for size in look:
            yield PlannedStrip(at, size)
        at += sum(look) / bytes_per_s * rng.uniform(0.6, 1.4)


def _faults(rng: random.Random, supervision: float, strips: Sequence[PlannedStrip]) -> Iterator[Fault]:
    for _ in range(rng.choice((1, 2, 2, 3, 3, 4, 5))):
        at = rng.uniform(0.3, FAULTS_END_S)
        if rng.random() < _NEAR_TRAFFIC:
            at = min(FAULTS_END_S, rng.choice(strips).at + rng.uniform(0.0, 1.2))
        yield _fault(rng, at, supervision)


def _fault(rng: random.Random, at: float, supervision: float) -> Fault:
    match rng.randrange(20):
        case 0 | 1 | 2 | 3 | 4 | 5:
            told = [rng.choice((0.0, rng.uniform(0.0, 0.1), supervision)) for _ in End]
            return Cut(at, rng.randrange(80), (told[0], told[1]))
        case 6 | 7:
            return OutOfRange(min(at, FAULTS_END_S - 10.0), 10.0)
        case 8:
            return OutOfRange(at, rng.uniform(0.1, 6.0))
        case 9:
            return Silence(at)
        case 10 | 11 | 12:
            return Kill(at, End.GLASSES, _told(rng, supervision), rng.uniform(0.2, 4.0))
        case 13 | 14 | 15:
            return Kill(at, End.PHONE, _told(rng, supervision), rng.uniform(0.2, 4.0))
        case 16:
            return Overflow(at, rng.choice(list(End)), rng.randint(1, 20))
        case _:
            return Noise(at, rng.uniform(0.3, 4.0), rng.choice(list(NoiseKind)), rng.choice((0.02, 0.1, 0.3)))


def _told(rng: random.Random, supervision: float) -> float | None:
    return rng.choice((0.0, rng.uniform(0.0, 0.1), supervision, None))
