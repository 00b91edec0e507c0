"""Which lines are computed together, in which order, and which never."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from cloud.reading.batcher import Batcher, BatcherClosed, BatchPlan
from cloud.reading.claims import Claim, on_behalf_of
from cloud.refusals import Reason, Refusal


class ManualClock:
    """A clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class GatedComputer:
    """Computes a batch only when the test opens its gate; remembers the batches."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        self.entered.set()
        assert self.gate.wait(10), "the test never opened the gate"
        if "broken" in items:
            raise ValueError("no such line")
        return [item.upper() for item in items]


class Bench:
    """A batcher with one thread that is busy until the gate opens, and callers in threads of their own."""

    def __init__(self, plan: BatchPlan) -> None:
        self.clock = ManualClock()
        self.computer = GatedComputer()
        self.batcher = Batcher[str, str]([self.computer], clock=self.clock, plan=plan)
        self.callers = ThreadPoolExecutor(8)
        self._expected = 0

    def busy(self) -> Future[list[str]]:
        """Occupy the only thread."""
        call = self.callers.submit(self.batcher.compute, [(0, "busy")])
        assert self.computer.entered.wait(10)
        return call

    def submit(self, *items: tuple[int, str], claim: Claim | None = None) -> Future[list[str]]:
        """A caller's lines, which wait when this returns."""

        def call() -> list[str]:
            with on_behalf_of(claim or Claim()):
                return self.batcher.compute(items)

        self._expected += len(items)
        future = self.callers.submit(call)
        until(lambda: self.batcher.waiting == self._expected)
        return future

    def close(self) -> None:
        self.computer.gate.set()
        self.batcher.close()
        self.callers.shutdown()


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    pause = threading.Event()
    for _ in range(5000):
        if condition():
            return
        pause.wait(0.002)
    raise AssertionError("it never came about")


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def build(**plan: float) -> Bench:
        made.append(Bench(BatchPlan(**{"max_batch": 4, **plan})))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for bench in made:
        bench.close()


def test_lines_of_one_width_are_computed_together_and_answered_each_to_its_caller(make: Callable[..., Bench]) -> None:
    bench = make()
    busy = bench.busy()
    first = bench.submit((320, "a"), (640, "x"), (320, "b"))
    second = bench.submit((320, "c"))
    bench.computer.gate.set()
    assert first.result(10) == ["A", "X", "B"]
    assert second.result(10) == ["C"]
    assert busy.result(10) == ["BUSY"]
    assert sorted(bench.computer.batches) == [["a", "b", "c"], ["busy"], ["x"]]


def test_the_bucket_with_the_most_urgent_line_goes_first(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.busy()
    calls = [
        bench.submit((320, "patient"), claim=Claim(190.0)),
        bench.submit((640, "urgent"), claim=Claim(110.0)),
        bench.submit((960, "between"), claim=Claim(150.0)),
        bench.submit((640, "along"), claim=Claim(195.0)),
    ]
    bench.computer.gate.set()
    for call in calls:
        call.result(10)
    assert bench.computer.batches[1:] == [["urgent", "along"], ["between"], ["patient"]]


def test_a_batch_has_the_most_urgent_lines_and_no_more_than_it_may(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=2)
    bench.busy()
    calls = [bench.submit((320, str(at)), claim=Claim(at)) for at in (150.0, 130.0, 140.0)]
    bench.computer.gate.set()
    for call in calls:
        call.result(10)
    assert bench.computer.batches[1:] == [["130.0", "140.0"], ["150.0"]]


def test_a_line_whose_deadline_passed_or_whose_caller_left_is_never_computed(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.busy()
    late = bench.submit((320, "late"), claim=Claim(105.0))
    gone = Claim(190.0)
    left = bench.submit((320, "left"), claim=gone)
    stays = bench.submit((320, "stays"), claim=Claim(190.0))
    bench.clock.now = 106.0
    gone.left = True
    bench.computer.gate.set()
    assert stays.result(10) == ["STAYS"]
    for call in (late, left):
        with pytest.raises(Refusal) as refusal:
            call.result(10)
        assert refusal.value.reason is Reason.EXPIRED
    assert bench.computer.batches == [["busy"], ["stays"]]


def test_who_waits_for_a_line_under_way_does_not_wait_beyond_the_deadline(make: Callable[..., Bench]) -> None:
    bench = make()
    claim = Claim(105.0)
    with ThreadPoolExecutor(1) as caller:

        def call() -> list[str]:
            with on_behalf_of(claim):
                return bench.batcher.compute([(320, "slow")])

        slow = caller.submit(call)
        assert bench.computer.entered.wait(10)
        bench.clock.now = 106.0
        with pytest.raises(Refusal):
            slow.result(10)


def test_a_failing_line_fails_its_caller_and_nobody_else(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.busy()
    broken = bench.submit((320, "broken"), (640, "never needed"))
    beside = bench.submit((320, "beside"))
    sound = bench.submit((960, "sound"))
    bench.computer.gate.set()
    with pytest.raises(ValueError, match="no such line"):
        broken.result(10)
    assert beside.result(10) == ["BESIDE"], "computed again without the broken line"
    assert sound.result(10) == ["SOUND"]


def test_a_full_queue_refuses_at_once(make: Callable[..., Bench]) -> None:
    bench = make(max_waiting=2)
    bench.busy()
    bench.submit((320, "a"))
    with pytest.raises(Refusal) as refusal:
        bench.batcher.compute([(320, "b"), (320, "c")])
    assert refusal.value.reason is Reason.OVERLOADED
    assert refusal.value.retry_after_s is not None


def test_a_thread_waits_for_company_but_not_once_the_batch_is_full(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=2, linger_s=30.0)
    bench.computer.gate.set()
    first = bench.callers.submit(bench.batcher.compute, [(320, "a")])
    until(lambda: bench.batcher.waiting == 1)
    second = bench.callers.submit(bench.batcher.compute, [(320, "b")])
    assert first.result(10) == ["A"]
    assert second.result(10) == ["B"]
    assert [len(batch) for batch in bench.computer.batches] == [2]


def test_a_line_of_another_width_does_not_wait_for_the_company_of_others() -> None:
    idle = GatedComputer()
    idle.gate.set()
    batcher = Batcher[str, str]([idle, idle], clock=ManualClock(), plan=BatchPlan(max_batch=2, linger_s=30.0))
    near = Claim(ManualClock().now + 0.01)
    with ThreadPoolExecutor(1) as caller:
        patient = caller.submit(batcher.compute, [(320, "a")])
        until(lambda: batcher.waiting == 1)
        with on_behalf_of(near):
            assert batcher.compute([(640, "urgent")]) == ["URGENT"]
        assert not patient.done(), "it still waits for company"
        batcher.compute([(320, "b")])
        assert patient.result(10) == ["A"]
    batcher.close()


def test_a_thread_that_may_not_stand_back_works_nevertheless(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError("setpriority")

    monkeypatch.setattr("os.setpriority", forbidden)
    batcher = Batcher[str, str]([lambda items: list(items)], clock=ManualClock())
    with on_behalf_of(Claim()):
        assert batcher.compute([(320, "a")]) == ["a"]
    batcher.close()


def test_nobody_waits_for_company_when_the_deadline_is_near(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=2, linger_s=30.0)
    bench.computer.gate.set()
    near = Claim(bench.clock.now + 0.01)
    with on_behalf_of(near):
        assert bench.batcher.compute([(320, "a")]) == ["A"]


def test_without_company_a_line_goes_alone(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=8, linger_s=0.001)
    bench.computer.gate.set()
    assert bench.batcher.compute([(320, "a")]) == ["A"]


def test_closing_fails_what_waits_and_refuses_what_comes(make: Callable[..., Bench]) -> None:
    bench = make()
    busy = bench.busy()
    waiting = bench.submit((320, "waiting"))
    closing = threading.Thread(target=bench.batcher.close)
    closing.start()
    with pytest.raises(BatcherClosed):
        waiting.result(10)
    bench.computer.gate.set()
    closing.join(10)
    assert busy.result(10) == ["BUSY"], "what was under way is finished"
    with pytest.raises(BatcherClosed):
        bench.batcher.compute([(320, "a")])


def test_many_threads_get_what_they_asked_for() -> None:
    batcher = Batcher[int, int]([lambda items: [2 * item for item in items]] * 3, clock=ManualClock())
    try:
        with ThreadPoolExecutor(8) as callers:
            calls = [callers.submit(batcher.compute, [(n % 5, n), (n % 3, -n)]) for n in range(300)]
            assert [call.result(10) for call in calls] == [[2 * n, -2 * n] for n in range(300)]
    finally:
        batcher.close()
