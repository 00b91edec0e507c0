"""What the phone reports: records made from a few events of its log by closed lists, kept, and sent when that is cheap.

An event that is not named here leaves no trace, and neither does a fact of an event that is not named. Nothing of a
sign goes in but, under `TelemetryUse.TEXT`, what the cloud has read anyway: a sign that stayed on the phone stays.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from phone.battery import Battery
from phone.cascade.inputs import NetworkKind, Thermal
from phone.cloud_channel import CallRefused, Refusal
from phone.network import NetworkState
from phone.telemetry_store import TelemetryStore
from phone.window import RadioWindow
from shared.clock import Clock
from shared.errors import CloudError, StorageError
from shared.events import EventLog
from shared.messages.wayword.v1 import telemetry_pb2
from shared.telemetry import FAILURES, MAX_RECORDS, OTHER, curated
from shared.wire.waiting import Alarm, Backoff

REPORT: Final = f"/{telemetry_pb2.DESCRIPTOR.services_by_name['Telemetry'].full_name}/Report"
MAX_PENDING: Final = 512
"""Records in memory on their way to the disk."""
SEND_EVERY_S: Final = 900.0
"""Seconds between two looks at whether to send. Nobody waits for telemetry."""
FIRST_SEND_S: Final = 60.0
POWER_EVERY_S: Final = 900.0
RETRY_FIRST_S: Final = 60.0
RETRY_CAP_S: Final = 3600.0
STORE_PAUSE_S: Final = 60.0
"""After the disk refused."""
CALL_S: Final = 10.0
MAX_BATCHES: Final = 20
"""Batches sent in a row."""
LOW_PERCENT: Final = 30
"""Battery below which nothing is sent over a radio that sleeps. A judgement."""

ReplyT = TypeVar("ReplyT", bound=Message)


class ReportChannel(Protocol):
    """Carries a report; `phone.cloud_channel.CloudChannel` in production."""

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


def is_cheap(network: NetworkState, battery: Battery, window: RadioWindow) -> bool:
    """Whether telemetry may go out now: over a network that is known to cost nothing, and either the phone is plugged
    in, or the radio is awake anyway, or it is Wi-Fi and the battery is not low."""
    if network.metered or network.kind not in {NetworkKind.WIFI, NetworkKind.CELLULAR}:
        return False
    if battery.charging or window.open_seconds(network.kind) > 0:
        return True
    return network.kind is NetworkKind.WIFI and (battery.percent is None or battery.percent >= LOW_PERCENT)


class Telemetry:
    """Gathers, keeps and sends. Make it inside a running event loop.

    Args:
        store: where records wait.
        channel: to the cloud; None to gather only.
        clock: of waits and hours.
        events: whose events are gathered, from `start` on.
        text: whether the wearer opted in to texts.
        arms: of experiments that are in force.
        network: asked before every sending.
        battery: asked before every sending, and for the summary.
        thermal: for the summary.
        window: told when bytes pass.
        joules: predicted energy of the calls of the last so many seconds; runs in a thread.
        backoff: pauses after failures.
        allowed: whether the wearer lets anything go to the cloud now; runs in a thread.
    """

    def __init__(
        self,
        store: TelemetryStore,
        channel: ReportChannel | None,
        *,
        clock: Clock,
        events: EventLog,
        text: bool,
        arms: Callable[[], Mapping[str, str]],
        network: Callable[[], NetworkState],
        battery: Callable[[], Battery],
        thermal: Callable[[], Thermal],
        window: RadioWindow,
        joules: Callable[[float], float],
        backoff: Backoff,
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._channel = channel
        self._clock = clock
        self._events = events
        self._text = text
        self._arms = arms
        self._network = network
        self._battery = battery
        self._thermal = thermal
        self._window = window
        self._joules = joules
        self._backoff = backoff
        self._allowed = allowed
        self._lock = threading.Lock()
        self._pending: deque[telemetry_pb2.TelemetryRecord] = deque()
        self._lost = 0
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(clock)
        self._store_failed = False
        self._stopped = False
        self._batch = MAX_RECORDS

    # Gathering ----------------------------------------------------------------------------------------

    def start(self, packs: Sequence[tuple[str, str]] = ()) -> None:
        """Gather from now on.

        Args:
            packs: name and version of those that are installed.
        """
        self._events.listen(self.note)
        for name, version in packs:
            self._put("pack", labels={"name": name, "version": version})

    def note(self, event: str, facts: Mapping[str, object], content: Mapping[str, object]) -> None:
        """Take from an event what is on the lists (`shared.events.Listener`)."""
        if event == "reading_sent":
            text = content.get("text")
            # What the cloud has just read, and nothing else: a sign that stayed on the phone is in no report, also
            # where its text is known from elsewhere.
            from_cloud = (facts.get("tier"), facts.get("state")) == ("TIER_CLOUD", "READING_STATE_REFINED")
            told = self._text and from_cloud and isinstance(text, str)
            self._put(
                "reading",
                numbers=_numbers(facts, since_strip_ms="since_strip_ms"),
                labels={name: _enum_word(facts.get(name)) for name in ("state", "tier", "engine")},
                text=str(text) if told else None,
            )
        elif event == "decision":
            names = ("action", "rule", "policy", "network")
            self._put("decision", labels={name: str(facts.get(name)) for name in names})
        elif event == "cloud_call":
            self._put(
                "cloud_call",
                numbers=_numbers(facts, ms="ms", bytes_out="bytes_out", bytes_in="bytes_in", attempts="attempts"),
                labels={"outcome": str(facts.get("outcome")), "hedged": _yes_no(facts.get("hedged"))},
            )
        elif event == "reading_delivered":
            seconds = facts.get("seconds")
            numbers = _numbers(facts, bytes="bytes_on_air")
            if isinstance(seconds, int | float):
                numbers["ms"] = seconds * 1e3
            self._put("link", numbers=numbers)
        elif event in FAILURES:
            self._put("failure", labels={"what": event, "error": str(facts.get("error", OTHER))})

    def crashed(self, error: BaseException) -> None:
        """The daemon ends because of this."""
        self._put("failure", labels={"what": "crash", "error": type(error).__name__})

    def _put(
        self,
        kind: str,
        *,
        numbers: Mapping[str, float] | None = None,
        labels: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> None:
        """Have a record kept; in any thread."""
        if self._stopped:
            return
        now, arms = self._clock.wall(), self._arms()
        record = curated(kind, recorded_s=now, numbers=numbers, labels=labels, text=text, arms=arms)
        with self._lock:
            self._pending.append(record)
            if len(self._pending) > MAX_PENDING:
                self._pending.popleft()
                self._lost += 1
        self._loop.call_soon_threadsafe(self._alarm.ring)

    # Keeping and sending ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep what is gathered and send it now and then, until cancelled."""
        now = self._clock.monotonic()
        send_at, power_at, store_at = now + FIRST_SEND_S, now + POWER_EVERY_S, now
        try:
            while True:
                await self._alarm.wait(min(send_at, power_at))
                now = self._clock.monotonic()
                if now >= power_at:
                    power_at = now + POWER_EVERY_S
                    await self._note_power()
                if now >= store_at and not await self.flush():
                    store_at = now + STORE_PAUSE_S
                if now >= send_at:
                    pause = await self.send()
                    send_at = self._clock.monotonic() + pause
        finally:
            self._alarm.cancel()

    async def flush(self) -> bool:
        """Bring what is in memory to the disk; False where that refuses, and it stays in memory."""
        with self._lock:
            records, lost = tuple(self._pending), self._lost
            self._pending.clear()
            self._lost = 0
        if not records and not lost:
            return True
        try:
            await asyncio.to_thread(self._store.add, records, lost=lost)
        except StorageError as error:
            self._put_back(records, lost)
            if not self._store_failed:
                self._store_failed = True
                self._events.write("storage_failed", error=type(error).__name__, reason=str(error))
            return False
        self._store_failed = False
        return True

    def _put_back(self, records: Sequence[telemetry_pb2.TelemetryRecord], lost: int) -> None:
        with self._lock:
            self._pending.extendleft(reversed(records))
            self._lost += lost
            while len(self._pending) > MAX_PENDING:
                self._pending.popleft()
                self._lost += 1

    async def close(self) -> None:
        """Keep what is still in memory, and gather no more."""
        self._stopped = True
        await self.flush()

    async def send(self) -> float:
        """Send what waits, where that is cheap now.

        Returns:
            Seconds until the next try.
        """
        if self._channel is None or not is_cheap(self._network(), self._battery(), self._window):
            return SEND_EVERY_S
        try:
            if not await asyncio.to_thread(self._allowed):
                return SEND_EVERY_S
            for _ in range(MAX_BATCHES):
                if not await self._send_batch(self._channel):
                    break
        except CloudError:
            return self._backoff.next()
        except StorageError as error:
            self._events.write("storage_failed", error=type(error).__name__, reason=str(error))
            return SEND_EVERY_S
        self._backoff.reset()
        return SEND_EVERY_S

    async def _send_batch(self, channel: ReportChannel) -> bool:
        """Send one batch; False when nothing is left.

        Raises:
            CloudError: it was not taken, and waits.
            StorageError: the database refuses.
        """
        now = self._clock.wall()
        await asyncio.to_thread(self._store.drop_old, now_ms=int(now * 1000))
        await asyncio.to_thread(self._store.own_up, now_s=now)
        waiting = await asyncio.to_thread(self._store.batch, at_most=self._batch)
        if not waiting:
            return False
        await channel.connect(self._clock.monotonic() + CALL_S, method=REPORT)
        request = telemetry_pb2.ReportRequest(records=[item.record for item in waiting])
        try:
            await channel.call(REPORT, request, telemetry_pb2.ReportReply, timeout=CALL_S)
        except CallRefused as error:
            if error.refusal is not Refusal.MALFORMED:
                raise
            if len(waiting) == 1:
                await asyncio.to_thread(self._store.delete, waiting, lost=True)
            # One of them is not to the cloud's liking: halves find it.
            self._batch = max(len(waiting) // 2, 1)
            return True
        finally:
            self._window.passed(self._network().kind)
        # Taken, known from before, or refused for good: in each case the cloud is not to be told again.
        await asyncio.to_thread(self._store.delete, waiting)
        self._batch = MAX_RECORDS
        return True

    async def _note_power(self) -> None:
        battery = self._battery()
        numbers = {} if battery.percent is None else {"percent": float(battery.percent)}
        try:
            numbers["call_joules"] = await asyncio.to_thread(self._joules, POWER_EVERY_S)
        except StorageError:
            # The ledger's own trouble is told by the ledger.
            numbers.pop("call_joules", None)
        labels = {"charging": _yes_no(battery.charging), "thermal": self._thermal().value}
        self._put("power", numbers=numbers, labels=labels)


def _numbers(facts: Mapping[str, object], **names: str) -> dict[str, float]:
    """Numbers of an event under their names in the record."""
    found = {}
    for name, fact in names.items():
        value = facts.get(fact)
        if isinstance(value, int | float):
            found[name] = float(value)
    return found


def _yes_no(value: object) -> str:
    return "yes" if value else "no"


def _enum_word(value: object) -> str:
    """ "READING_STATE_KEPT" as "kept"."""
    return str(value).rpartition("_")[2].lower()
