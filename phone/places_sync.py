"""Sharing places with the cloud, with the wearer's consent: in small batches, on networks that cost nothing.

Whatever waits does so in the database, and what goes out is written to the ledger before it goes. Every call may be
repeated: the cloud counts a device once for a sign.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from phone.cascade.decision import Action, Decision, Rule
from phone.cascade.inputs import NetworkKind, Recogniser, Signals
from phone.cascade.privacy import CloudUse
from phone.cloud_channel import CallRefused, Refusal
from phone.ledger import Consent, Ledger
from phone.ledger_rows import Outcome, Setting, Sign
from phone.network import NetworkState
from phone.places import PhonePlaces
from shared.clock import Clock
from shared.errors import CloudDeadline, CloudError, CloudRefused, InputError, StorageError
from shared.events import EventLog
from shared.limits import MAX_CONTRIBUTED_SIGNS, MAX_LOOKUP_SIGNS
from shared.messages.wayword.v1 import places_pb2
from shared.places.cells import around
from shared.places.messages import known_of, reading_message
from shared.places.reading import KnownSign
from shared.wire.waiting import Alarm, Backoff

ReplyT = TypeVar("ReplyT", bound=Message)

LOOKUP: Final = "/wayword.v1.Places/Lookup"
CONTRIBUTE: Final = "/wayword.v1.Places/Contribute"
FORGET: Final = "/wayword.v1.Places/Forget"
EVERY_S: Final = 60.0
"""How often it is looked whether the phone has come to another cell: a walker crosses one in a minute or two."""
CALL_S: Final = 10.0
FIRST_PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 3600.0
BATCH: Final = 16
"""Readings of one contribution: about 4 kB. At most `MAX_CONTRIBUTED_SIGNS`."""
assert BATCH <= MAX_CONTRIBUTED_SIGNS


class CloudCalls(Protocol):
    """Carries calls to the cloud; `phone.cloud_channel.CloudChannel` in production."""

    async def connect(self, deadline: float, *, method: str = "") -> None:
        """See `CloudChannel.connect`."""
        ...

    async def call(
        self,
        method: str,
        request: Message,
        reply_class: type[ReplyT],
        *,
        timeout: float,  # noqa: ASYNC109 - it goes on to the cloud
    ) -> ReplyT:
        """See `CloudChannel.call`."""
        ...


class PlacesSync:
    """Sends what waits, and asks about the place where the phone is. Lives on the event loop.

    Args:
        memory: of the phone.
        calls: to the cloud.
        cell: where the phone is; None where nobody knows.
        target: the wearer's language.
        cloud_use: the privacy switch.
        consent: matters under `CloudUse.ASK`.
        ledger: where every call goes before it is made.
        daily_budget_bytes: bytes that may leave in any 24 hours, strips included.
        network: what calls go over.
        clock: of the waits.
        events: told of every call and failure, without content.
        share: whether readings go out and places are asked for; otherwise only a wish to be forgotten does.
        rng: of the pauses after failures.
    """

    def __init__(
        self,
        memory: PhonePlaces,
        calls: CloudCalls,
        *,
        cell: Callable[[], str | None],
        target: str,
        cloud_use: CloudUse,
        consent: Consent,
        ledger: Ledger,
        daily_budget_bytes: int,
        network: Callable[[], NetworkState],
        clock: Clock,
        events: EventLog,
        share: bool = True,
        rng: random.Random | None = None,
    ) -> None:
        self._memory = memory
        self._calls = calls
        self._cell = cell
        self._target = target
        self._cloud_use = cloud_use
        self._consent = consent
        self._ledger = ledger
        self._daily_budget_bytes = daily_budget_bytes
        self._network = network
        self._clock = clock
        self._events = events
        self._share = share
        self._backoff = Backoff(rng or random.Random(), first=FIRST_PAUSE_S, cap=LONGEST_PAUSE_S)
        self._alarm = Alarm(clock)
        self._not_before = 0.0
        self._contribute_after = 0.0

    def ring(self) -> None:
        """Something waits."""
        self._alarm.ring()

    async def run(self) -> None:
        """Share what waits and ask what is new, until cancelled."""
        try:
            while True:
                now = self._clock.monotonic()
                if now >= self._not_before:
                    await self._turn()
                await self._alarm.wait(max(self._not_before, self._clock.monotonic() + EVERY_S))
        finally:
            self._alarm.cancel()

    async def _turn(self) -> None:
        try:
            while await self.step():
                pass
        except CloudError as error:
            pause = self._backoff.next()
            self._not_before = self._clock.monotonic() + pause
            self._events.write(
                "places_failed", error=type(error).__name__, reason=error.message, retry_s=round(pause, 1)
            )
        except StorageError as error:
            self._not_before = self._clock.monotonic() + self._backoff.next()
            self._events.write("storage_failed", reason=str(error))
        else:
            self._backoff.reset()

    async def step(self) -> bool:
        """Make the next call that is due; False where none is, or none may be made now.

        Raises:
            CloudError: the call failed; it is due again.
            StorageError: the database fails.
        """
        if not await asyncio.to_thread(self._allowed):
            return False
        if await asyncio.to_thread(self._memory.cloud_must_forget_now):
            return await self._forget()
        return self._share and (await self._contribute() or await self._look_up())

    async def _forget(self) -> bool:
        reply = await self._call(
            FORGET, places_pb2.ForgetRequest(), places_pb2.ForgetReply, "asked the cloud to forget"
        )
        if reply is None:
            return False
        await asyncio.to_thread(self._memory.cloud_forgot_now)
        self._events.write("places_forgotten", readings=reply.forgotten)
        return True

    async def _contribute(self) -> bool:
        if self._clock.monotonic() < self._contribute_after:
            return False
        waiting = await asyncio.to_thread(self._memory.waiting_now, BATCH)
        if not waiting:
            return False
        request = places_pb2.ContributeRequest(signs=[reading_message(item.reading) for item in waiting])
        what = f"shared what {len(waiting)} signs say, and in which place cell; no picture"
        accepted = None
        try:
            reply = await self._call(CONTRIBUTE, request, places_pb2.ContributeReply, what)
            if reply is None:
                return False
            accepted = reply.accepted
        except CallRefused as error:
            if error.refusal is Refusal.OVERLOADED:
                # Perhaps this phone has had its share of the day. It may ask about places all the same; where the
                # cloud has too much to do, that call says so.
                self._contribute_after = self._clock.monotonic() + LONGEST_PAUSE_S
                self._events.write("places_postponed", readings=len(waiting), retry_s=LONGEST_PAUSE_S)
                return False
            if error.refusal is not Refusal.MALFORMED:
                raise
            # It would be refused for ever, and everything behind it would wait for ever.
            self._events.write("places_refused", readings=len(waiting), reason=error.message)
        await asyncio.to_thread(self._memory.shared_now, [item.id for item in waiting])
        self._events.write("places_shared", readings=len(waiting), accepted=accepted)
        return True

    async def _look_up(self) -> bool:
        cell = self._cell()
        if cell is None:
            return False
        cells = await asyncio.to_thread(self._memory.unasked_now, around(cell), self._target)
        if not cells:
            return False
        request = places_pb2.LookupRequest(cells=cells, target=self._target)
        what = f"asked what signs say in {len(cells)} place cells"
        reply = await self._call(LOOKUP, request, places_pb2.LookupReply, what)
        if reply is None:
            return False
        signs = _sound(reply)
        await asyncio.to_thread(self._memory.tell_now, cells, self._target, signs)
        self._events.write("places_told", cells=len(cells), signs=len(signs))
        return True

    def _allowed(self) -> bool:
        """Whether anything of places may leave now."""
        network = self._network()
        if network.kind is not NetworkKind.WIFI or network.metered or self._cloud_use is CloudUse.NEVER:
            return False
        return self._cloud_use is not CloudUse.ASK or self._consent.given()

    async def _call(self, method: str, request: Message, reply_class: type[ReplyT], what: str) -> ReplyT | None:
        """One call, in the ledger before it is made; None where the day's budget has no room for it."""
        deadline = self._clock.monotonic() + CALL_S
        await self._calls.connect(deadline, method=method)
        started = self._clock.monotonic()
        size = request.ByteSize()
        row = await asyncio.to_thread(self._record, size, what)
        if row is None:
            return None
        outcome, bytes_in = Outcome.UNAVAILABLE, 0
        try:
            reply = await self._calls.call(method, request, reply_class, timeout=max(deadline - started, 0.1))
            outcome, bytes_in = Outcome.SHARED, reply.ByteSize()
        except CloudError as error:
            outcome = _outcome_of(error)
            raise
        finally:
            await asyncio.to_thread(
                self._ledger.close_call,
                row,
                outcome,
                bytes_out=size,
                bytes_in=bytes_in,
                cloud_ms=(self._clock.monotonic() - started) * 1e3,
            )
        return reply

    def _record(self, size: int, what: str) -> int | None:
        """The row of a call that is about to be made.

        Raises:
            StorageError: it cannot be written, and nothing may leave.
        """
        if self._ledger.bytes_today() + size > self._daily_budget_bytes:
            return None
        signals = Signals(
            recognition=0.0,
            script=1.0,
            language=1.0,
            translation=0.0,
            trouble=None,
            recogniser=Recogniser.SMALL,
            private=None,
            request_bytes=size,
        )
        return self._ledger.record(
            Sign(0, 0, "", "", self._target, ""),
            signals,
            Decision(Action.ESCALATE, Rule.PLACE, what, 0.0, 0.0),
            Setting("places", self._network().kind.value),
        )


def _sound(reply: places_pb2.LookupReply) -> list[KnownSign]:
    """What of an answer keeps the contract; the cloud's word is no more to be trusted than another's."""
    found = []
    for message in reply.signs[:MAX_LOOKUP_SIGNS]:
        try:
            found.append(known_of(message))
        except InputError:
            continue
    return found


def _outcome_of(error: CloudError) -> Outcome:
    if isinstance(error, CloudDeadline):
        return Outcome.DEADLINE
    return Outcome.REFUSED if isinstance(error, CloudRefused) else Outcome.UNAVAILABLE
