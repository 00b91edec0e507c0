"""One constant at a time: the hybrid with every constant nominal but one, which goes to its lower or upper bound."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

from shared.errors import UsageError
from simulations.energy.constants import Constants
from simulations.energy.registry import CONSTANTS, nominal
from simulations.sweep.arms import Arm, Design
from simulations.sweep.document import Sweep
from simulations.sweep.grid import Grid, simulate
from simulations.sweep.metrics import Metrics
from simulations.sweep.page_sensitivity import outcomes, widest
from simulations.sweep.plan import make_plan
from simulations.sweep.summary import Slice
from simulations.traces.records import SignTrace

ENDS: Final = ("low", "high")
MAX_SWINGS: Final = 1_000


def chosen(sweep: Sweep, count: int) -> list[str]:
    """Which constants to swing: those that correlate most with an outcome of the hybrid.

    With few samples that is mostly chance; a `count` beyond their number takes all that can matter.

    Args:
        sweep: with samples; without, those with the widest range are taken.
        count: how many.
    """
    of = Slice(sweep)
    strength: dict[str, float] = {}
    for outcome in outcomes(of):
        if outcome.found is not None:
            for influence in outcome.found.influences:
                strength[influence.name] = max(
                    strength.get(influence.name, 0.0), abs(influence.rho) / outcome.found.floor_any
                )
    if not strength:
        return [name for name, _ in widest(of)[:count]]
    return sorted(strength, key=lambda name: (-round(strength[name], 9), name))[:count]


def swing_runs(traces: Sequence[SignTrace], grid: Grid, names: Sequence[str], *, jobs: int = 1) -> list[dict[str, Any]]:
    """The runs for `swings` of `results.json`: the hybrid's first arm, each constant at both bounds.

    Args:
        traces: that the grid replays.
        grid: of the sweep.
        names: of the constants.
        jobs: processes; the results do not depend on it.

    Raises:
        UsageError: a constant is not known, there are too many, or the grid has no hybrid.
        InputError: there are no traces for the city.
    """
    arm = next((arm for arm in grid.arms() if arm.design is Design.HYBRID), None)
    if arm is None:
        raise UsageError("constants are swung on the hybrid, which this sweep leaves out")
    unknown = [name for name in names if name not in CONSTANTS]
    if unknown:
        raise UsageError(f"there is no constant {unknown[0]!r}", hint="wayword-sim constants lists them")
    if len(names) > MAX_SWINGS:
        raise UsageError(f"more than {MAX_SWINGS} constants cannot be swung")
    work = [(name, end) for name in names for end in ENDS]
    return [
        {
            "arm": arm.as_json(),
            "sample": 0,
            "why_not": None,
            "metrics": metrics,
            "changed": {"constant": name, "end": end},
        }
        for (name, end), metrics in zip(work, _each(traces, grid, arm, work, jobs), strict=True)
    ]


def bounds_of(name: str) -> Mapping[str, Constants]:
    """The nominal constants with one at its lower, and at its upper bound."""
    constant = CONSTANTS[name]
    return {"low": nominal().replaced(name, constant.low), "high": nominal().replaced(name, constant.high)}


def _each(
    traces: Sequence[SignTrace], grid: Grid, arm: Arm, work: Sequence[tuple[str, str]], jobs: int
) -> Iterator[Metrics]:
    if jobs <= 1:
        for name, end in work:
            yield _run(traces, grid, arm, name, end)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(traces, grid, arm)) as pool:
        yield from pool.map(_run_one, work)


def _run(traces: Sequence[SignTrace], grid: Grid, arm: Arm, name: str, end: str) -> Metrics:
    constants = bounds_of(name)[end]
    plan = make_plan(traces, city=arm.city, constants=constants, seed=grid.seed, days=grid.days, hours=grid.hours)
    return simulate(arm, plan, constants, seed=grid.seed)


_shared: tuple[Sequence[SignTrace], Grid, Arm] | None = None
"""What a process of the pool works with."""


def _begin(traces: Sequence[SignTrace], grid: Grid, arm: Arm) -> None:
    global _shared  # what a process of a pool works with has no other place
    _shared = traces, grid, arm


def _run_one(work: tuple[str, str]) -> Metrics:
    assert _shared is not None
    return _run(*_shared, *work)
