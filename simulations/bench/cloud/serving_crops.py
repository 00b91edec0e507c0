"""Lines a second: the service's recognition path beside bare ONNX Runtime, on the very same lines.

Bare: two threads, each with an `onnxruntime.InferenceSession` of one thread and nothing else, take lines from one list;
each encodes its line, runs the network and decodes the answer. The service's path:
`cloud.reading.loading.load_recogniser`, the batcher with its sessions, and as many worker threads as the service has,
each handing in the lines of one sign at a time on behalf of a deadline, as `LargeReader` does. Encoding and decoding
are the same functions on both sides.

The whole service is a `wayword-cloud serve` process with a client process: it also parses and validates, decodes the
pictures, looks again at lines that are unsure, judges scripts and translates, so it does more for a line.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import onnxruntime

from cloud.reading.batched_recognition import BatchedRecogniser
from cloud.reading.claims import Claim, on_behalf_of
from cloud.reading.loading import RECOGNITION_PACK, load_recogniser
from cloud.reading.threads import stand_back
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.geometry import ImageBgr
from shared.limits import MAX_STRIP_HEIGHT, MAX_STRIP_WIDTH
from shared.messages.wayword.v1 import cloud_pb2
from shared.models.device import Device
from shared.models.packs import PackStore, default_store_root
from shared.models.recognition import HEIGHT, MODEL_FILE, TextRecogniser
from shared.pictures import decode_picture
from simulations.bench.cloud.findings import Finding, Progress
from simulations.bench.cloud.load import Arrivals, Load, run_load

SESSIONS: Final = 2
"""Of bare ONNX Runtime."""
WORKERS: Final = len(os.sched_getaffinity(0))
"""Threads that hand lines in, as many as the service has by default."""
DEADLINE_S: Final = 30.0
Sign = Sequence[ImageBgr]
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Round:
    """What one side did in one round.

    Attributes:
        lines: read.
        seconds: of wall time.
        cpu_s: of this process.
    """

    lines: int
    seconds: float
    cpu_s: float

    @property
    def per_second(self) -> float:
        """Lines a second."""
        return self.lines / self.seconds


def signs_of(requests: Sequence[cloud_pb2.ReadStripRequest]) -> list[Sign]:
    """The decoded lines of each request."""
    return [
        [
            decode_picture(line.image, max_width=MAX_STRIP_WIDTH, max_height=MAX_STRIP_HEIGHT)
            for line in request.strip.lines
        ]
        for request in requests
    ]


class Bare:
    """ONNX Runtime, and two threads."""

    def __init__(self, recogniser: TextRecogniser) -> None:
        self._recogniser = recogniser
        self._sessions = []
        for _ in range(SESSIONS):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            # As in the product, so that the queue is compared and not a setting.
            options.enable_cpu_mem_arena = False
            self._sessions.append(
                onnxruntime.InferenceSession(
                    str(recogniser.pack.path(MODEL_FILE)), options, providers=["CPUExecutionProvider"]
                )
            )

    def run(self, signs: Sequence[Sign], seconds: float) -> Round:
        """Read lines in turns for some time."""
        lines = itertools.cycle([crop for sign in signs for crop in sign])

        def worker(crops: Iterator[ImageBgr], session: onnxruntime.InferenceSession) -> int:
            stand_back()  # as the service's threads do, so that the queue is compared and not a priority
            name = session.get_inputs()[0].name
            count = 0
            for crop in crops:
                (encoded,) = self._recogniser.encoded([crop])
                (answer,) = session.run(None, {name: encoded.tensor})
                self._recogniser.decoded(encoded, answer[0])
                count += 1
            return count

        return _timed([partial(worker, session=session) for session in self._sessions], lines, seconds)


class Batched:
    """The service's recognition path."""

    def __init__(self, recogniser: BatchedRecogniser) -> None:
        self._recogniser = recogniser

    def run(self, signs: Sequence[Sign], seconds: float) -> Round:
        """Read signs in turns for some time."""

        def worker(mine: Iterator[Sign]) -> int:
            stand_back()
            count = 0
            for sign in mine:
                with on_behalf_of(Claim(time.monotonic() + DEADLINE_S)):
                    count += len(self._recogniser.recognise(sign))
            return count

        return _timed([worker] * WORKERS, itertools.cycle(signs), seconds)


def measure_crops(
    requests: Sequence[cloud_pb2.ReadStripRequest], *, rounds: int, seconds: float, progress: Progress
) -> tuple[Bare, list[Finding]]:
    """Bare and batched in turns.

    Returns:
        The bare side, for more comparisons, and what was found.
    """
    signs = signs_of(requests)
    store = PackStore(default_store_root())
    recogniser = load_recogniser(store, CloudSettings(device=Device.CPU), clock=SystemClock())
    bare, batched = Bare(TextRecogniser.load(store.get(RECOGNITION_PACK))), Batched(recogniser)
    pairs: list[tuple[Round, Round]] = []
    try:
        for side in (bare, batched):
            side.run(signs, 0.5)
        for number in range(rounds):
            progress(f"lines a second, round {number + 1} of {rounds}")
            # Who goes first changes, so that a machine that slows down or warms up favours neither.
            first, second = (bare, batched) if number % 2 else (batched, bare)
            one, other = first.run(signs, seconds), second.run(signs, seconds)
            pairs.append((one, other) if number % 2 else (other, one))
    finally:
        recogniser.close()
    ratio = _ratio([(theirs.per_second, ours.per_second) for theirs, ours in pairs])
    cpu = _ratio([(ours.cpu_s / ours.lines, theirs.cpu_s / theirs.lines) for theirs, ours in pairs])
    rate = statistics.median(theirs.per_second for theirs, _ in pairs)
    ours_rate = statistics.median(ours.per_second for _, ours in pairs)
    note = f"{ours_rate:.1f} and {rate:.1f} lines/s, median of {rounds} interleaved rounds of {seconds:g} s"
    return bare, [
        Finding(
            f"lines/s of the recognition path against bare ONNX Runtime, {SESSIONS} sessions",
            ratio,
            "ratio",
            ">= 0.9",
            ratio >= 0.9,
            note,
        ),
        Finding(
            "CPU time of a line, bare against the recognition path",
            cpu,
            "ratio",
            note="the same rounds; other work on the machine disturbs it less",
        ),
    ]


def measure_service(
    bare: Bare,
    requests: Sequence[cloud_pb2.ReadStripRequest],
    address: str,
    *,
    rounds: int,
    seconds: float,
    progress: Progress,
) -> list[Finding]:
    """The whole service and bare ONNX Runtime in turns."""
    signs = signs_of(requests)
    each = sum(len(sign) for sign in signs) / len(signs)
    pairs = []
    for number in range(rounds):
        progress(f"the whole service, round {number + 1} of {rounds}")
        result = run_load(
            Load(
                (address,), seconds, deadline_s=DEADLINE_S, arrivals=Arrivals.CLOSED, callers=2 * WORKERS, seed=number
            ),
            requests,
        )
        # Calls that were open at the end count, and so does the time they took.
        took = float(result.ended[result.answered].max() - result.began) if result.answered.any() else math.nan
        pairs.append((bare.run(signs, seconds).per_second, int(result.answered.sum()) * each / took))
    return [
        Finding(
            "lines/s of the whole service, decoding to translation and gRPC, against bare ONNX Runtime",
            _ratio(pairs),
            "ratio",
            note=f"{statistics.median(ours for _, ours in pairs):.1f} lines/s, median of {rounds} interleaved rounds; "
            "it also looks twice at unsure lines, and translates",
        )
    ]


def batching(*, columns: int, lines: int = 8, rounds: int = 3) -> Finding:
    """Whether a batch of lines of one width takes less of a CPU thread than the lines one by one."""
    store = PackStore(default_store_root())
    recogniser = TextRecogniser.load(store.get(RECOGNITION_PACK))
    one = np.random.default_rng(1).uniform(-1, 1, (1, 3, HEIGHT, columns)).astype(np.float32)
    many = np.repeat(one, lines, axis=0)
    pairs = []
    for _ in range(rounds + 1):
        started = time.thread_time()
        for _ in range(lines):
            recogniser.probabilities(one)
        between = time.thread_time()
        recogniser.probabilities(many)
        pairs.append((between - started, time.thread_time() - between))
    return Finding(
        f"CPU time of a batch of {lines} lines of {columns} columns against one by one",
        _ratio(pairs[1:]),
        "ratio",
        note="one session of one thread; why batches on a CPU have one line",
    )


def padding(requests: Sequence[cloud_pb2.ReadStripRequest], store_root: Path | None = None) -> list[Finding]:
    """What rounding widths up, to have fuller buckets, would change in what is read."""
    store = PackStore(default_store_root() if store_root is None else store_root)
    return [_padded(TextRecogniser.load(store.get(RECOGNITION_PACK)), signs_of(requests), step) for step in (64, 320)]


def _padded(recogniser: TextRecogniser, signs: Sequence[Sign], step: int) -> Finding:
    changed = count = 0
    for line in recogniser.encoded([crop for sign in signs for crop in sign]):
        columns = math.ceil(line.columns / step) * step
        tensor = np.zeros((*line.tensor.shape[:3], columns), np.float32)
        tensor[..., : line.columns] = line.tensor
        padded = type(line)(tensor, line.width)
        texts = {recogniser.decoded(one, recogniser.probabilities(one.tensor)[0]).text for one in (line, padded)}
        changed += len(texts) > 1
        count += 1
    return Finding(
        f"lines read otherwise if widths were rounded up to {step} columns",
        changed / count,
        "share",
        note=f"{changed} of {count}; why buckets hold lines of equal width only",
    )


def _timed(workers: Sequence[Callable[[Iterator[ItemT]], int]], items: Iterator[ItemT], seconds: float) -> Round:
    """Workers that share a list for some time; what they have begun then, they finish."""
    lock = threading.Lock()
    end = time.monotonic() + seconds
    counts: list[int] = []

    def shared() -> Iterator[ItemT]:
        while time.monotonic() < end:
            with lock:
                item = next(items)
            yield item

    threads = [threading.Thread(target=lambda w=worker: counts.append(w(shared()))) for worker in workers]
    started, cpu = time.monotonic(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Round(sum(counts), time.monotonic() - started, time.process_time() - cpu)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """Median over the rounds of second against first."""
    return statistics.median(second / first for first, second in pairs)
