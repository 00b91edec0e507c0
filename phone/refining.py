"""Phase two: the cloud is asked, now or when the radio is open, and the glasses get the better reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from phone.cascade.batching import is_fresh
from phone.cascade.decision import Decision
from phone.cascade.inputs import CloudState, NetworkKind, Signals
from phone.cloud import CallCost, CloudClient, GarbledAnswer
from phone.cloud_channel import CallRefused, Refusal
from phone.deciding import Decider, Moment, Surroundings
from phone.holding import Holding
from phone.inbox import Job
from phone.ledger import Ledger
from phone.ledger_rows import Outcome
from phone.readings import LocalReading, is_better
from phone.tasks import Tasks
from shared.clock import Clock
from shared.errors import CloudDeadline, CloudError, CloudRefused, StorageError
from shared.events import EventLog
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from shared.wire.waiting import Alarm

DIRECTION_MEMORY_S: Final = 600.0
"""How long the cloud's "I do not serve this direction", or "I do not read this script", is believed."""
MAX_DIRECTIONS: Final = 64
"""Refused directions remembered, and scripts."""
SEND_TIME_S: Final = 0.3
"""Kept of a strip's life for bringing the cloud's answer to the glasses."""

_NOT_ITS_SCRIPT: Final = frozenset(
    {types_pb2.UNREADABLE_SCRIPT, types_pb2.UNREADABLE_NO_TEXT, types_pb2.UNREADABLE_DIRECTION}
)
"""What a cloud says that cannot read a script, or has no pack for what is written in it: of a script that a
recogniser does not know it may read garbage, or nothing."""


class Remembers(Protocol):
    """Where what the cloud said is kept; `phone.reading.LocalReader` in production."""

    def remember(self, reading: LocalReading, cloud: types_pb2.Reading) -> None:
        """Keep what the cloud said of a text."""
        ...


@dataclass(frozen=True, slots=True)
class Escalation:
    """One sign that the cloud is to be asked about.

    Attributes:
        job: its strip.
        reading: phase one's.
        signals: what was decided upon.
        decision: to ask, or to hold.
        moment: what is known of the daemon whenever it is decided anew.
        request: what goes out.
        kept: the phone's final answer, should the cloud's be none or no better.
        row: of the ledger.
        hedge: whether a second attempt may go out when the first is slow.
        attempts: times that the call's bytes may leave.
        since: when it was decided, on the clock.
    """

    job: Job
    reading: LocalReading
    signals: Signals
    decision: Decision
    moment: Callable[[], Moment]
    request: cloud_pb2.ReadStripRequest
    kept: types_pb2.Reading
    row: int
    hedge: bool
    attempts: int
    since: float


class Refiner:
    """Asks the cloud about signs. Lives on the event loop.

    Args:
        cloud: that is asked.
        decider: decides again about what was held.
        ledger: where the outcome goes.
        reader: remembers what the cloud said.
        surroundings: network and radio window.
        answer: sends a reading to the glasses.
        max_calls: calls under way at once.
        clock: of deadlines.
        events: the log.
        tasks: calls run there.
    """

    def __init__(
        self,
        *,
        cloud: CloudClient,
        decider: Decider,
        ledger: Ledger,
        reader: Remembers,
        surroundings: Surroundings,
        answer: Callable[[Job, types_pb2.Reading], None],
        max_calls: int,
        clock: Clock,
        events: EventLog,
        tasks: Tasks,
    ) -> None:
        self._cloud = cloud
        self._decider = decider
        self._ledger = ledger
        self._reader = reader
        self._surroundings = surroundings
        self._answer = answer
        self._max_calls = max_calls
        self._clock = clock
        self._events = events
        self._tasks = tasks
        self._calls = 0
        self._holding: Holding[Escalation] = Holding()
        self._alarm = Alarm(clock)
        self._refused_directions: dict[tuple[str, str], float] = {}

    @property
    def state(self) -> CloudState:
        """Whether the cloud can be asked."""
        if not self._cloud.available:
            return CloudState.DOWN
        return CloudState.BUSY if self._calls >= self._max_calls else CloudState.READY

    def refuses(self, reading: LocalReading) -> bool:
        """Whether the cloud refused a while ago: this direction, everything into this target, or this script."""
        now = self._clock.monotonic()
        sources = {reading.meaning.source or "", "", *_script_source(reading)}
        return any(self._refused_directions.get((source, reading.target), now) > now for source in sources)

    def ask(self, escalation: Escalation) -> None:
        """Ask now."""
        self._calls += 1
        self._tasks.start(self._refine(escalation), name="wayword-refine")

    def hold(self, escalation: Escalation, *, seconds: float) -> None:
        """Ask when the radio is open, within so long; or give up."""
        pushed_out = self._holding.add(escalation, escalation.decision, now=self._clock.monotonic(), seconds=seconds)
        if pushed_out is not None:
            self._give_up(pushed_out, "too many wait")
        self._alarm.ring()

    async def run(self) -> None:
        """Let held escalations go when their time has come, until cancelled."""
        try:
            while True:
                await self._alarm.wait(self._holding.next_change())
                await self._release()
        finally:
            self._alarm.cancel()

    async def _release(self) -> None:
        now = self._clock.monotonic()
        network = self._surroundings.network().kind
        # A radio without a tail is as good as open.
        is_open = network is NetworkKind.WIFI or is_fresh(self._surroundings.window.open_seconds(network))
        free = max(self._max_calls - self._calls, 0)
        for escalation in self._holding.take_due(now=now, radio_open=is_open, at_most=free):
            held_ms = (self._clock.monotonic() - escalation.since) * 1e3
            attempts, reason = await self._decider.release(
                escalation.row, self._signals_now(escalation), escalation.moment, held_ms=held_ms
            )
            self._held_ended(escalation, goes=attempts > 0, reason=reason, held_ms=held_ms)
            if attempts:
                self.ask(replace(escalation, attempts=attempts))
            else:
                self._answer(escalation.job, escalation.kept)
        for escalation in self._holding.take_given_up(now=now):
            self._give_up(escalation, "no other call opened the radio in time")

    def _signals_now(self, escalation: Escalation) -> Signals:
        """The cloud may have refused the direction while the call waited."""
        return replace(escalation.signals, direction_refused=self.refuses(escalation.reading))

    def _give_up(self, escalation: Escalation, reason: str) -> None:
        """The phone's reading is final; the ledger is told in the background."""
        held_ms = (self._clock.monotonic() - escalation.since) * 1e3

        async def note() -> None:
            try:
                await asyncio.to_thread(self._ledger.give_up, escalation.row, reason=reason, held_ms=held_ms)
            except StorageError as error:
                self._events.write("storage_failed", reason=str(error))

        self._tasks.start(note(), name="wayword-give-up")
        self._held_ended(escalation, goes=False, reason=reason, held_ms=held_ms)
        self._answer(escalation.job, escalation.kept)

    def _held_ended(self, escalation: Escalation, *, goes: bool, reason: str, held_ms: float) -> None:
        self._events.write(
            "hold_ended",
            frame_id=escalation.reading.frame_id,
            region_id=escalation.reading.region_id,
            asked=goes,
            reason=reason,
            held_ms=held_ms,
        )

    async def _refine(self, escalation: Escalation) -> None:
        """Ask the cloud; its reading replaces the phone's where it is better, else the phone's is final."""
        try:
            final = await self._call(escalation)
        finally:
            self._calls -= 1
            self._alarm.ring()
        self._answer(escalation.job, final)

    async def _call(self, escalation: Escalation) -> types_pb2.Reading:
        reading, kept = escalation.reading, escalation.kept
        cost = CallCost(on_traffic=self._traffic)
        final, outcome, reason = kept, Outcome.UNAVAILABLE, ""
        deadline = escalation.job.deadline - max(SEND_TIME_S, escalation.moment().delivery_seconds)
        try:
            answer = await self._cloud.read_strip(
                escalation.request,
                deadline=deadline,
                cost=cost,
                hedge=escalation.hedge,
                attempts=escalation.attempts,
            )
        except CloudError as error:
            outcome, reason = _outcome_of(error), error.message
            if isinstance(error, CallRefused) and error.refusal is Refusal.DIRECTION:
                self._refuse_direction("", reading.target)
        else:
            outcome = _compare(answer, kept)
            if outcome is not Outcome.NO_BETTER:
                final = _refined(answer, kept, cost)
                await asyncio.to_thread(self._reader.remember, reading, answer)
            if answer.unreadable == types_pb2.UNREADABLE_DIRECTION:
                self._refuse_direction(answer.direction.source, reading.target)
            if answer.unreadable in _NOT_ITS_SCRIPT:
                # Its language the phone cannot tell the next time either: all it has to go by is the script.
                for script in _script_source(reading):
                    self._refuse_direction(script, reading.target)
        self._events.write(
            "cloud_call",
            frame_id=reading.frame_id,
            region_id=reading.region_id,
            outcome=outcome.value,
            reason=reason,
            ms=cost.seconds * 1e3,
            bytes_out=cost.bytes_out,
            bytes_in=cost.bytes_in,
            attempts=cost.attempts,
            hedged=cost.hedged,
        )
        try:
            await asyncio.to_thread(
                self._ledger.close_call,
                escalation.row,
                outcome,
                bytes_out=cost.bytes_out,
                bytes_in=cost.bytes_in,
                hedged=cost.hedged,
                cloud_ms=cost.seconds * 1e3,
            )
        except StorageError as error:
            self._events.write("storage_failed", reason=str(error))
        return final

    def _traffic(self, bytes_out: int, bytes_in: int) -> None:
        """Bytes passed: the radio is open, and what waits for that may go."""
        self._surroundings.window.passed(self._surroundings.network().kind)
        self._alarm.ring()

    def _refuse_direction(self, source: str, target: str) -> None:
        self._refused_directions[source, target] = self._clock.monotonic() + DIRECTION_MEMORY_S
        while len(self._refused_directions) > MAX_DIRECTIONS:
            del self._refused_directions[next(iter(self._refused_directions))]


def _script_source(reading: LocalReading) -> tuple[str, ...]:
    """A script that the phone cannot read, in the place of a language; none is spelled like a language's code."""
    return () if reading.foreign_script is None else (f"script {reading.foreign_script.value}",)


def _compare(cloud: types_pb2.Reading, kept: types_pb2.Reading) -> Outcome:
    if not is_better(cloud, kept):
        return Outcome.NO_BETTER
    same = cloud.text == kept.text and cloud.translation == kept.translation
    return Outcome.CONFIRMED if same else Outcome.REFINED


def _refined(cloud: types_pb2.Reading, kept: types_pb2.Reading, cost: CallCost) -> types_pb2.Reading:
    """The cloud's reading as the glasses get it, with the stages of both tiers."""
    final = types_pb2.Reading()
    final.CopyFrom(cloud)
    final.DiscardUnknownFields()
    final.frame_id, final.region_id, final.captured_us = kept.frame_id, kept.region_id, kept.captured_us
    final.tier = types_pb2.TIER_CLOUD
    final.state = types_pb2.READING_STATE_REFINED
    del final.stage_times[:]
    final.stage_times.extend(kept.stage_times)
    final.stage_times.add(stage="cloud", milliseconds=cost.seconds * 1e3)
    for time in cloud.stage_times:
        final.stage_times.add(stage=f"cloud_{time.stage}", milliseconds=time.milliseconds)
    return final


def _outcome_of(error: CloudError) -> Outcome:
    if isinstance(error, CloudDeadline):
        return Outcome.DEADLINE
    if isinstance(error, GarbledAnswer):
        return Outcome.GARBLED
    return Outcome.REFUSED if isinstance(error, CloudRefused) else Outcome.UNAVAILABLE
