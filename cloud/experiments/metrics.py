"""What is counted of each arm, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from cloud.experiments.arms_latency import Latencies
from cloud.experiments.canary import Observation
from cloud.experiments.canary_bounds import Mean
from cloud.reading.observing import ReadEvent
from cloud.refusals import Reason

__all__ = ["REFUSALS", "ArmKey", "ArmMetrics", "observation_of"]

ArmKey = tuple[str, str]
"""Experiment and arm."""
REFUSALS: Final = frozenset(reason.value for reason in Reason) - {Reason.EXPIRED.value}
"""Outcomes that say nothing of an arm: the caller's fault, or the whole service's load."""


def observation_of(event: ReadEvent) -> Observation | None:
    """What a call says of its arm; None for nothing: a refusal, a caller who went away, a remembered answer."""
    if event.remembered or event.outcome in REFUSALS or (event.outcome == "cancelled" and event.in_time):
        return None
    if not event.answered:
        # A caller whose deadline passes cancels the call: that is an arm too slow for it, as is an expired one.
        late = event.outcome in {"cancelled", Reason.EXPIRED.value}
        return Observation(error=True, seconds=event.seconds if late else None)
    agreement = None if event.agrees is None else float(event.agrees)
    return Observation(
        error=not event.in_time, seconds=event.seconds, empty=event.confidence is None, agreement=agreement
    )


@dataclass(slots=True)
class ArmMetrics:
    """One arm since the service started.

    Attributes:
        calls: all, refused and remembered ones included.
        refusals: turned down for a reason that is not the arm's.
        errors, empty, agreement: see `cloud.experiments.canary.Observation`.
        confidence: of the answers' weakest stage.
        latencies: of answers that were computed, in seconds.
        phone_calls: calls as phones reported them (telemetry).
        phone_better: share of the answers that replaced the phone's reading, of those that phones reported.
        phone_agreement: share that confirmed it.
        phone_latencies: as phones measured them.
        cost: what external models charged, in the currency of the settings.
    """

    calls: int = 0
    refusals: int = 0
    errors: Mean = field(default_factory=Mean)
    empty: Mean = field(default_factory=Mean)
    agreement: Mean = field(default_factory=Mean)
    confidence: Mean = field(default_factory=Mean)
    latencies: Latencies = field(default_factory=Latencies)
    phone_calls: int = 0
    phone_better: Mean = field(default_factory=Mean)
    phone_agreement: Mean = field(default_factory=Mean)
    phone_latencies: Latencies = field(default_factory=Latencies)
    cost: float = 0.0

    def add(self, event: ReadEvent, observation: Observation | None) -> None:
        """Count a call."""
        self.calls += 1
        if event.outcome in REFUSALS:
            self.refusals += 1
        if observation is None:
            return
        self.errors.add(float(observation.error))
        if observation.empty is not None:
            self.empty.add(float(observation.empty))
        if observation.agreement is not None:
            self.agreement.add(observation.agreement)
        if observation.seconds is not None:
            self.latencies.add(observation.seconds)
        if event.confidence is not None:
            self.confidence.add(event.confidence)

    def add_phone_call(self, outcome: str, seconds: float | None) -> None:
        """Count a call as a phone reported it; see `shared.telemetry` for its outcomes."""
        self.phone_calls += 1
        if seconds is not None:
            self.phone_latencies.add(seconds)
        if outcome in {"refined", "confirmed", "no better"}:
            self.phone_better.add(float(outcome == "refined"))
            self.phone_agreement.add(float(outcome == "confirmed"))

    def merge(self, other: ArmMetrics) -> None:
        """Count what another process has counted."""
        for name in _names():
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, Mean):
                mine.count, mine.total = mine.count + theirs.count, mine.total + theirs.total
            elif isinstance(mine, Latencies):
                mine.merge(theirs)
            else:
                setattr(self, name, mine + theirs)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it back."""
        shown: dict[str, Any] = {}
        for name in _names():
            value = getattr(self, name)
            if isinstance(value, Mean):
                shown[name] = [value.count, value.total]
            else:
                shown[name] = value.as_dict() if isinstance(value, Latencies) else value
        return shown

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ArmMetrics:
        """What `as_dict` wrote.

        Raises:
            ValueError, TypeError, KeyError: it is something else.
        """
        metrics = cls()
        for name in _names():
            value = getattr(metrics, name)
            read = document[name]
            if isinstance(value, Mean):
                setattr(metrics, name, Mean(int(read[0]), float(read[1])))
            elif isinstance(value, Latencies):
                setattr(metrics, name, Latencies.from_dict(read))
            else:
                setattr(metrics, name, type(value)(read))
        return metrics

    def summary(self) -> dict[str, float | int | None]:
        """Numbers for people: rates, and latencies in milliseconds."""
        return {
            "calls": self.calls,
            "refusals": self.refusals,
            "error_rate": self.errors.value,
            "empty_rate": self.empty.value,
            "agreement": self.agreement.value,
            "confidence": self.confidence.value,
            "p50_ms": _ms(self.latencies.quantile(0.5)),
            "p95_ms": _ms(self.latencies.quantile(0.95)),
            "cost": self.cost,
            "phone_calls": self.phone_calls,
            "phone_agreement": self.phone_agreement.value,
            "phone_better": self.phone_better.value,
            "phone_p95_ms": _ms(self.phone_latencies.quantile(0.95)),
        }


def _names() -> tuple[str, ...]:
    return tuple(item.name for item in fields(ArmMetrics))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 3)
