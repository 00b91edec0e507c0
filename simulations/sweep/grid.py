"""The runs of a sweep: every arm of a grid with every sample of the constants, in processes, in one order."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Final

from phone.cascade.privacy import CloudUse
from phone.settings import RecogniserChoice
from shared.errors import UsageError
from simulations.energy.constants import Constants
from simulations.energy.registry import latin_hypercube, nominal
from simulations.sweep.arms import DEFAULT_POLICY, Arm, Design
from simulations.sweep.computing import run_computing
from simulations.sweep.metrics import Metrics, Run, infeasible, metrics
from simulations.sweep.plan import Plan, make_plan
from simulations.sweep.product import run_product
from simulations.sweep.simple import run_simple
from simulations.traces.records import SignTrace
from simulations.virtual_time import VirtualClock

MAX_RUNS: Final = 100_000
MAX_SAMPLES: Final = 1_000
_SIMPLE: Final = frozenset({Design.GLASSES, Design.VIDEO, Design.STILLS})


@dataclass(frozen=True, slots=True)
class Grid:
    """Everything that decides what a sweep comes to, but for the traces.

    Attributes:
        designs, networks, phones, glasses, cities: every combination is an arm.
        policies: of the hybrid; other designs have none.
        privacy: the wearer's switch.
        link: preset of the link between glasses and phone.
        recogniser: the phone's.
        days: of each run.
        hours: only so many hours from when the glasses are first put on; None for whole days.
        samples: sets of constants, beside the nominal one.
        seed: of the world, the networks and the samples.
    """

    designs: tuple[Design, ...] = tuple(Design)
    networks: tuple[str, ...] = ("day",)
    phones: tuple[str, ...] = ("phone-mid",)
    glasses: tuple[str, ...] = ("glasses-xr",)
    cities: tuple[str, ...] = ("lisbon",)
    policies: tuple[str, ...] = (DEFAULT_POLICY,)
    privacy: CloudUse = CloudUse.ALLOW
    link: str = "ble-mid"
    recogniser: RecogniserChoice = RecogniserChoice.AUTO
    days: int = 1
    hours: float | None = None
    samples: int = 0
    seed: int = 1

    def arms(self) -> list[Arm]:
        """Every arm, in the order of the results."""
        arms = []
        for city, glasses, phone, network, design in product(
            self.cities, self.glasses, self.phones, self.networks, self.designs
        ):
            policies = self.policies if design is Design.HYBRID else ("",)
            for policy in policies:
                arms.append(
                    Arm(design, network, phone, glasses, city, policy, self.privacy, self.link, self.recogniser)
                )
        return arms

    def constants(self) -> list[Constants]:
        """The nominal set, then the samples."""
        return [nominal(), *(latin_hypercube(self.seed, self.samples) if self.samples else [])]

    def check(self) -> None:
        """Refuse what would never end.

        Raises:
            UsageError: too many runs, or samples.
        """
        if not 0 <= self.samples <= MAX_SAMPLES:
            raise UsageError(f"a sweep has 0 to {MAX_SAMPLES} samples, not {self.samples}")
        runs = len(self.arms()) * (self.samples + 1)
        if runs > MAX_RUNS:
            raise UsageError(f"{runs} runs are more than a sweep may have ({MAX_RUNS})", hint="sweep over less")
        if self.hours is not None and not (math.isfinite(self.hours) and 0 < self.hours <= 24):
            raise UsageError(f"a part of a day has up to 24 hours, not {self.hours}")


@dataclass(frozen=True, slots=True)
class Done:
    """One run.

    Attributes:
        arm: what was run.
        sample: which constants; 0 is the nominal set.
        why_not: why it cannot be run at all; None where it could.
        metrics: empty where it could not.
        cpu_seconds: what it took here; never part of the results.
        days: simulated.
    """

    arm: Arm
    sample: int
    why_not: str | None
    metrics: Metrics
    cpu_seconds: float
    days: float


class Runner:
    """Runs arms of one grid; keeps the last plan, for neighbours in the grid share it.

    Args:
        traces: of the signs.
        grid: what is swept.
    """

    def __init__(self, traces: Sequence[SignTrace], grid: Grid) -> None:
        self._traces = traces
        self._grid = grid
        self._constants = grid.constants()
        self._plan: tuple[tuple[str, int], Plan] | None = None

    def run(self, arm: Arm, sample: int) -> Done:
        """One arm with one set of constants."""
        started = time.process_time()
        constants = self._constants[sample]
        why_not = infeasible(arm, constants)
        plan = self._planned(arm.city, sample)
        numbers: Metrics = {}
        if why_not is None:
            numbers = simulate(arm, plan, constants, seed=self._grid.seed)
        return Done(arm, sample, why_not, numbers, time.process_time() - started, plan.wear.seconds / 86_400)

    def _planned(self, city: str, sample: int) -> Plan:
        grid = self._grid
        if self._plan is None or self._plan[0] != (city, sample):
            plan = make_plan(
                self._traces,
                city=city,
                constants=self._constants[sample],
                seed=grid.seed,
                days=grid.days,
                hours=grid.hours,
            )
            self._plan = (city, sample), plan
        return self._plan[1]


def simulate(arm: Arm, plan: Plan, constants: Constants, *, seed: int) -> Metrics:
    """The numbers of one arm in one world."""

    async def simple(clock: VirtualClock) -> Metrics:
        return metrics(Run(arm, plan, constants, await run_simple(clock, arm, plan, constants, seed=seed)))

    async def with_link(clock: VirtualClock) -> Metrics:
        return metrics(Run(arm, plan, constants, await run_product(clock, arm, plan, constants, seed=seed)))

    return run_computing(simple if arm.design in _SIMPLE else with_link)


def run_grid(
    traces: Sequence[SignTrace], grid: Grid, *, jobs: int = 1, on_done: Callable[[int, int, Done], None] | None = None
) -> list[Done]:
    """Every run of a grid, samples outermost.

    Args:
        traces: of the signs.
        grid: what is swept.
        jobs: processes; the results do not depend on it.
        on_done: told after each run how many of how many are done.

    Raises:
        UsageError: the grid is too large, or names something that there is not.
        InputError: there are no traces for a city.
    """
    grid.check()
    work = [(arm, sample) for sample in range(grid.samples + 1) for arm in grid.arms()]
    done: list[Done] = []
    for one in _each(traces, grid, work, jobs):
        done.append(one)
        if on_done is not None:
            on_done(len(done), len(work), one)
    return done


def _each(traces: Sequence[SignTrace], grid: Grid, work: list[tuple[Arm, int]], jobs: int) -> Iterator[Done]:
    if jobs <= 1:
        runner = Runner(traces, grid)
        for arm, sample in work:
            yield runner.run(arm, sample)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(traces, grid)) as pool:
        yield from pool.map(_run_one, work)


_runner: Runner | None = None
"""Of a process of the pool."""


def _begin(traces: Sequence[SignTrace], grid: Grid) -> None:
    global _runner  # what a process of a pool works with has no other place
    _runner = Runner(traces, grid)


def _run_one(work: tuple[Arm, int]) -> Done:
    assert _runner is not None
    return _runner.run(*work)
