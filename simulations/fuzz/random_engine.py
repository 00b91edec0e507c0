"""Runs a target on inputs drawn at random from a seed: needs nothing that the product does not need."""

from __future__ import annotations

import hashlib
import random
import time
import traceback
import tracemalloc
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shared import limits
from simulations.fuzz.material import Observed, Violation
from simulations.fuzz.session import MAX_BUFFERED_BYTES
from simulations.fuzz.targets import Target

TRACE_EVERY: Final = 16
"""Executions between two whose memory is traced, which makes them some times slower."""
MAX_TRACED_BYTES: Final = MAX_BUFFERED_BYTES * 5 // 4 + limits.MAX_OBJECT_BYTES + 1024 * 1024
"""What an execution may allocate at most: the declared cap, a quarter for what growing arrays set aside, an object on
its way to the owner, and 1 MiB for the sending side and the harness."""
MAX_CRASHES: Final = 10
"""A run ends when it has found so many failing inputs."""


@dataclass(frozen=True, slots=True)
class Crash:
    """An input that broke a promise.

    Attributes:
        target: its name.
        path: where the input was written.
        error: what was raised, in one line.
        trace: the traceback.
    """

    target: str
    path: Path
    error: str
    trace: str


@dataclass(slots=True)
class Report:
    """What running one target came to.

    Attributes:
        target: its name.
        executions: inputs run.
        seconds: they took.
        traced_peak_bytes: most that one of the traced executions had allocated at once.
        observed: what the target saw.
        crashes: inputs that raised.
    """

    target: str
    executions: int = 0
    seconds: float = 0.0
    traced_peak_bytes: int = 0
    observed: Observed = field(default_factory=Observed)
    crashes: list[Crash] = field(default_factory=list)

    @property
    def executions_per_s(self) -> float:
        """How fast it went."""
        return self.executions / self.seconds if self.seconds else 0.0


def run(
    target: Target,
    *,
    seed: int,
    executions: int,
    seconds: float | None = None,
    crashes: Path = Path(),
    stop_after: int = MAX_CRASHES,
) -> Report:
    """Run a target on inputs drawn from a seed.

    Args:
        target: what to run.
        seed: the same seed draws the same inputs.
        executions: inputs at most.
        seconds: of the machine's clock at most; None for as long as it takes.
        crashes: folder for inputs that raise.
        stop_after: as many of them.
    """
    report = Report(target.name)
    rng = random.Random(f"{target.name}/{seed}")
    began = time.perf_counter()
    while report.executions < executions and len(report.crashes) < stop_after:
        if seconds is not None and time.perf_counter() - began >= seconds:
            break
        data = target.draw(rng)
        traced = report.executions % TRACE_EVERY == 0
        crash = execute(target, data, report, crashes=crashes, traced=traced)
        if crash is not None:
            report.crashes.append(crash)
        report.executions += 1
    report.seconds = time.perf_counter() - began
    return report


def execute(target: Target, data: bytes, report: Report, *, crashes: Path, traced: bool) -> Crash | None:
    """Run one input; what it raises is written down, never passed on."""
    if traced:
        tracemalloc.start()
    try:
        target.run(data, report.observed)
        if traced:
            peak = tracemalloc.get_traced_memory()[1]
            report.traced_peak_bytes = max(report.traced_peak_bytes, peak)
            if target.name != "pair" and peak > MAX_TRACED_BYTES:  # `pair` keeps whole objects itself
                raise Violation(f"{peak} bytes were allocated at once, the most is {MAX_TRACED_BYTES}")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the find
        path = crashes / f"fuzz-{target.name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
        path.write_bytes(data)
        return Crash(target.name, path, f"{type(error).__name__}: {error}", traceback.format_exc())
    finally:
        if traced:
            tracemalloc.stop()
    return None
