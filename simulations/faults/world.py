"""Lets a schedule happen: two processes, the radio between them, and what is done to them, under virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Final

from shared.wire import frames
from simulations.faults.connection import Connection
from simulations.faults.ends import Process
from simulations.faults.noise import Boundary
from simulations.faults.records import Cause, Run, SentObject, Stretch
from simulations.faults.resume import ResumeMeter
from simulations.faults.schedule import (
    CONTROL_DEADLINE_S,
    STRIP_DEADLINE_S,
    TRAFFIC_END_S,
    Cut,
    End,
    Fault,
    Kill,
    Noise,
    NoiseKind,
    OutOfRange,
    Overflow,
    Schedule,
    Setup,
    Silence,
)
from simulations.faults.trace import Trace
from simulations.virtual_time import VirtualClock, VirtualTimeLoop, run

END_S: Final = TRAFFIC_END_S + STRIP_DEADLINE_S + 2.0 + CONTROL_DEADLINE_S + 1.0
"""When everything sent must have come to an end."""
CUT_WITHIN_S: Final = 5.0
"""A cut that waits for values happens after so long at the latest."""
OVERFLOW_WITHIN_S: Final = 2.0
"""A queue that waits for values to lose stops waiting after so long."""
MAX_ROUNDS: Final = 400_000
"""Rounds of the loop after which a run is taken to be busy for ever; one takes about 10,000."""


def play(schedule: Schedule) -> Run:
    """Let a schedule happen.

    Raises:
        simulations.virtual_time.VirtualTimeError: the links hang, are busy for ever, or an exception got lost.
    """
    return run(lambda clock: World(schedule, clock).run(), max_rounds=MAX_ROUNDS)


class World:
    """The state of one run; must be made inside the loop.

    Args:
        schedule: what happens.
        clock: of the loop.
    """

    def __init__(self, schedule: Schedule, clock: VirtualClock) -> None:
        self._schedule = schedule
        self._clock = clock
        self._start = clock.monotonic()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self._loop = loop
        assert schedule.profile.supervision_s is not None
        self._supervision_s = schedule.profile.supervision_s
        self._trace = Trace()
        self._run = Run(schedule, self._trace)
        self._payloads: dict[bytes, SentObject] = {}
        self._meter = ResumeMeter()
        self._boundary = Boundary(random.Random(f"{schedule.seed} noise"), self._value_hit)
        self._processes: dict[End, Process] = {}
        self._lives = dict.fromkeys(End, 0)
        self._closing: list[asyncio.Task[None]] = []
        self._connection: Connection | None = None
        self._connecting = False
        self._out_of_range = 0  # nested
        self._silent_since: float | None = None  # out of range since then
        self._cut_behind: tuple[int, Cut] | None = None

    async def run(self) -> Run:
        """Play to the end."""
        for end in End:
            self._start_process(end)
        for strip in self._schedule.strips:
            self._at(strip.at, partial(self._send_strip, strip.size))
        for fault in self._schedule.faults:
            self._at(fault.at, partial(self._happen, fault))
        await self._clock.sleep(END_S)
        links = [process.link for process in self._processes.values()]
        self._run.greeted_at_end = len(links) == len(End) and all(link.quality.connected for link in links)
        for end in End:
            if (process := self._processes.pop(end, None)) is not None:
                self._run.refused_frames += process.link.quality.refused_frames
                await process.stop()
        await asyncio.gather(*self._closing)
        await self._clock.sleep(0.1)  # whatever was cancelled comes to its end
        me = asyncio.current_task()
        self._run.left_tasks = sorted(task.get_name() for task in asyncio.all_tasks() if task is not me)
        self._meter.ended()
        self._run.resumed = self._meter.results
        self._run.rounds = self._loop.rounds
        self._run.ended_at = self.now
        return self._run

    # Desk: what processes report ----------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds from the start."""
        return self._clock.monotonic() - self._start

    def note(self, end: End, what: str) -> None:
        """See `Desk`."""
        self._trace.add(self.now, end, what)

    def register(self, sent: SentObject, payload: bytes) -> None:
        """See `Desk`."""
        self._run.objects.append(sent)
        self._payloads[payload] = sent

    def received(self, end: End, life: int, payload: bytes) -> SentObject | None:
        """See `Desk`."""
        sent = self._payloads.get(payload)
        if sent is None or sent.sender is end:
            self._run.strangers.append(f"{len(payload)} bytes at the {end} that nobody sent it")
            return None
        sent.deliveries.append((life, self.now))
        self.note(end, f"was given {sent.name}")
        return sent

    # Air: what the connection asks and tells ----------------------------------------------------------

    @property
    def in_range(self) -> bool:
        """See `Air`."""
        return not self._out_of_range

    def wrote(self, connection: Connection, end: End, value: bytes) -> None:
        """See `Air`."""
        self._trace.add(self.now, end, "writes", value)
        if connection is self._connection:
            self._meter.wrote(end, value, unheard=connection.broken)

    def crossed(self, connection: Connection, sender: End, value: bytes) -> None:
        """See `Air`."""
        port, process = connection.ports[sender.other], self._processes.get(sender.other)
        if process is not None and not port.lost:
            for arriving in self._boundary.pass_on(sender, value):
                self._trace.add(self.now, process.end, "gets", arriving)
                process.link.value_arrived(arriving)
                self._run.most_buffered = max(self._run.most_buffered, process.link.buffered_bytes)
            if not self._boundary.quiet:
                self._meter.disturbed()
        if self._cut_behind is not None and connection.values >= self._cut_behind[0]:
            self._cut(self._cut_behind[1])

    def dropped(self, connection: Connection, end: End) -> None:
        """See `Air`."""
        if connection.ports[end].lost:
            return
        self._note(f"the {end} drops the connection")
        if connection.broken:
            self._tell(connection, end, 0.0)
            return
        self._break(connection)
        self._tell(connection, end, 0.0)
        # Its controller says farewell, which nobody hears out of range.
        self._tell(connection, end.other, 0.05 if self.in_range else self._supervision_s)

    def room(self, end: End) -> None:
        """See `Air`."""
        if (process := self._processes.get(end)) is not None:
            process.link.room()

    # Connections --------------------------------------------------------------------------------------

    def _connect_soon(self) -> None:
        if self._connection is None and self.in_range and not self._connecting and len(self._processes) == len(End):
            self._connecting = True
            setup = self._schedule.setups[self._run.connections % len(self._schedule.setups)]
            self._after(setup.connect_s, lambda: self._connect(setup))

    def _connect(self, setup: Setup) -> None:
        self._connecting = False
        if not self.in_range or len(self._processes) < len(End):
            self._connect_soon()
            return
        self._run.connections += 1
        connection = self._connection = Connection(self, self._run.connections, self._schedule, dict(self._lives))
        self._boundary.new_connection()
        self._meter.connected(connection.number, self._lives)
        self._note(f"connection {connection.number} begins")
        late = {End.GLASSES: max(0.0, -setup.skew_s), End.PHONE: max(0.0, setup.skew_s)}
        for step in setup.steps:
            self._after(step.after_s, partial(self._set_max_write, connection, step.max_write, late))

    def _set_max_write(self, connection: Connection, max_write: int, late: dict[End, float]) -> None:
        if connection.broken:
            return
        connection.max_write = max_write
        self._note(f"values may have {max_write} bytes")
        self._mark(Cause.MTU)
        for end in End:
            self.room(end)
            # Not a timer of its own for who is not late: the order of timers of the same time is not defined.
            if late[end]:
                self._after(late[end], partial(self._report, connection, end))
            else:
                self._report(connection, end)

    def _report(self, connection: Connection, end: End) -> None:
        """Tell a link of its connection, as soon as its values may be large enough."""
        port, process = connection.ports[end], self._processes.get(end)
        if port.reported or port.lost or process is None or connection.max_write < frames.MIN_VALUE_BYTES:
            return
        port.reported = True
        self.note(end, f"connected, {connection.max_write} bytes")
        process.link.connection_up(port)
        self._mark(Cause.CONNECTED)

    def _break(self, connection: Connection) -> None:
        """From now on values vanish."""
        connection.broken = True
        if connection is self._connection:
            self._cut_behind = None
        for end, port in connection.ports.items():
            if not port.reported:  # its link knows nothing of it yet; the transport itself waits no longer than this
                self._tell(connection, end, self._supervision_s)
        self._mark(Cause.ENDED)

    def _tell(self, connection: Connection, end: End, after_s: float) -> None:
        self._after(after_s, lambda: self._on_told(connection, end))

    def _on_told(self, connection: Connection, end: End) -> None:
        port, process = connection.ports[end], self._processes.get(end)
        if not port.lost:
            port.lose()
            if process is not None:
                self.note(end, "learns that the connection is gone")
                if port.reported:
                    process.link.connection_down(port)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection is self._connection and all(port.lost for port in connection.ports.values()):
            self._connection = None
            self._note(f"connection {connection.number} is over")
            self._connect_soon()

    def _supervise(self, connection: Connection) -> None:
        def end_if_silent() -> None:
            if not self.in_range and not connection.broken and self._silent_since == since:
                self._break(connection)
                for end in End:
                    self._tell(connection, end, 0.0)

        since = self._silent_since = self.now
        self._after(self._supervision_s, end_if_silent)

    # Processes ----------------------------------------------------------------------------------------

    def _start_process(self, end: End) -> None:
        self._lives[end] += 1
        self._processes[end] = Process(self, end, self._lives[end], seed=self._schedule.seed, clock=self._clock)
        self.note(end, f"process {self._lives[end]} starts")
        self._connect_soon()

    def _send_strip(self, size: int) -> None:
        if (process := self._processes.get(End.GLASSES)) is not None:
            process.send_strip(size)

    # Faults -------------------------------------------------------------------------------------------

    def _happen(self, fault: Fault) -> None:
        self._note(f"fault: {str(fault).strip()}")
        match fault:
            case Cut():
                if self._connection is not None and not self._connection.broken and self._cut_behind is None:
                    self._cut_behind = (self._connection.values + fault.after_values, fault)
                    connection = self._connection
                    wait_s = CUT_WITHIN_S if fault.after_values else 0.0
                    self._after(wait_s, lambda: self._cut_late(connection, fault))
            case OutOfRange():
                self._count(f"out of range, {'10 s' if fault.seconds == 10.0 else 'shorter or longer'}")
                self._out_of_range += 1
                self._mark(Cause.OUT_OF_RANGE)
                if self._out_of_range == 1 and self._connection is not None and not self._connection.broken:
                    self._supervise(self._connection)
                self._after(fault.seconds, self._return)
            case Silence():
                if self._connection is not None and not self._connection.broken:
                    self._count("silence")
                    self._break(self._connection)
            case Kill():
                self._kill(fault)
            case Noise():
                self._count(f"noise: {fault.kind}")
                self._boundary.begin(fault)
                self._disturb()
                self._after(fault.seconds, lambda: self._end_noise(fault))
            case Overflow():
                self._count("queue overflow")
                self._boundary.overflow(fault.sender, fault.values)
                self._disturb()
                self._after(OVERFLOW_WITHIN_S, lambda: self._end_overflow(fault.sender))

    def _cut_late(self, connection: Connection, fault: Cut) -> None:
        if connection is self._connection and self._cut_behind is not None and self._cut_behind[1] is fault:
            self._cut(fault)

    def _cut(self, fault: Cut) -> None:
        connection = self._connection
        assert connection is not None
        self._count("cut")
        self._note(f"the connection is cut behind its value {connection.values}")
        self._break(connection)
        for end, told_s in zip(End, fault.told_s, strict=True):
            self._tell(connection, end, told_s)

    def _return(self) -> None:
        self._out_of_range -= 1
        if self.in_range:
            self._silent_since = None
            self._note("in range again")
            self._mark(Cause.IN_RANGE)
            self._connect_soon()

    def _kill(self, fault: Kill) -> None:
        process = self._processes.pop(fault.end, None)
        if process is None:
            return
        self._count(f"{fault.end} killed")
        self._run.refused_frames += process.link.quality.refused_frames
        connection = self._connection
        if connection is not None:
            self._break(connection)
            connection.ports[fault.end].lose()
            if fault.told_s is not None:
                self._tell(connection, fault.end.other, fault.told_s)
            self._forget(connection)
        self._mark(Cause.KILLED)
        self._closing.append(asyncio.create_task(process.kill(), name=f"death of {fault.end} {process.life}"))
        self._after(fault.restart_s, lambda: self._start_process(fault.end))

    def _disturb(self) -> None:
        self._meter.disturbed()
        self._mark(Cause.DISTURBED)

    def _end_noise(self, noise: Noise) -> None:
        self._boundary.end(noise)
        self._note(f"values no longer {noise.kind}")
        self._mark(Cause.QUIET)

    def _end_overflow(self, sender: End) -> None:
        self._boundary.overflow(sender, 0)
        self._mark(Cause.QUIET)

    def _value_hit(self, kind: NoiseKind, sender: End, value: bytes) -> None:
        self._run.faults[f"values {kind}"] += 1
        self._trace.add(self.now, "radio", f"{kind}, from the {sender}:", value)

    # Small things -------------------------------------------------------------------------------------

    def _at(self, seconds: float, action: Callable[[], None]) -> None:
        self._loop.call_at(self._start + seconds, action)

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._loop.call_later(seconds, action)

    def _note(self, what: str) -> None:
        self._trace.add(self.now, "radio", what)

    def _count(self, fault: str) -> None:
        self._run.faults[fault] += 1

    def _mark(self, cause: Cause) -> None:
        """Record how the link is from now on."""
        connection = self._connection
        usable = connection is not None and connection.up and self.in_range and self._boundary.quiet
        max_write = connection.max_write if connection is not None else 0
        lives = (self._lives[End.GLASSES], self._lives[End.PHONE])
        self._run.stretches.append(Stretch(self.now, usable, max_write, lives, cause))
