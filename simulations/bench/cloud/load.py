"""Load on a cloud, made in a process of its own, so that the client's work is not measured as the service's.

`LoadProcess` starts the generator (`load_worker`), lets it prepare, and begins the load when told to; `run_load` does
all that at once. Open-loop arrivals do not wait for answers, as phones do not wait for each other, and latency counts
from the arrival, not from when the generator got round to sending (no coordinated omission). Times are those of
CLOCK_MONOTONIC, which all processes of a machine share, so they can be set beside a kill or a restart.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from shared.errors import WaywordError

READ_STRIP: Final = "/wayword.v1.Reader/ReadStrip"
START_SECONDS: Final = 30.0
"""A generator that is not ready so long after its start is given up."""
LATE_S: Final = 0.05
"""A generator that sends this much after the arrival, in the median, is itself what is measured."""
Floats = npt.NDArray[np.float64]


class Arrivals(StrEnum):
    """When calls are made."""

    POISSON = "poisson"
    """At random, `rate` a second on average."""
    EVEN = "even"
    """Every 1/`rate` seconds."""
    CLOSED = "closed"
    """`callers` at once, each making its next call when the last one has ended."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to do to a service.

    Attributes:
        addresses: HOST:PORT of every replica; calls go round them.
        seconds: during which calls are made; those still open then are waited for until their deadline.
        deadline_s: of a call.
        arrivals: see `Arrivals`.
        rate: calls a second, for open-loop arrivals.
        callers: for closed-loop ones.
        channels: connections to each replica, used in turns.
        retries: whether the clients' retry policy (`cloud.replicas.retry_policy`) is on.
        unique: whether every call has an idempotency key of its own; without one, equal requests still are computed
            anew each time.
        method: full name of the method.
        metadata: of every call, such as a token.
        certificate_authority: PEM file; None for plain text.
        host_name: expected in the certificate, when it is not the address; empty for the address.
        max_open: calls open at once; what arrives above it is counted as not sent, so that a broken service does not
            take the generator's memory.
        seed: of arrivals and of the order of the requests.
    """

    addresses: tuple[str, ...]
    seconds: float
    deadline_s: float = 5.0
    arrivals: Arrivals = Arrivals.POISSON
    rate: float = 10.0
    callers: int = 4
    channels: int = 4
    retries: bool = False
    unique: bool = True
    method: str = READ_STRIP
    metadata: tuple[tuple[str, str], ...] = ()
    certificate_authority: str | None = None
    host_name: str = ""
    max_open: int = 2_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What became of every call, in the order of their arrival.

    Attributes:
        began: when the load began, monotonic seconds.
        arrived: monotonic seconds; for a closed loop when it was sent.
        sent: monotonic seconds; NaN for one that was not.
        ended: monotonic seconds; NaN for one that was not sent.
        status: numbers of gRPC status codes; -1 for one that was not sent.
        retry_after_s: as the service said; NaN where it did not.
        request: index of the request.
        cpu_s: CPU time of the generator.
    """

    began: float
    arrived: Floats
    sent: Floats
    ended: Floats
    status: npt.NDArray[np.int16]
    retry_after_s: Floats
    request: npt.NDArray[np.int32]
    cpu_s: float

    def __len__(self) -> int:
        return len(self.status)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Calls that got an answer."""
        return np.asarray(self.status == 0)

    @property
    def latency_s(self) -> Floats:
        """From arrival to end, answered or not."""
        return self.ended - self.arrived

    def counts(self) -> Mapping[str, int]:
        """Calls by the name of their status; "NOT_SENT" for those that were not."""
        found = {}
        for value, count in zip(*np.unique(self.status, return_counts=True), strict=True):
            found["NOT_SENT" if value < 0 else status_name(int(value))] = int(count)
        return found

    def within(self, start: float, end: float) -> LoadResult:
        """The calls that arrived between two moments, in seconds after the beginning."""
        inside = (self.arrived >= self.began + start) & (self.arrived < self.began + end)
        return self._only(inside)

    def with_status(self, code: grpc.StatusCode) -> LoadResult:
        """The calls that ended so."""
        return self._only(self.status == code.value[0])

    def goodput(self, start: float, end: float) -> float:
        """Answers a second that came between two moments, in seconds after the beginning."""
        inside = (self.ended >= self.began + start) & (self.ended < self.began + end)
        return float((self.answered & inside).sum()) / (end - start)

    def percentile(self, q: float) -> float:
        """Latency of the answered calls, in seconds; NaN when there are none."""
        latencies = self.latency_s[self.answered]
        return float(np.percentile(latencies, q)) if len(latencies) else float("nan")

    @property
    def lag_s(self) -> float:
        """How late the generator itself was in the median; above `LATE_S` it was too weak for this load."""
        late = (self.sent - self.arrived)[self.status >= 0]
        return float(np.median(late)) if len(late) else 0.0

    def _only(self, chosen: npt.NDArray[np.bool_]) -> LoadResult:
        return replace(
            self,
            arrived=self.arrived[chosen],
            sent=self.sent[chosen],
            ended=self.ended[chosen],
            status=self.status[chosen],
            retry_after_s=self.retry_after_s[chosen],
            request=self.request[chosen],
        )


class LoadFailed(WaywordError):
    """The generator did not start or did not end as it should."""


class LoadProcess:
    """The generator. Use as a context manager: leaving it ends the process.

    Args:
        load: what to do.
        requests: messages, or their bytes, made in turns in a shuffled order.

    Raises:
        LoadFailed: it does not start.
    """

    def __init__(self, load: Load, requests: Sequence[Message | bytes]) -> None:
        self.load = load
        self._folder = tempfile.TemporaryDirectory(prefix="wayword-load-")
        folder = Path(self._folder.name)
        encoded = [one if isinstance(one, bytes) else one.SerializeToString() for one in requests]
        (folder / "requests").write_bytes(b"".join(len(one).to_bytes(4, "little") + one for one in encoded))
        (folder / "load.json").write_text(json.dumps(asdict(load)), encoding="utf-8")
        self._result = folder / "result.npz"
        self._log = (folder / "log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "simulations.bench.cloud.load_worker", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._began: float | None = None

    def __enter__(self) -> Self:
        try:
            self._expect(b"ready", START_SECONDS)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin(self) -> float:
        """Start the load; returns when, in monotonic seconds."""
        self._tell("go")
        self._began = time.monotonic()
        return self._began

    def burst(self, calls: int) -> None:
        """Make so many calls at once, now, besides the others."""
        self._tell(f"burst {calls}")

    def end(self) -> None:
        """Make no more calls, before the time of the load is over."""
        self._tell("end")

    def result(self) -> LoadResult:
        """Wait for the last call to end.

        Raises:
            LoadFailed: the generator ended early or hangs.
        """
        self._expect(b"done", self.load.seconds + self.load.deadline_s + START_SECONDS)
        with np.load(self._result) as found:
            return LoadResult(
                began=float(found["began"]),
                arrived=found["arrived"],
                sent=found["sent"],
                ended=found["ended"],
                status=found["status"],
                retry_after_s=found["retry_after_s"],
                request=found["request"],
                cpu_s=float(found["cpu_s"]),
            )

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def _tell(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{words}\n".encode())
        self._process.stdin.flush()

    def _expect(self, word: bytes, seconds: float) -> None:
        assert self._process.stdout is not None
        if select.select([self._process.stdout], [], [], seconds)[0]:
            line = self._process.stdout.readline().strip()
            if line == word:
                return
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        raise LoadFailed(f"the load generator did not say {word.decode()!r}: {lines[-1] if lines else 'it is silent'}")


def run_load(load: Load, requests: Sequence[Message | bytes]) -> LoadResult:
    """Put a load on a service and see what becomes of it.

    Raises:
        LoadFailed: the generator failed (a service that fails is a result, not a failure).
    """
    with LoadProcess(load, requests) as process:
        process.begin()
        return process.result()


def status_name(value: int) -> str:
    """Name of a gRPC status code by its number."""
    return next(code.name for code in grpc.StatusCode if code.value[0] == value)
