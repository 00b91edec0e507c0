"""Whether a canary does worse than control: four comparisons, each valid under continuous looking.

A canary is in breach when the least that its error rate can be exceeds the most that control's can be by more than the
margin; likewise for answers without a translation, for agreement with the phone (downwards), and for the 95th
percentile of latency, by a factor. The chance that a canary which is no worse than the margins allow is ever found in
breach is at most `alpha`: the bounds share it equally (`canary_bounds`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cloud.experiments.arms_latency import ACCURACY, Latencies
from cloud.experiments.canary_bounds import Mean, quantile_ranks

QUANTILE: Final = 0.95
LOOK_EVERY: Final = 8
"""Calls of the canary between two looks. Looking more often costs time and is no less valid."""


class Measure(StrEnum):
    """What a canary is judged by."""

    ERRORS = "errors"
    EMPTY = "empty"
    """Answers in which nothing was read, or nothing translated."""
    AGREEMENT = "agreement"
    LATENCY = "latency_p95"


_BOUNDS: Final = 2 * len(Measure)
"""Bounds that may be wrong: one of each arm, for each measure."""


@dataclass(frozen=True, slots=True)
class CanaryRules:
    """How much worse a canary may be. Defaults are judgements.

    Attributes:
        alpha: chance at most that a canary no worse than this is ever switched off, per start of the service and
            change of the experiment.
        min_calls: of each arm before anything is judged.
        errors: error rate above control's.
        empty: share of empty answers above control's.
        agreement: agreement with the phone below control's.
        latency: factor on control's 95th percentile.
    """

    alpha: float = 0.01
    min_calls: int = 50
    errors: float = 0.01
    empty: float = 0.05
    agreement: float = 0.05
    latency: float = 1.25


@dataclass(frozen=True, slots=True)
class Observation:
    """One call as an experiment sees it.

    Attributes:
        error: whether the service failed it, or could not answer in time.
        seconds: to its end; None where that says nothing of the arm, as of an answer from memory.
        empty: whether nothing was read or translated; None without an answer.
        agreement: with what the phone had read, 0..1; None where that is not known.
    """

    error: bool
    seconds: float | None = None
    empty: bool | None = None
    agreement: float | None = None


@dataclass(slots=True)
class Sample:
    """Observations of one arm, in bounded memory."""

    errors: Mean = field(default_factory=Mean)
    empty: Mean = field(default_factory=Mean)
    agreement: Mean = field(default_factory=Mean)
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, observation: Observation) -> None:
        """Count one."""
        self.errors.add(float(observation.error))
        if observation.empty is not None:
            self.empty.add(float(observation.empty))
        if observation.agreement is not None:
            self.agreement.add(observation.agreement)
        if observation.seconds is not None:
            self.latencies.add(observation.seconds)


@dataclass(frozen=True, slots=True)
class Breach:
    """Why a canary was switched off.

    Attributes:
        measure: what is worse.
        canary, control: as measured: a rate, or seconds.
        calls: of the canary until then.
    """

    measure: Measure
    canary: float
    control: float
    calls: int

    def __str__(self) -> str:
        unit = " s" if self.measure is Measure.LATENCY else ""
        return (
            f"{self.measure.value} {self.canary:.4g}{unit} against control's {self.control:.4g}{unit}"
            f" after {self.calls} calls"
        )


class CanaryWatch:
    """Compares a canary with control, call by call.

    Args:
        rules: margins.
        turn: how often this comparison was begun anew, from 1: whenever the arms' weights change, the two no longer
            see the same mixture of hours and devices, and what was counted before must go. Turn k may err with
            alpha / (k (k + 1)), which sums up to alpha.
    """

    def __init__(self, rules: CanaryRules, *, turn: int = 1) -> None:
        self._rules = rules
        self._alpha = rules.alpha / (turn * (turn + 1)) / _BOUNDS
        self.canary = Sample()
        self.control = Sample()

    def add(self, observation: Observation, *, of_canary: bool) -> Breach | None:
        """Count a call of the canary or of control; a breach if there is one now."""
        (self.canary if of_canary else self.control).add(observation)
        count = self.canary.errors.count
        if not of_canary or count % LOOK_EVERY or min(count, self.control.errors.count) < self._rules.min_calls:
            return None
        return self.judge()

    def judge(self) -> Breach | None:
        """The first breach there is now."""
        canary, control, rules = self.canary, self.control, self._rules
        if self._above(canary.errors, control.errors, rules.errors):
            return self._breach(Measure.ERRORS, canary.errors, control.errors)
        if self._above(canary.empty, control.empty, rules.empty):
            return self._breach(Measure.EMPTY, canary.empty, control.empty)
        if self._above(control.agreement, canary.agreement, rules.agreement):
            return self._breach(Measure.AGREEMENT, canary.agreement, control.agreement)
        return self._slow()

    def _above(self, high: Mean, low: Mean, margin: float) -> bool:
        if not high.count or not low.count:
            return False
        # The plain difference first: it is cheap, and without it there is nothing to be sure of.
        if high.total / high.count - low.total / low.count <= margin:
            return False
        return high.bounds(self._alpha)[0] > low.bounds(self._alpha)[1] + margin

    def _breach(self, measure: Measure, canary: Mean, control: Mean) -> Breach:
        return Breach(measure, canary.value or 0.0, control.value or 0.0, self.canary.errors.count)

    def _slow(self) -> Breach | None:
        canary, control = self.canary.latencies, self.control.latencies
        least = canary.ranked(quantile_ranks(canary.total, QUANTILE, self._alpha)[0])
        most = control.ranked(quantile_ranks(control.total, QUANTILE, self._alpha)[1])
        if least is None or most is None:
            return None
        # Each may be off by the sketch's accuracy.
        if least * (1 - ACCURACY) <= most * (1 + ACCURACY) * self._rules.latency:
            return None
        slow, usual = (latencies.quantile(QUANTILE) or 0.0 for latencies in (canary, control))
        return Breach(Measure.LATENCY, slow, usual, self.canary.errors.count)
