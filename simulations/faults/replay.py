"""Plays seeds, judges them, and says how to play one again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from simulations.faults.checks import owed, violations
from simulations.faults.records import Run, SentObject
from simulations.faults.schedule import Schedule, draw
from simulations.faults.world import play
from simulations.virtual_time import VirtualTimeError

COMMAND = "wayword-sim bench link-faults"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One seed, played and judged.

    Attributes:
        violations: what does not hold, one line each.
        run: the record; None when the run could not be finished.
        owed: objects the link had all it needs to deliver.
        seconds: of real time.
    """

    seed: int
    violations: Sequence[str]
    run: Run | None
    owed: Sequence[SentObject]
    seconds: float

    def __str__(self) -> str:
        if not self.violations:
            return f"seed {self.seed}: everything held"
        lines = [f"seed {self.seed}: {len(self.violations)} violations", *(f"  {line}" for line in self.violations)]
        return "\n".join([*lines, f"  replay: {COMMAND} --seed {self.seed} --trace"])


def judge(seed: int, *, draw: Callable[[int], Schedule] = draw) -> Verdict:
    """Play one seed and judge it; a run that hangs, is busy for ever or loses an exception is a violation."""
    before = time.perf_counter()
    try:
        run = play(draw(seed))
    except VirtualTimeError as error:
        cause = "" if error.__cause__ is None else f": {error.__cause__!r}"
        return Verdict(seed, [f"{type(error).__name__}: {error}{cause}"], None, [], time.perf_counter() - before)
    except Exception as error:
        error.add_note(f"while playing seed {seed}; replay: {COMMAND} --seed {seed} --trace")
        raise
    return Verdict(seed, violations(run), run, owed(run), time.perf_counter() - before)


def judge_all(seeds: Iterable[int], *, draw: Callable[[int], Schedule] = draw) -> list[Verdict]:
    """Play many seeds."""
    return [judge(seed, draw=draw) for seed in seeds]


def report(verdicts: Iterable[Verdict]) -> str:
    """The failing seeds and how to replay them; empty when there is none."""
    return "\n".join(str(verdict) for verdict in verdicts if verdict.violations)
