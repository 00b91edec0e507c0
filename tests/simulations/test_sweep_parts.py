"""What the sweep is made of: computing takes virtual time, strips carry traces, phone and cloud replay them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from synthetic_traces import synthetic_traces

from phone.cascade.inputs import Recogniser
from phone.cascade.privacy import PrivateKind, find_private
from phone.readings import is_better, to_message, to_signals
from shared.errors import InputError
from shared.messages.wayword.v1 import cloud_pb2, link_pb2, types_pb2
from simulations.sweep.book import PRIVATE_SAMPLES, TraceBook, number_in, private_text, word_of
from simulations.sweep.cloudside import CloudSide
from simulations.sweep.computing import compute, run_computing
from simulations.sweep.replay import TraceReader, Verdicts
from simulations.sweep.uplink import CALL_UP_BYTES, SEGMENT_BYTES, SEGMENT_HEADER_BYTES, call_up_bytes
from simulations.virtual_time import VirtualClock

TRACES = synthetic_traces(60, seed=3)


def strip(book: TraceBook, number: int) -> types_pb2.Strip:
    payload = book.strip_object(number, frame_id=7, region_id=number + 1, captured_us=99)
    return link_pb2.LinkObject.FromString(payload).strip


def test_a_worker_computes_one_job_after_the_other_and_two_workers_compute_two() -> None:
    async def main(clock: VirtualClock) -> list[float]:
        loop, start = asyncio.get_running_loop(), clock.monotonic()
        ended: list[float] = []

        async def job(pool: ThreadPoolExecutor, seconds: float) -> None:
            await loop.run_in_executor(pool, compute, seconds)
            ended.append(round(clock.monotonic() - start, 6))

        with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(2) as two:
            await asyncio.gather(*(job(one, 1.0) for _ in range(3)))
            await asyncio.gather(*(job(two, 10.0) for _ in range(3)))
        return ended

    assert run_computing(main) == [1.0, 2.0, 3.0, 13.0, 13.0, 23.0]


def test_a_job_that_fails_fails_when_it_would_have_been_done() -> None:
    async def main(clock: VirtualClock) -> float:
        def broken() -> None:
            compute(2.0)
            raise InputError("no picture")

        start = clock.monotonic()
        with pytest.raises(InputError):
            await asyncio.to_thread(broken)
        return clock.monotonic() - start

    assert run_computing(main) == 2.0


def test_computing_outside_a_job_or_for_an_impossible_time_is_an_error() -> None:
    async def main(clock: VirtualClock) -> None:
        with pytest.raises(RuntimeError, match="only a job"):
            compute(1.0)
        with pytest.raises(ValueError, match="cannot compute"):
            await asyncio.to_thread(compute, float("nan"))

    run_computing(main)


def test_a_strip_has_the_traced_size_and_carries_its_number() -> None:
    book = TraceBook(TRACES)
    for number, trace in enumerate(TRACES):
        message = strip(book, number)
        assert [number_in(line.image) for line in message.lines] == [number] * trace.lines
        assert abs(message.ByteSize() - trace.strip_bytes) <= 32


def test_every_segment_of_a_long_request_has_its_header() -> None:
    assert call_up_bytes(4 * SEGMENT_BYTES) == 4 * SEGMENT_BYTES + CALL_UP_BYTES
    assert call_up_bytes(28 * SEGMENT_BYTES) == 28 * SEGMENT_BYTES + CALL_UP_BYTES + 24 * SEGMENT_HEADER_BYTES


def test_words_in_the_place_of_texts_look_like_nothing_private_and_private_ones_like_what_they_are() -> None:
    assert all(find_private(word_of("phrase", number)) is None for number in range(500))
    assert all(find_private(text) is kind for kind, text in PRIVATE_SAMPLES.items())
    assert all(find_private(private_text(kind)) is not None for kind in PrivateKind)


@pytest.mark.parametrize("recogniser", list(Recogniser))
def test_the_phone_replays_evidence_confidence_and_privacy(recogniser: Recogniser) -> None:
    async def main(clock: VirtualClock) -> None:
        book = TraceBook(TRACES)
        reader = TraceReader(book, compute_factor=2.0, verdicts=Verdicts(), cache=None)
        for number, trace in enumerate(TRACES):
            local = trace.local[recogniser.value]
            started = clock.monotonic()
            reading = await asyncio.to_thread(reader.read, strip(book, number), recogniser)
            assert clock.monotonic() - started == pytest.approx(local.milliseconds / 500)
            assert reading.evidence == local.evidence
            signals = to_signals(reading, request_bytes=1, direction_refused=False)
            if local.evidence is not None:
                assert (signals.private is None) == (local.private is None)
                assert signals.translation == local.confidence.translation
            assert bool(reading.meaning.translation) == bool(local.translation)

    run_computing(main)


def test_the_cloud_replays_its_reading_and_takes_its_time() -> None:
    async def main(clock: VirtualClock) -> None:
        book = TraceBook(TRACES)
        cloud = CloudSide(book, clock=clock, compute_factor=0.5)
        reader = TraceReader(book, compute_factor=0.0, verdicts=Verdicts(), cache=None)
        better = 0
        for number, trace in enumerate(TRACES):
            request = cloud_pb2.ReadStripRequest(
                idempotency_key=f"key {number}", strip=strip(book, number), direction=types_pb2.Direction(target="en")
            )
            started = clock.monotonic()
            reply = await cloud.read_strip(request, deadline=started + 3.0)
            assert clock.monotonic() - started == pytest.approx(trace.cloud.milliseconds / 2e3)
            assert reply.reading.confidence.recognition == pytest.approx(trace.cloud.confidence.recognition)
            assert reply.reading.confidence.translation == pytest.approx(trace.cloud.confidence.translation)
            local = await asyncio.to_thread(reader.read, request.strip, Recogniser.TINY)
            replaces = is_better(reply.reading, to_message(local, types_pb2.READING_STATE_KEPT))
            if local.text:
                better += replaces == trace.cloud.replaces["tiny"]
            assert cloud.work.runs == number + 1
        assert better > 0.8 * len([trace for trace in TRACES if trace.local["tiny"].text])
        await cloud.close()

    run_computing(main)
