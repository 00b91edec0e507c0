"""Drives a `Session` over a datagram port with asyncio: the part every transport of the link shares."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Protocol

from shared.clock import Clock
from shared.errors import LinkLost
from shared.link import Lane, LinkQuality, SendReceipt
from shared.wire import frames
from shared.wire.sender import Delivered
from shared.wire.session import Peer, Session
from shared.wire.waiting import Alarm

_FULL_PORT_TICK_S = 0.02


def unknown_battery() -> int | None:
    """Battery level of a device that has no gauge."""
    return None


class DatagramPort(Protocol):
    """One connection that carries ATT values in order. A new connection is a new port."""

    @property
    def max_write(self) -> int:
        """Largest value `write` takes now, in bytes; it may change while connected."""
        ...

    @property
    def paced(self) -> bool:
        """Whether `bulk_at` keeps the radio's queue short, so that the lane's window need not."""
        ...

    def bulk_at(self, now: float) -> float:
        """When the next bulk value should be written; `now` or earlier for at once.

        A port that knows its radio's queue holds bulk back, so that a control value handed in later goes out first.
        Every other says `now`. A port that will take bulk sooner than it said calls its link's `room`.
        """
        ...

    async def write(self, value: bytes) -> None:
        """Hand one value to the radio, waiting while its queue is full.

        Raises:
            LinkLost: the connection is gone.
        """
        ...

    def drop(self) -> None:
        """Begin to end the connection, if it has not ended; its end is reported like any other."""
        ...


class DrivenLink:
    """`shared.link.Link` over whatever port a transport reports.

    A transport derives from this class, calls `_connection_up`, `_value_arrived` and `_connection_down`, and extends
    `close`. Everything runs on one event loop.

    Args:
        clock: source of time.
        name: shown to the peer.
        battery_percent: 0..100 or None, asked at every HELLO.
        epoch: 32-bit number that must differ from one process to the next; drawn at random when None.
        on_status: told in one line when the state of the link changes.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        name: str,
        battery_percent: Callable[[], int | None] = unknown_battery,
        epoch: int | None = None,
        on_status: Callable[[str], None] | None = None,
    ) -> None:
        if epoch is None:
            epoch = random.SystemRandom().getrandbits(32)
        self._clock = clock
        self._session = Session(epoch=epoch, name=name, battery_percent=battery_percent)
        self._on_status = on_status
        self._alarm = Alarm(clock)
        self._writable = asyncio.Event()
        self._writing = False
        self._watchers: list[asyncio.Future[None]] = []
        self._pending: dict[int, asyncio.Future[SendReceipt]] = {}
        self._port: DatagramPort | None = None
        self._running = False
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False
        self._failure: BaseException | None = None

    # shared.link.Link --------------------------------------------------------------------------------

    async def send(self, payload: bytes, *, lane: Lane, deadline: float) -> SendReceipt:
        """See `shared.link.Link.send`."""
        self._ensure_open()
        self._ensure_running()
        ticket = self._session.submit(payload, lane=lane, deadline=deadline, now=self._clock.monotonic())
        future: asyncio.Future[SendReceipt] = asyncio.get_running_loop().create_future()
        self._pending[ticket] = future
        self._settle()
        self._alarm.ring()
        try:
            return await future
        except asyncio.CancelledError:
            self._session.withdraw(ticket, self._clock.monotonic())
            self._alarm.ring()
            raise
        finally:
            self._pending.pop(ticket, None)

    async def receive(self) -> AsyncIterator[bytes]:
        """See `shared.link.Link.receive`; one consumer at a time."""
        self._ensure_running()
        while True:
            payload = self._session.take_object()
            if payload is not None:
                yield payload
            elif self._closed:
                return
            else:
                await self._wait_for_change()

    @property
    def quality(self) -> LinkQuality:
        """The link as it is now."""
        return self._session.quality(self._clock.monotonic())

    @property
    def peer(self) -> Peer | None:
        """What the last peer said of itself."""
        return self._session.peer

    async def wait_connected(self) -> None:
        """Return once a peer is connected and has said HELLO.

        Raises:
            LinkLost: the link is closed.
        """
        self._ensure_running()
        while not self._session.greeted:
            self._ensure_open()
            await self._wait_for_change()

    def drop_connection(self) -> None:
        """End the present connection, if there is one; the transport makes a new one and transfers go on."""
        if self._port is not None:
            self._port.drop()

    async def close(self) -> None:
        """End the link; pending sends raise `LinkLost`, `receive` ends behind what had already arrived."""
        self._closed = True
        self._connection_down()
        for future in self._pending.values():
            if not future.done():
                future.set_exception(LinkLost("the link was closed"))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._alarm.cancel()
        self._notify()

    # For transports ----------------------------------------------------------------------------------

    def _connection_up(self, port: DatagramPort) -> None:
        """A connection is ready in both directions; `port.max_write` is at least `frames.MIN_VALUE_BYTES`."""
        if self._closed:
            return
        self._ensure_running()
        self._port = port
        self._session.connected(max_write=port.max_write, now=self._clock.monotonic(), paced=port.paced)
        self._alarm.ring()

    def _connection_down(self, port: DatagramPort | None = None) -> None:
        """The connection is gone; ignored when `port` is not the current one."""
        if self._port is None or (port is not None and port is not self._port):
            return
        was_greeted = self._session.greeted
        self._port = None
        self._session.disconnected(self._clock.monotonic())
        if was_greeted:
            self._status("the connection to the peer ended")
        self._alarm.ring()

    def room(self) -> None:
        """A port's write size changed, or it takes bulk again."""
        self._writable.set()

    def _value_arrived(self, value: bytes) -> None:
        """The peer sent one ATT value."""
        was_greeted, was_mismatched = self._session.greeted, self._session.mismatch
        self._session.on_value(value, self._clock.monotonic())
        if self._session.mismatch is not None and was_mismatched is None:
            self._status(str(self._session.mismatch))
            self.drop_connection()
        if self._session.greeted and not was_greeted and self._session.peer is not None:
            self._status(f"connected to {self._session.peer.name or 'a peer without a name'}")
        self._alarm.ring()

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run a task until `close`, which cancels it; if it fails, so does the link."""
        task = asyncio.create_task(work, name=f"wayword-link-{name}")
        task.add_done_callback(self._task_ended)
        self._tasks.append(task)

    def _status(self, line: str) -> None:
        if self._on_status is not None:
            self._on_status(line)

    def _ensure_open(self) -> None:
        if self._failure is not None:
            raise LinkLost("the link stopped on an internal error") from self._failure
        if self._closed:
            raise LinkLost("the link is closed")

    # Two tasks: one lets time pass, one feeds the port -------------------------------------------------

    def _ensure_running(self) -> None:
        if not self._running and not self._closed:
            self._running = True
            self._spawn(self._keep_time(), "time")
            self._spawn(self._keep_writing(), "write")

    async def _keep_time(self) -> None:
        while True:
            now = self._clock.monotonic()
            self._session.tick(now)
            self._settle()
            self._notify()
            if self._session.stalled(now) and self._port is not None:
                self._status("the peer does not answer; dropping the connection")
                self._port.drop()
            self._writable.set()
            wakeup = self._session.wakeup(now)
            if self._port is not None and self._session.bulk_waits(now):
                # Held back by the port; what it lets through now is for the other task, woken above.
                turn = self._port.bulk_at(now)
                if turn > now and (wakeup is None or turn < wakeup):
                    wakeup = turn
            if self._writing and wakeup is not None:
                # Frames that are due wait for the port, so there is no point in looking for them all the time.
                wakeup = max(wakeup, now + _FULL_PORT_TICK_S)
            await self._alarm.wait(wakeup)

    async def _keep_writing(self) -> None:
        while True:
            await self._writable.wait()
            self._writable.clear()
            self._writing = True
            wrote = False
            try:
                while self._port is not None and await self._write_next(self._port):
                    wrote = True
            finally:
                self._writing = False
            if wrote:
                # What was sent has its own times to wait for. Ringing without news would wake the other task, which
                # wakes this one: two tasks that keep each other busy for ever.
                self._alarm.ring()

    async def _write_next(self, port: DatagramPort) -> bool:
        max_write = port.max_write
        if max_write >= frames.MIN_VALUE_BYTES:
            self._session.set_max_write(max_write)
        now = self._clock.monotonic()
        value = self._session.next_value(now, bulk=port.bulk_at(now) <= now)
        if value is None:
            return False
        try:
            await port.write(value)
        except LinkLost:
            port.drop()
            self._connection_down(port)
            return False
        return True

    def _settle(self) -> None:
        for outcome in self._session.outcomes():
            future = self._pending.get(outcome.ticket)
            if future is None or future.done():
                continue
            if isinstance(outcome, Delivered):
                receipt = SendReceipt(outcome.bytes_on_air, outcome.seconds, outcome.bytes_again)
                future.set_result(receipt)
            else:
                future.set_exception(outcome.error)

    async def _wait_for_change(self) -> None:
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers.append(watcher)
        await watcher

    def _notify(self) -> None:
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            if not watcher.done():
                watcher.set_result(None)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        self._failure = task.exception()
        self._closed = True
        self._status(f"the link stopped on an internal error: {self._failure!r}")
        for future in self._pending.values():
            if not future.done():
                error = LinkLost("the link stopped on an internal error")
                error.__cause__ = self._failure
                future.set_exception(error)
        self._notify()
