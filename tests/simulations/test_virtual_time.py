"""The event loop under virtual time, by its rules."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from shared.wire.waiting import Alarm, within
from simulations.virtual_time import (
    START_S,
    WALL_AT_START,
    Deadlock,
    Livelock,
    RealIoRefused,
    UnhandledFailure,
    VirtualClock,
    VirtualTimeError,
    run,
)


def test_hours_pass_at_once_and_exactly() -> None:
    async def main(clock: VirtualClock) -> tuple[float, float]:
        await clock.sleep(3 * 3600.0)
        return clock.monotonic(), clock.wall()

    before = time.monotonic()
    assert run(main) == (START_S + 10_800.0, WALL_AT_START + 10_800.0)
    assert time.monotonic() - before < 5.0


def test_time_stands_still_while_anything_is_ready() -> None:
    async def main(clock: VirtualClock) -> set[float]:
        seen = set()
        for _ in range(100):
            await asyncio.sleep(0)
            seen.add(clock.monotonic())
        return seen

    assert run(main) == {START_S}


def test_a_timer_finds_the_clock_at_its_own_time_and_never_before() -> None:
    async def main(clock: VirtualClock) -> list[float]:
        late: list[float] = []
        loop = asyncio.get_running_loop()
        due = [clock.monotonic() + step * 0.1 / 3 for step in range(1, 2000)]
        for at in due:
            loop.call_at(at, lambda at=at: late.append(clock.monotonic() - at))
        await clock.sleep(100)
        return late

    late = run(main)
    assert len(late) == 1999
    assert min(late) >= 0
    assert max(late) < 1e-8


def test_timers_of_many_tasks_interleave_in_the_order_of_their_times() -> None:
    async def main(clock: VirtualClock) -> list[tuple[float, str]]:
        log: list[tuple[float, str]] = []

        async def tick(name: str, period: float) -> None:
            for _ in range(3):
                await clock.sleep(period)
                log.append((round(clock.monotonic() - START_S, 6), name))

        await asyncio.gather(tick("slow", 2.5), tick("fast", 1.0))
        return log

    assert run(main) == [(1.0, "fast"), (2.0, "fast"), (2.5, "slow"), (3.0, "fast"), (5.0, "slow"), (7.5, "slow")]


def test_timeouts_of_asyncio_and_of_the_product_work() -> None:
    async def main(clock: VirtualClock) -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await within(clock, 60, asyncio.Event().wait())
        alarm = Alarm(clock)
        await alarm.wait(clock.monotonic() + 60)
        return clock.monotonic() - START_S

    assert run(main) == pytest.approx(180)


def test_waiting_for_what_cannot_come_is_a_deadlock_that_names_who_waits() -> None:
    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    async def main(clock: VirtualClock) -> None:
        await clock.sleep(5)
        await asyncio.create_task(wait_for_nobody(), name="the one who waits")

    with pytest.raises(Deadlock, match=r"at 1005\.000000 s.*the one who waits in .*wait_for_nobody"):
        run(main)


def test_tasks_that_keep_each_other_busy_are_a_livelock() -> None:
    async def main(clock: VirtualClock) -> None:
        one, other = asyncio.Event(), asyncio.Event()

        async def wake(mine: asyncio.Event, theirs: asyncio.Event) -> None:
            while True:
                theirs.set()
                await mine.wait()
                mine.clear()

        await asyncio.gather(wake(one, other), wake(other, one))

    with pytest.raises(Livelock, match="stood still"):
        run(main)


def test_a_run_has_a_bounded_number_of_rounds() -> None:
    async def main(clock: VirtualClock) -> None:
        while True:
            await clock.sleep(0.001)

    with pytest.raises(Livelock, match="500 rounds"):
        run(main, max_rounds=500)


def test_work_for_threads_is_done_at_once_in_the_loops_own_thread() -> None:
    def fail() -> None:
        raise ValueError("as it should")

    async def main(clock: VirtualClock) -> tuple[bool, float]:
        same = await asyncio.to_thread(threading.get_ident) == threading.get_ident()
        with pytest.raises(ValueError, match="as it should"):
            await asyncio.get_running_loop().run_in_executor(None, fail)
        return same, clock.monotonic()

    assert run(main) == (True, START_S)


def test_real_input_and_output_are_refused() -> None:
    async def main(clock: VirtualClock) -> None:
        with pytest.raises(RealIoRefused):
            await asyncio.open_connection("localhost", 1)
        with pytest.raises(RealIoRefused):
            await asyncio.create_subprocess_exec(sys.executable)
        refused: list[BaseException] = []

        def intrude(loop: asyncio.AbstractEventLoop) -> None:
            try:
                loop.call_soon_threadsafe(print)
            except VirtualTimeError as error:
                refused.append(error)

        thread = threading.Thread(target=intrude, args=(asyncio.get_running_loop(),))
        thread.start()
        thread.join(10)
        assert len(refused) == 1

    run(main)


def test_an_exception_that_nobody_handles_fails_the_run() -> None:
    def broken() -> None:
        raise KeyError("lost")

    async def main(clock: VirtualClock) -> str:
        asyncio.get_running_loop().call_later(1, broken)
        await clock.sleep(2)
        return "unnoticed"

    with pytest.raises(UnhandledFailure) as raised:
        run(main)
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_deadlock_tells_of_the_failure_behind_it() -> None:
    def broken() -> None:
        raise KeyError("lost")

    async def main(clock: VirtualClock) -> None:
        asyncio.get_running_loop().call_soon(broken)
        await asyncio.Event().wait()

    with pytest.raises(Deadlock) as raised:
        run(main)
    assert isinstance(raised.value.__cause__, KeyError)


def test_the_result_of_the_coroutine_or_its_exception_comes_back() -> None:
    async def main(clock: VirtualClock) -> None:
        raise LookupError("of its own")

    with pytest.raises(LookupError, match="of its own"):
        run(main)


_BUSY = """
import asyncio, random
from simulations.virtual_time import run
async def main(clock):
    rng, log, queue = random.Random(7), [], asyncio.Queue(3)
    async def work(name):
        for _ in range(50):
            await clock.sleep(rng.choice((0.0, 0.5, 0.5, 1.25)))
            await queue.put(name)
    async def drain():
        while True:
            log.append((round(clock.monotonic(), 6), await queue.get()))
            await clock.sleep(rng.choice((0.0, 0.25)))
    drainer = asyncio.create_task(drain())
    await asyncio.gather(*(work(name) for name in "abcde"))
    drainer.cancel()
    return log
print(run(main))
"""


def test_the_order_of_events_is_the_same_in_every_process() -> None:
    def trace(hash_seed: str) -> str:
        command = [sys.executable, "-c", _BUSY]
        environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=50).stdout

    first = trace("1")
    assert len(first) > 1000
    assert first == trace("2")
