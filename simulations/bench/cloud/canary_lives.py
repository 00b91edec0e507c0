"""Lives of canaries: seeded calls through the production code, to see how often a sound one is stopped, and how soon a
bad one is."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cloud.callers import Caller
from cloud.experiments.canary import LOOK_EVERY, CanaryRules
from cloud.experiments.configuration import CONTROL
from cloud.experiments.running import Experiments
from cloud.plans import ReadPlan
from cloud.reading.observing import ReadEvent
from shared.clock import SystemClock
from shared.events import EventLog

ARM: Final = "new"
Z_95: Final = 1.959964
"""Two-sided 95 % point of the normal law: what a dashboard's "significant" means."""
_NOISE: Final = 0.6
"""Standard deviation of the logarithm of a call's time: its 95th percentile is 2.7 times its median. A judgement."""
_MEDIAN_S: Final = 0.15


@dataclass(frozen=True, slots=True)
class Arms:
    """How control and canary truly are. Latency of the canary is control's times `slower`.

    Attributes:
        errors, agreement: rates, control's first.
        slower: factor.
        share: of the calls that the canary gets.
        devices: of each arm, each with an agreement of its own around the arm's; 0 for calls that have nothing in
            common.
        spread: standard deviation of those.
    """

    errors: tuple[float, float] = (0.01, 0.01)
    agreement: tuple[float, float] = (0.85, 0.85)
    slower: float = 1.0
    share: float = 0.5
    devices: int = 0
    spread: float = 0.1


@dataclass(frozen=True, slots=True)
class Life:
    """What became of one canary.

    Attributes:
        stopped_after: calls of the canary until it was switched off; None when it never was.
        after: calls that it got after that.
        naive_alarm: whether a fixed test at 95 % on the error rates, looked at as often, would have cried.
    """

    stopped_after: int | None
    after: int
    naive_alarm: bool


@dataclass(slots=True)
class _Counts:
    calls: list[int] = field(default_factory=lambda: [0, 0])
    errors: list[int] = field(default_factory=lambda: [0, 0])

    def significant(self, least: int) -> bool:
        if min(self.calls) < least:
            return False
        pooled = sum(self.errors) / sum(self.calls)
        spread = math.sqrt(pooled * (1 - pooled) * (1 / self.calls[0] + 1 / self.calls[1]))
        difference = self.errors[1] / self.calls[1] - self.errors[0] / self.calls[0]
        return spread > 0 and abs(difference) / spread > Z_95


def configuration(share: float, alpha: float) -> str:
    """A file with one canary."""
    return (
        f"[experiments.e]\narms.{CONTROL} = {{ weight = {1 - share} }}\n"
        f"arms.{ARM} = {{ weight = {share}, canary = true }}\ncanary = {{ alpha = {alpha} }}\n"
    )


def live(path: Path, arms: Arms, *, seed: int, calls: int) -> Life:
    """One life of a canary, from the first call to the last.

    Args:
        path: file of experiments.
        arms: how they truly are.
        seed: of the calls.
        calls: of both arms together.
    """
    clock = SystemClock()
    experiments = Experiments(
        path, clock=clock, events=EventLog(None, tier="cloud", clock=clock), warn=lambda line: None
    )
    rng = random.Random(seed)
    counts = _Counts()
    plans = [ReadPlan(arm=f"e={arm}") for arm in (CONTROL, ARM)]
    own = [
        [min(max(rng.gauss(mean, arms.spread), 0.0), 1.0) for _ in range(arms.devices)] or [mean]
        for mean in arms.agreement
    ]
    stopped_after: int | None = None
    naive = False
    after = 0
    least = CanaryRules().min_calls
    for _ in range(calls):
        canary = int(rng.random() < arms.share)
        failed = rng.random() < arms.errors[canary]
        seconds = _MEDIAN_S * math.exp(rng.gauss(0.0, _NOISE)) * (arms.slower if canary else 1.0)
        agrees = rng.random() < rng.choice(own[canary])
        if canary and experiments.checked({"e": ARM}) != {"e": ARM}:
            # Off: what would have been its call is control's, and the life is over.
            break
        counts.calls[canary] += 1
        counts.errors[canary] += failed
        naive = naive or (canary == 1 and counts.calls[1] % LOOK_EVERY == 0 and counts.significant(least))
        experiments.observe(
            ReadEvent(
                method="ReadStrip",
                caller=Caller(),
                plan=plans[canary],
                outcome="InternalError" if failed else "answered",
                seconds=seconds,
                in_time=True,
                confidence=None if failed else 0.9,
                agrees=None if failed else agrees,
            )
        )
        if stopped_after is None and experiments.state.off:
            stopped_after = counts.calls[1]
        elif stopped_after is not None and canary:
            after += 1
    return Life(stopped_after, after, naive)


def share_stopped(lives: Sequence[Life]) -> float:
    """Share of the canaries that were switched off."""
    return sum(life.stopped_after is not None for life in lives) / len(lives)


def wilson_upper(count: int, total: int, z: float = 1.644854) -> float:
    """Upper end of the one-sided 95 % interval of a share (Wilson 1927): what a simulation of this size can exclude."""
    rate = count / total
    middle = rate + z * z / (2 * total)
    return (middle + z * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))) / (1 + z * z / total)
