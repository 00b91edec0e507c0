"""What must hold of a run, whatever happened in it.

1. Every send comes to an end by its deadline and `GRACE_S`; none expires before its deadline, none is refused.
2. No application is given an object twice in one life of its process, nor one that nobody sent; bytes are compared.
3. What a sender was told is delivered had been given to the other application before.
4. An object that was *owed* is delivered. It is owed when its sender lives until the deadline (or the end of the
   stretch) and, before the deadline, the link was usable in one stretch for as long as a cautious estimate says that
   it and everything else its process had to send need: `RECONNECT_S` or `RECOVERY_S` from the start of the stretch,
   then their bytes at `cautious_rate`, then `ROUND_TRIPS` round trips. Usable means: both processes alive, connected
   and in range, values of `SMALLEST_USABLE_WRITE` bytes or more, and nothing lost, doubled or damaged.
5. After a cut at most one window of each lane is sent again, what was written before its end was known included.
6. Received bytes held stay below the cap of `shared.limits`.
7. However the connection was lost, there is one again at the end, and both sides have said HELLO on it.
8. Nothing is left running when both links are closed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shared import limits
from shared.link import Lane
from shared.wire import frames
from shared.wire.session import HELLO_REPEAT_S
from shared.wire.timing import MAX_TIMEOUT_S
from simulations.faults.records import Cause, Outcome, Run, SentObject, Stretch
from simulations.faults.schedule import Schedule

GRACE_S: Final = 0.1
"""How much later than its deadline a send may end: a timer, and the rounding of milliseconds."""
RECONNECT_S: Final = 2 * HELLO_REPEAT_S
"""From both sides being connected to everything flowing: HELLO, and once more."""
RECOVERY_S: Final = MAX_TIMEOUT_S + RECONNECT_S
"""The same where frames were lost on a connection that goes on: the longest retransmission timeout comes first."""
ROUND_TRIPS: Final = 4
"""START, the last fragment and its DONE, and one to spare."""
SMALLEST_USABLE_WRITE: Final = 182
"""With smaller values a link is there, but too slow to owe anything in time."""
_FRAGMENTS_A_ROUND_TRIP: Final = 4
_RATE_SHARE: Final = 0.6
_MAX_BUFFERED: Final = len(Lane) * limits.MAX_LANE_BYTES


@dataclass(frozen=True, slots=True)
class UsableTime:
    """A time during which the link was usable without a break; `max_write` is the smallest of it.

    Whatever happened before has been dealt with by `settled`.
    """

    start: float
    settled: float
    end: float
    max_write: int
    lives: tuple[int, int]


def violations(run: Run) -> list[str]:
    """What does not hold of a run, one line each; empty for a good one."""
    found = list(run.strangers)
    for sent in run.objects:
        found += (f"{sent.name}: {problem}" for problem in _problems(sent))
    found += (f"{sent.name}: owed and not delivered ({sent.outcome}: {sent.why})" for sent in lost(run))
    for resumed in run.resumed:
        if resumed.quiet and resumed.with_unheard > resumed.window:
            found.append(
                f"connection {resumed.connection}: the {resumed.sender} sent {resumed.with_unheard} bytes on its"
                f" {resumed.lane.name} lane again, more than a window of {resumed.window}"
            )
    if run.most_buffered > _MAX_BUFFERED:
        found.append(f"{run.most_buffered} bytes were held, more than {_MAX_BUFFERED}")
    if not (run.greeted_at_end and run.stretches[-1].usable):
        found.append("there is no connection, or no HELLO on it, long after the last fault")
    found += (f"still running at the end: {name}" for name in run.left_tasks)
    return found


def lost(run: Run) -> list[SentObject]:
    """Objects that were owed and not delivered."""
    return [sent for sent in owed(run) if sent.outcome in (Outcome.EXPIRED, Outcome.FAILED)]


def owed(run: Run) -> list[SentObject]:
    """Objects the link had all it needs to deliver; see rule 4."""
    times = usable_times(run.stretches, run.ended_at)
    return [sent for sent in run.objects if any(_enough(sent, time, run) for time in times)]


def usable_times(stretches: Sequence[Stretch], ended_at: float) -> list[UsableTime]:
    """The times during which the link was usable, oldest first."""
    times: list[UsableTime] = []
    ends = [*(stretch.at for stretch in stretches[1:]), ended_at]
    for stretch, end in zip(stretches, ends, strict=True):
        if not stretch.usable or stretch.max_write < SMALLEST_USABLE_WRITE:
            continue
        last = times[-1] if times else None
        if last is not None and last.end == stretch.at and last.lives == stretch.lives and stretch.cause is Cause.MTU:
            times[-1] = replace(last, end=end, max_write=min(last.max_write, stretch.max_write))
        elif end > stretch.at:
            fresh = stretch.cause in (Cause.CONNECTED, Cause.MTU)
            settled = stretch.at + (RECONNECT_S if fresh else RECOVERY_S)
            times.append(UsableTime(stretch.at, settled, end, stretch.max_write, stretch.lives))
    return times


def cautious_rate(schedule: Schedule, max_write: int) -> float:
    """Bytes of objects a second that the link carries at least, once it flows."""
    rate = schedule.profile.rate_bytes_per_s
    assert rate is not None
    fragment = frames.fragment_size(max_write)
    return min(_RATE_SHARE * rate, _FRAGMENTS_A_ROUND_TRIP * fragment / _round_trip(schedule))


def _round_trip(schedule: Schedule) -> float:
    profile = schedule.profile
    assert profile.interval_s is not None
    return 3 * profile.interval_s + 2 * (profile.latency_s + profile.jitter_s)


def _enough(sent: SentObject, time: UsableTime, run: Run) -> bool:
    start = max(sent.at, time.settled)
    end = min(sent.deadline, time.end)
    if start >= end or (sent.resolved_at is not None and sent.resolved_at <= time.start):
        return False
    mine = [other for other in run.objects if _competes(other, sent)]
    ahead = [other for other in mine if other.at <= start and (other.resolved_at is None or other.resolved_at > start)]
    # A transfer keeps the fragments it began with, so those of old ones may be smaller than the link now allows.
    oldest = min((other.at for other in ahead), default=start)
    smallest = min(
        (stretch.max_write for stretch in _during(run.stretches, oldest, end) if stretch.usable), default=time.max_write
    )
    rate = cautious_rate(run.schedule, smallest)
    queued = run.schedule.queue_values * frames.MAX_VALUE_BYTES  # what its stack already holds goes first
    done = start + (queued + sum(other.size for other in ahead)) / rate
    for other in mine:  # in the order they were sent
        if start < other.at <= done:
            done += other.size / rate  # newer objects may go first
    return done + ROUND_TRIPS * _round_trip(run.schedule) <= end


def _competes(other: SentObject, sent: SentObject) -> bool:
    if (other.sender, other.life) != (sent.sender, sent.life):
        return False
    return sent.lane is Lane.BULK or other.lane is Lane.CONTROL  # control does not wait for bulk


def _during(stretches: Sequence[Stretch], start: float, end: float) -> Iterator[Stretch]:
    for number, stretch in enumerate(stretches):
        if stretch.at < end and (number + 1 == len(stretches) or stretches[number + 1].at > start):
            yield stretch


def _problems(sent: SentObject) -> Iterator[str]:
    if sent.outcome is Outcome.PENDING or sent.resolved_at is None:
        yield "its send never came to an end"
        return
    if sent.resolved_at > sent.deadline + GRACE_S:
        yield f"its send ended {sent.resolved_at - sent.deadline:.3f} s after its deadline"
    if sent.outcome is Outcome.FAILED:
        yield f"its send failed: {sent.why}"
    if sent.outcome is Outcome.EXPIRED and sent.resolved_at < sent.deadline - 1e-6:
        yield f"it was given up {sent.deadline - sent.resolved_at:.3f} s before its deadline: {sent.why}"
    if sent.outcome is Outcome.DELIVERED and not any(at <= sent.resolved_at for _, at in sent.deliveries):
        yield "its sender was told that it is delivered, and it was not"
    for life, times in Counter(life for life, _ in sent.deliveries).items():
        if times > 1:
            yield f"delivered {times} times to process {life}"
