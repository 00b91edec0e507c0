"""Who is computed, in which order, and who is refused at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cloud.reading.claims import current_claim
from cloud.reading.scheduler import HEADROOM, Scheduler
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


class GatedWorker:
    """Computes a job only when the test opens its gate; remembers what it computed."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.computed: list[str] = []

    def __call__(self, job: str) -> str:
        self.computed.append(job)
        assert self.gate.wait(10), "the test never opened the gate"
        if job == "broken":
            raise ValueError("no such job")
        return job.upper()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def worker() -> GatedWorker:
    return GatedWorker()


def make(worker: GatedWorker, clock: ManualClock, *, max_waiting: int = 4, seconds: float = 1.0) -> Scheduler[str, str]:
    return Scheduler([worker], clock=clock, max_waiting=max_waiting, seconds_per_unit=seconds)


async def started(task: asyncio.Task[str]) -> asyncio.Task[str]:
    """Give a submission the chance to be admitted or refused."""
    await asyncio.sleep(0)
    return task


def submit(scheduler: Scheduler[str, str], job: str, *, deadline: float = 200.0) -> asyncio.Task[str]:
    return asyncio.create_task(scheduler.submit(job, cost=1.0, deadline=deadline))


async def test_jobs_run_in_the_order_they_came(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock)
    tasks = [submit(scheduler, job) for job in ("a", "b", "c")]
    worker.gate.set()
    assert await asyncio.gather(*tasks) == ["A", "B", "C"]
    assert worker.computed == ["a", "b", "c"]
    await scheduler.close()


async def test_an_idle_worker_takes_a_job_however_dark_the_estimate(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock, seconds=1000.0)
    worker.gate.set()
    assert await scheduler.submit("a", cost=1.0, deadline=100.5) == "A"
    await scheduler.close()


async def test_a_deadline_already_past_is_not_computed(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock)
    with pytest.raises(Refusal) as refusal:
        await scheduler.submit("a", cost=1.0, deadline=100.0)
    assert refusal.value.reason is Reason.EXPIRED
    assert worker.computed == []
    await scheduler.close()


async def test_a_wait_longer_than_the_deadline_is_refused_with_the_time_to_come_back(
    clock: ManualClock, worker: GatedWorker
) -> None:
    scheduler = make(worker, clock, seconds=1.0)
    first = await started(submit(scheduler, "a"))
    second = await started(submit(scheduler, "b", deadline=103.0))
    clock.now += 0.25
    with pytest.raises(Refusal) as refusal:
        await scheduler.submit("c", cost=1.0, deadline=clock.now + 2.7 / HEADROOM)
    assert refusal.value.reason is Reason.OVERLOADED
    assert refusal.value.retry_after_s == pytest.approx(1.75), "0.75 s of the running job, 1 s of the waiting one"
    third = await started(submit(scheduler, "c", deadline=clock.now + 2.8 / HEADROOM))
    worker.gate.set()
    assert await asyncio.gather(first, second, third) == ["A", "B", "C"]
    await scheduler.close()


async def test_work_that_varies_is_admitted_with_a_margin(clock: ManualClock) -> None:
    def work(job: str) -> str:
        clock.now += float(job)
        return job

    steady = Scheduler[str, str]([work], clock=clock, max_waiting=4, seconds_per_unit=1.0)
    varying = Scheduler[str, str]([work], clock=clock, max_waiting=4, seconds_per_unit=1.0)
    for index in range(40):
        await steady.submit("1.0", cost=1.0, deadline=1e9)
        await varying.submit("0.2" if index % 2 else "1.8", cost=1.0, deadline=1e9)
    for scheduler, spare, admitted in ((steady, 0.1, True), (varying, 0.8, False), (varying, 4.0, True)):
        running = asyncio.create_task(scheduler.submit("0", cost=1.0, deadline=1e9))
        await asyncio.sleep(0)
        # On average the running job and this one take two seconds.
        waiting = asyncio.create_task(scheduler.submit("0", cost=1.0, deadline=clock.now + (2.0 + spare) / HEADROOM))
        results = await asyncio.gather(running, waiting, return_exceptions=True)
        assert isinstance(results[1], Refusal) is not admitted, (spare, results)
    await steady.close()
    await varying.close()


async def test_a_full_queue_refuses(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock, max_waiting=1)
    running = await started(submit(scheduler, "a"))
    waiting = await started(submit(scheduler, "b"))
    with pytest.raises(Refusal) as refusal:
        await scheduler.submit("c", cost=1.0, deadline=1e9)
    assert refusal.value.reason is Reason.OVERLOADED
    worker.gate.set()
    await asyncio.gather(running, waiting)
    await scheduler.close()


async def test_a_cancelled_call_is_not_computed_and_leaves_its_place(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock, max_waiting=1)
    running = await started(submit(scheduler, "a"))
    leaving = await started(submit(scheduler, "b"))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert scheduler.waiting == 0
    staying = await started(submit(scheduler, "c"))
    worker.gate.set()
    assert await asyncio.gather(running, staying) == ["A", "C"]
    assert worker.computed == ["a", "c"]
    await scheduler.close()


async def test_a_call_that_expires_while_it_waits_is_not_computed(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock, seconds=0.1)
    running = await started(submit(scheduler, "a"))
    late = await started(submit(scheduler, "b", deadline=105.0))
    clock.now = 106.0
    worker.gate.set()
    assert await running == "A"
    with pytest.raises(Refusal) as refusal:
        await late
    assert refusal.value.reason is Reason.EXPIRED
    assert worker.computed == ["a"]
    await scheduler.close()


async def test_a_failing_job_fails_alone(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock)
    broken, sound = submit(scheduler, "broken"), submit(scheduler, "a")
    worker.gate.set()
    with pytest.raises(ValueError, match="no such job"):
        await broken
    assert await sound == "A"
    await scheduler.close()


async def test_close_finishes_what_was_admitted_and_refuses_the_rest(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock)
    running = await started(submit(scheduler, "a"))
    waiting = await started(submit(scheduler, "b"))
    closing = asyncio.create_task(scheduler.close())
    await asyncio.sleep(0)
    with pytest.raises(Refusal) as refusal:
        await scheduler.submit("c", cost=1.0, deadline=1e9)
    assert refusal.value.reason is Reason.DRAINING
    assert not closing.done()
    worker.gate.set()
    assert await asyncio.gather(running, waiting) == ["A", "B"]
    await closing


async def test_two_workers_compute_two_jobs_at_once(clock: ManualClock) -> None:
    workers = [GatedWorker(), GatedWorker()]
    scheduler = Scheduler[str, str](workers, clock=clock, max_waiting=0, seconds_per_unit=1.0)
    tasks = [submit(scheduler, job) for job in ("a", "b")]
    for worker in workers:
        worker.gate.set()
    assert await asyncio.gather(*tasks) == ["A", "B"]
    assert sorted(job for worker in workers for job in worker.computed) == ["a", "b"]
    await scheduler.close()


async def test_the_most_urgent_job_goes_first(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock)
    tasks = [await started(submit(scheduler, "running"))]
    for job, deadline in (("later", 190.0), ("soon", 120.0), ("last", 195.0)):
        tasks.append(await started(submit(scheduler, job, deadline=deadline)))
    worker.gate.set()
    await asyncio.gather(*tasks)
    assert worker.computed == ["running", "soon", "later", "last"]
    await scheduler.close()


async def test_an_urgent_call_is_refused_when_it_would_make_an_admitted_one_late(
    clock: ManualClock, worker: GatedWorker
) -> None:
    scheduler = make(worker, clock, seconds=1.0)
    running = await started(submit(scheduler, "running"))
    admitted = await started(submit(scheduler, "admitted", deadline=clock.now + 2.9))
    with pytest.raises(Refusal) as refusal:
        await scheduler.submit("urgent", cost=1.0, deadline=clock.now + 2.8)
    assert refusal.value.reason is Reason.OVERLOADED
    worker.gate.set()
    assert await asyncio.gather(running, admitted) == ["RUNNING", "ADMITTED"]
    await scheduler.close()


def background(scheduler: Scheduler[str, str], job: str) -> asyncio.Task[str]:
    return asyncio.create_task(scheduler.submit(job, cost=1.0, deadline=150.0, urgent=False))


async def test_jobs_of_batches_give_way_to_those_of_phones(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock)
    tasks = [await started(submit(scheduler, "running"))]
    tasks += [await started(background(scheduler, job)) for job in ("batch 1", "batch 2")]
    tasks.append(await started(submit(scheduler, "phone", deadline=199.0)))
    worker.gate.set()
    await asyncio.gather(*tasks)
    assert worker.computed == ["running", "phone", "batch 1", "batch 2"]
    await scheduler.close()


async def test_batches_take_no_place_in_the_queue_from_phones(clock: ManualClock, worker: GatedWorker) -> None:
    scheduler = make(worker, clock, max_waiting=1)
    tasks = [await started(submit(scheduler, "running"))]
    tasks.append(await started(background(scheduler, "batch")))
    with pytest.raises(Refusal):
        await scheduler.submit("another batch", cost=1.0, deadline=150.0, urgent=False)
    tasks.append(await started(submit(scheduler, "phone")))
    worker.gate.set()
    assert await asyncio.gather(*tasks) == ["RUNNING", "BATCH", "PHONE"]
    await scheduler.close()


async def test_batches_leave_a_worker_to_phones(clock: ManualClock) -> None:
    workers = [GatedWorker(), GatedWorker()]
    scheduler = Scheduler[str, str](workers, clock=clock, max_waiting=4, seconds_per_unit=1.0)
    batch = [await started(background(scheduler, job)) for job in ("batch 1", "batch 2")]
    assert scheduler.waiting == 1, "one of two workers is left"
    phone = await started(submit(scheduler, "phone"))
    assert scheduler.waiting == 1, "the phone need not wait"
    for worker in workers:
        worker.gate.set()
    assert await asyncio.gather(*batch, phone) == ["BATCH 1", "BATCH 2", "PHONE"]
    await scheduler.close()


async def test_a_caller_who_leaves_ends_the_claim_of_the_job_under_way(clock: ManualClock) -> None:
    entered, left = threading.Event(), threading.Event()

    def work(job: str) -> str:
        claim = current_claim()
        assert claim.deadline == 150.0
        entered.set()
        assert left.wait(10)
        claim.check(clock.now)
        return job

    scheduler = Scheduler[str, str]([work], clock=clock, max_waiting=4, seconds_per_unit=1.0)
    leaving = await started(submit(scheduler, "a", deadline=150.0))
    assert await asyncio.to_thread(entered.wait, 10)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    left.set()
    await scheduler.close()
    assert not current_claim().left, "a claim is its thread's own"


async def test_each_kind_of_job_is_measured_by_itself(clock: ManualClock) -> None:
    def work(job: str) -> str:
        clock.now += float(job)
        return job

    scheduler = Scheduler[str, str]([work], clock=clock, max_waiting=4, seconds_per_unit=1.0)
    for _ in range(40):
        await scheduler.submit("0.1", cost=1.0, deadline=1e9, kind="text")
        await scheduler.submit("5", cost=1.0, deadline=1e9, kind="frame")
    running = asyncio.create_task(scheduler.submit("0", cost=1.0, deadline=1e9, kind="text"))
    await asyncio.sleep(0)
    quick = asyncio.create_task(scheduler.submit("0", cost=1.0, deadline=clock.now + 1.0, kind="text"))
    slow = asyncio.create_task(scheduler.submit("0", cost=1.0, deadline=clock.now + 4.0, kind="frame"))
    results = await asyncio.gather(running, quick, slow, return_exceptions=True)
    assert results[:2] == ["0", "0"]
    assert isinstance(results[2], Refusal)
    await scheduler.close()


async def test_a_job_that_was_stopped_at_its_deadline_teaches_that_work_takes_longer(clock: ManualClock) -> None:
    def work(job: str) -> str:
        clock.now += 8.0
        current_claim().check(clock.now)
        return job

    scheduler = Scheduler[str, str]([work], clock=clock, max_waiting=4, seconds_per_unit=1.0)
    for _ in range(10):
        with pytest.raises(Refusal):
            await scheduler.submit("a", cost=1.0, deadline=clock.now + 5.0)
    running = await started(submit(scheduler, "a", deadline=1e9))
    with pytest.raises(Refusal) as refusal:
        await scheduler.submit("b", cost=1.0, deadline=clock.now + 5.0)
    assert refusal.value.reason is Reason.OVERLOADED
    await running
    await scheduler.close()
