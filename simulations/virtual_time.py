"""An asyncio event loop under virtual time: whatever waits on it waits for nothing, in the same order every time.

Rules:

1. Time stands still while anything is ready to run, and jumps to the next timer when nothing is.
2. Nothing ready and no timer is a `Deadlock`; too many rounds at one instant, or in all, is a `Livelock`. Both end the
   run and name the tasks that wait.
3. There is one thread and no I/O. Work for an executor runs at once in the loop's thread and takes no virtual time;
   sockets, pipes, processes and calls from other threads raise `RealIoRefused`.
4. What runs is decided by what was scheduled, never by the machine's clock. Code that iterates over sets of objects
   without an order of their own, or draws from unseeded randomness, breaks this; so does the machine's clock itself,
   which is why product code takes a `Clock`.
5. An exception that nobody handled (in a callback, in a task nobody awaits) fails the run.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple

from shared.errors import WaywordError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START_S: Final = 1000.0
"""`monotonic` when a run begins: not zero, so that code which takes zero for "never" is found out."""
WALL_AT_START: Final = 1_767_225_600.0
"""`wall` when a run begins: 1 January 2026, 00:00 UTC."""
MAX_ROUNDS_AT_ONE_INSTANT: Final = 10_000
"""Rounds of the loop without time passing after which tasks are taken to keep each other busy for ever."""
_MAX_TASKS_NAMED: Final = 8


class VirtualTimeError(WaywordError):
    """A run under virtual time cannot go on."""


class Deadlock(VirtualTimeError):
    """Nothing is ready to run and no timer will ever change that."""


class Livelock(VirtualTimeError):
    """Tasks keep each other busy for ever."""


class RealIoRefused(VirtualTimeError):
    """Something under virtual time asked for a socket, a process or another thread."""


class UnhandledFailure(VirtualTimeError):
    """A callback or a task that nobody awaits raised; the exception is the cause."""


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """The event loop; most callers want `run`.

    Args:
        start: seconds on `time()` at the beginning.
        max_rounds: rounds of the loop (each runs what was ready) after which a run is a `Livelock`; None for no limit.
    """

    def __init__(self, *, start: float = START_S, max_rounds: int | None = None) -> None:
        super().__init__()
        self._now = start
        self._max_rounds = max_rounds
        self._rounds_here = 0
        self.rounds = 0
        """Rounds so far."""
        self.failures: list[BaseException] = []
        """Exceptions nobody handled."""
        # asyncio's loop blocks in one place only, its selector; this one leaps through time there.
        self._selector = _Leap(self)
        self.set_exception_handler(_keep_failure)

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def run_forever(self) -> None:
        """See `asyncio.loop.run_forever`.

        Raises:
            Deadlock, Livelock: see the rules of this module.
        """
        self._rounds_here = self.rounds = 0  # a run that failed is cleaned up by another, which starts afresh
        super().run_forever()

    def _leap(self, timeout: float | None) -> None:
        self.rounds += 1
        if self._max_rounds is not None and self.rounds > self._max_rounds:
            raise Livelock(f"{self._max_rounds} rounds of the loop were not enough{self._who_waits()}")
        if timeout is None:
            raise Deadlock(f"nothing is ready at {self._now:.6f} s and no timer is set{self._who_waits()}")
        if timeout > 0:
            self._rounds_here = 0
            # Exactly the timer's time: `now + timeout` may round to just before it.
            self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined] # not in typeshed
            return
        self._rounds_here += 1
        if self._rounds_here > MAX_ROUNDS_AT_ONE_INSTANT:
            raise Livelock(f"time has stood still at {self._now:.6f} s{self._who_waits()}")

    def _who_waits(self) -> str:
        tasks = sorted((task for task in asyncio.all_tasks(self) if not task.done()), key=lambda task: task.get_name())
        names = [f"{task.get_name()} in {_place(task)}" for task in tasks[:_MAX_TASKS_NAMED]]
        if len(tasks) > _MAX_TASKS_NAMED:
            names.append(f"and {len(tasks) - _MAX_TASKS_NAMED} more")
        return f"; waiting: {', '.join(names)}" if names else ""

    def _process_events(self, event_list: list[Any]) -> None:
        """There is no I/O, so there are no events."""

    # Threads ------------------------------------------------------------------------------------------

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run `func` at once, in this thread; `executor` is not used."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - as an executor does: the failure belongs to who awaits
            future.set_exception(error)
        return future

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """`call_soon`, from the loop's own thread only."""
        if threading.get_ident() != self._thread_id:  # type: ignore[attr-defined] # not in typeshed
            raise RealIoRefused("another thread called into a loop under virtual time")
        return self.call_soon(callback, *args, context=context)


_REAL_IO: Final = """
    add_reader remove_reader add_writer remove_writer add_signal_handler remove_signal_handler getaddrinfo getnameinfo
    create_connection create_server create_datagram_endpoint create_unix_connection create_unix_server
    connect_accepted_socket start_tls sendfile sock_sendfile sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into
    sock_sendall sock_sendto sock_connect sock_accept connect_read_pipe connect_write_pipe subprocess_shell
    subprocess_exec
""".split()  # noqa: SIM905 - thirty names that wrap, not a list with one a line


def _refuse(loop: VirtualTimeLoop, *_: Any, **__: Any) -> NoReturn:
    raise RealIoRefused("a loop under virtual time has no sockets, pipes, signals or processes")


for _method in _REAL_IO:
    setattr(VirtualTimeLoop, _method, _refuse)


class _Leap:
    """Takes the place of the selector in asyncio's loop."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        """Let the loop go to its next timer; `timeout` is None when there is none and 0 when something is ready."""
        self._loop._leap(timeout)
        return []


class VirtualClock:
    """`shared.clock.Clock` on a loop under virtual time.

    Args:
        loop: source of time.
        wall_at_start: seconds since the Unix epoch that belong to the loop's present time.
    """

    def __init__(self, loop: VirtualTimeLoop, *, wall_at_start: float = WALL_AT_START) -> None:
        self._loop = loop
        self._wall_offset = wall_at_start - loop.time()

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._loop.time()

    def wall(self) -> float:
        """Virtual seconds since the Unix epoch."""
        return self._loop.time() + self._wall_offset

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of virtual time."""
        await asyncio.sleep(seconds)


def run(
    main: Callable[[VirtualClock], Coroutine[Any, Any, T]], *, start: float = START_S, max_rounds: int | None = None
) -> T:
    """The result of a coroutine that runs under virtual time, alone on a loop of its own.

    Args:
        main: called with the clock of the loop.
        start: seconds on the clock at the beginning.
        max_rounds: see `VirtualTimeLoop`.

    Raises:
        Deadlock, Livelock, RealIoRefused, UnhandledFailure: see the rules of this module.
    """
    return run_on(VirtualTimeLoop(start=start, max_rounds=max_rounds), main)


def run_on(loop: VirtualTimeLoop, main: Callable[[VirtualClock], Coroutine[Any, Any, T]]) -> T:
    """`run` on a given loop, which is closed afterwards: for loops with rules of their own."""

    async def body() -> T:
        return await main(VirtualClock(loop))

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        try:
            result = runner.run(body())
        except VirtualTimeError as error:
            if loop.failures:  # what failed unheard is the likely reason why others wait for ever
                raise error from loop.failures[0]
            raise
    if loop.failures:
        raise UnhandledFailure("an exception was handled by nobody") from loop.failures[0]
    return result


def _keep_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, VirtualTimeLoop)
    failure = context.get("exception")
    loop.failures.append(failure if failure is not None else RuntimeError(context["message"]))


def _place(task: asyncio.Task[Any]) -> str:
    """Innermost function the task stands in."""
    stack = task.get_stack(limit=1)
    return stack[-1].f_code.co_qualname if stack else "nothing"
