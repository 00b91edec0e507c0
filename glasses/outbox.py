"""Strips on their way to the phone: a few in flight, the newest first in line when there are too many, and again
when no answer comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from glasses.exchange import strip_object
from glasses.signs import Delivery, Sign, SignRegistry
from glasses.strips import SignStrip
from shared.clock import Clock
from shared.errors import TransferExpired, TransferRefused
from shared.events import EventLog
from shared.link import Lane, Link


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """When a strip is dropped, and when it is sent again.

    Attributes:
        in_flight: strips handed to the link at once.
        waiting: strips in line; above it the oldest is dropped.
        deadline_s: after which an undelivered strip is worthless.
        attempts: sends of one sign, while no reading arrives and the phone stays connected.
        answer_patience_s: a delivered sign without a reading is sent again after this.
        reconnect_patience_s: the same after a reconnect; the phone may have been restarted and know nothing.
    """

    in_flight: int
    waiting: int
    deadline_s: float
    attempts: int
    answer_patience_s: float
    reconnect_patience_s: float


def needs_resend(sign: Sign, policy: SendPolicy, now: float, reconnected: float | None) -> bool:
    """Whether a sign should be sent again. A pure function.

    Args:
        sign: any known sign.
        now: monotonic seconds.
        reconnected: when the phone last came back after a lost connection; None for never.
    """
    if sign.settled or sign.refused or sign.attempts >= policy.attempts:
        return False
    if sign.delivery is Delivery.FAILED:
        return True
    if sign.delivery is not Delivery.DELIVERED or sign.delivered is None:
        return False
    if reconnected is not None and reconnected > sign.delivered:
        # Also with a provisional reading: the phone that was to refine it may be gone.
        return now - reconnected > policy.reconnect_patience_s
    return sign.reading is None and now - sign.delivered > policy.answer_patience_s


class Outbox:
    """Sends strips over the link and keeps the signs' delivery up to date. Lives on the event loop.

    Args:
        link: to the phone.
        signs: known signs.
        on_progress: called when a strip was delivered, and when the phone comes or goes.
    """

    def __init__(
        self,
        link: Link,
        signs: SignRegistry,
        policy: SendPolicy,
        *,
        clock: Clock,
        events: EventLog,
        on_progress: Callable[[], None],
    ) -> None:
        self._link = link
        self._signs = signs
        self._policy = policy
        self._clock = clock
        self._events = events
        self._on_progress = on_progress
        self._line: deque[tuple[Sign, SignStrip]] = deque()
        self._strips: dict[int, SignStrip] = {}
        self._some = asyncio.Event()
        self.ever_connected = False

    def put(self, sign: Sign, strip: SignStrip) -> None:
        """Send a sign's strip when its turn comes; a strip of the same sign still in line is replaced."""
        self._line = deque(entry for entry in self._line if entry[0] is not sign)
        self._line.append((sign, strip))
        self._strips[sign.region_id] = strip
        sign.note_strip(strip.frame_id, strip.captured_us)
        sign.delivery = Delivery.WAITING
        while len(self._line) > self._policy.waiting:
            self._fail(*self._line.popleft(), "newer signs were waiting")
        self._some.set()

    def forget(self, region_id: int) -> None:
        """Drop a sign's strip."""
        self._strips.pop(region_id, None)
        self._line = deque(entry for entry in self._line if entry[0].region_id != region_id)

    async def run(self) -> None:
        """Send until cancelled.

        Raises:
            LinkLost: the link was closed for good.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(self._policy.in_flight):
                group.create_task(self._send_in_turn())

    async def watch(self, interval: float) -> None:
        """Notice a phone that comes and goes, and send again what has no answer, until cancelled.

        Args:
            interval: seconds between looks at the link.
        """
        reconnects = self._link.quality.reconnects
        reconnected: float | None = None
        connected: bool | None = None
        while True:
            quality = self._link.quality
            now = self._clock.monotonic()
            came_back = quality.reconnects != reconnects
            if came_back:
                reconnects, reconnected = quality.reconnects, now
                for sign in self._signs.all():
                    sign.attempts = 0
            if came_back or quality.connected != connected:
                connected = quality.connected
                self.ever_connected = self.ever_connected or connected
                self._log_link()
                self._on_progress()
            if connected:
                for sign in self._signs.all():
                    strip = self._strips.get(sign.region_id)
                    if strip is not None and sign.in_view and needs_resend(sign, self._policy, now, reconnected):
                        self._events.write("sign_resent", region_id=sign.region_id, attempts=sign.attempts)
                        self.put(sign, strip)
            await self._clock.sleep(interval)

    def _log_link(self) -> None:
        quality = self._link.quality
        self._events.write(
            "link",
            connected=quality.connected,
            reconnects=quality.reconnects,
            goodput_bytes_per_s=quality.goodput_bytes_per_s,
            round_trip_s=quality.round_trip_s,
            refused_frames=quality.refused_frames,
        )

    async def _send_in_turn(self) -> None:
        while True:
            # Nothing is spent on a phone that is not there: a strip waits here, not in the link, and can give way.
            await self._link.wait_connected()
            while not self._line:
                self._some.clear()
                await self._some.wait()
            if not self._link.quality.connected:
                continue
            sign, strip = self._line.popleft()
            await self._send(sign, strip)

    async def _send(self, sign: Sign, strip: SignStrip) -> None:
        sign.delivery = Delivery.SENDING
        sign.attempts += 1
        deadline = self._clock.monotonic() + self._policy.deadline_s
        try:
            receipt = await self._link.send(strip_object(strip), lane=Lane.BULK, deadline=deadline)
        except TransferExpired as error:
            self._fail(sign, strip, error.message)
            return
        except TransferRefused as error:
            sign.refused = True
            self._fail(sign, strip, error.message)
            return
        if sign.delivery is Delivery.SENDING:
            sign.delivery = Delivery.DELIVERED
            sign.delivered = self._clock.monotonic()
        self._events.write(
            "sign_delivered",
            frame_id=strip.frame_id,
            region_id=sign.region_id,
            bytes_on_air=receipt.bytes_on_air,
            seconds=receipt.seconds,
        )
        self._on_progress()

    def _fail(self, sign: Sign, strip: SignStrip, reason: str) -> None:
        if sign.delivery is not Delivery.WAITING or not any(entry[0] is sign for entry in self._line):
            sign.delivery = Delivery.FAILED
        self._events.write("sign_failed", frame_id=strip.frame_id, region_id=strip.region_id, reason=reason)
