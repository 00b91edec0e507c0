"""One session through a very long life among hostile peers: memory must not grow, and it must not get slower."""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from dataclasses import dataclass
from typing import Final

import shared
from simulations.fuzz.material import FuzzBytes, Observed, demand
from simulations.fuzz.session import Trial

_PARTS: Final = 10
_STEPS_A_DRAW: Final = 200
MAX_RESTING_BYTES: Final = 256 * 1024
"""What a session may hold at rest: 256 remembered transfers, 256 objects whose time is being learnt from, itself."""
_PRODUCT_FILES: Final = f"{next(iter(shared.__path__))}/*"


@dataclass(frozen=True, slots=True)
class Soak:
    """What a long life came to.

    Attributes:
        steps: things that happened.
        values: of them, ATT values fed.
        held_bytes: allocated by the product's code and not freed, at the end of each tenth.
        step_us: mean time of a step in each tenth, in microseconds, the harness's share included.
        observed: what was seen.
    """

    steps: int
    values: int
    held_bytes: tuple[int, ...]
    step_us: tuple[float, ...]
    observed: Observed


def soak(*, seed: int, steps: int) -> Soak:
    """Let one session live for so many steps under the memory tracer.

    Raises:
        Violation: it broke a promise, or what it holds at rest has no bound.
    """
    rng = random.Random(f"soak/{seed}")
    observed = Observed()
    tracemalloc.start()
    try:
        trial = Trial(FuzzBytes(bytes(16)), observed)  # zeros: version 1, an owner who takes what arrives
        held, pace = [], []
        for _ in range(_PARTS):
            began, done = time.perf_counter(), 0
            while done < steps // _PARTS:
                trial.source = FuzzBytes(rng.randbytes(8 * _STEPS_A_DRAW))
                while trial.source.left and done < steps // _PARTS:
                    trial.step()
                    done += 1
            pace.append((time.perf_counter() - began) / max(1, done) * 1e6)
            trial.rest()
            gc.collect()
            snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, _PRODUCT_FILES)])
            held.append(sum(trace.size for trace in snapshot.traces))
            demand(held[-1] <= MAX_RESTING_BYTES, f"{held[-1]} bytes held at rest, the most is {MAX_RESTING_BYTES}")
        trial.finish()
    finally:
        tracemalloc.stop()
    return Soak(steps // _PARTS * _PARTS, observed.values, tuple(held), tuple(pace), observed)
