"""The looks of one recogniser and one part of a trace, with what the production policy makes of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from phone.cascade.chances import chance_right, expected_gain, plain_confidence
from phone.cascade.constants import Policy
from phone.cascade.decision import CascadeMemory, CascadePolicy, Decision
from phone.cascade.inputs import Conditions, Recogniser, Signals
from simulations.bench.cascade.certificate import Pool
from simulations.bench.cascade.curves import Flags, Floats, Outcomes, clusters_of
from simulations.bench.cascade.signals import BENCH_CONDITIONS, Estimator, signals_of
from simulations.traces.groups import groups_of
from simulations.traces.records import SignTrace

GAIN: Final = "metamodel gain"
"""Order of escalation: the largest expected gain first, as the policy has it from the metamodel."""
PLAIN: Final = "plain confidence"
"""The least product of calibrated confidences first: what a threshold on confidence does."""
DOUBT: Final = "metamodel doubt"
"""The least P(right) of the metamodel first."""
RECOGNISERS: Final = tuple(recogniser.value for recogniser in Recogniser)


@dataclass(frozen=True)
class Looks:
    """Looks at signs, read by one recogniser.

    Attributes:
        recogniser: which.
        signs: their traces.
        signals: what the phone knows of each.
    """

    recogniser: str
    signs: Sequence[SignTrace]
    signals: Sequence[Signals]

    def __len__(self) -> int:
        return len(self.signs)

    @property
    def outcomes(self) -> Outcomes:
        """Whether each is right before and after asking; a cluster is a group of signs that share phrases."""
        return Outcomes(
            self.local_right.astype(np.float64),
            np.array([sign.final_right(self.recogniser) for sign in self.signs], np.float64),
            clusters_of(groups_of(self.signs)),
        )

    @property
    def local_right(self) -> Flags:
        """Whether the phone's own answer is right."""
        return np.array([sign.local[self.recogniser].right for sign in self.signs], np.bool_)

    @property
    def cloud_right(self) -> Flags:
        """Whether the cloud's answer is right, whatever rule says when it is shown."""
        return np.array([sign.cloud.right for sign in self.signs], np.bool_)

    @property
    def chances(self) -> Floats:
        """P(right) as the daemon would have it: the metamodel's, else the product of the confidences."""
        return np.array([chance_right(signals) for signals in self.signals])

    @property
    def plain(self) -> Floats:
        """P(right) as the product of the confidences."""
        return np.array([plain_confidence(signals) for signals in self.signals])

    @property
    def pool(self) -> Pool:
        """For the certificate: only readings that the metamodel judged can be certified."""
        judged = np.array([signals.estimate is not None for signals in self.signals], np.bool_)
        return Pool(
            np.where(judged, self.chances, 0.0),
            self.local_right,
            clusters_of(groups_of(self.signs)),
        )

    @property
    def pack(self) -> str:
        """Name of the recognition pack, as the evidence has it; empty where nothing was looked at."""
        seen = (sign.local[self.recogniser].evidence for sign in self.signs)
        return next((evidence.recogniser for evidence in seen if evidence is not None), "")

    def where(self, kept: Flags) -> Looks:
        """Some of them."""
        index = [int(i) for i in np.flatnonzero(kept)]
        return Looks(self.recogniser, [self.signs[i] for i in index], [self.signals[i] for i in index])

    @property
    def scores(self) -> Mapping[str, Floats]:
        """How urgently each look is escalated, by name of the order. A curve ranks every look, private ones too."""
        return {GAIN: self.gains, PLAIN: 1.0 - self.plain, DOUBT: 1.0 - self.chances}

    @property
    def gains(self) -> Floats:
        """Expected gains; where the metamodel says nothing, those of the policy's hand-set chances."""
        constants = Policy()
        return np.array([expected_gain(signals, constants) for signals in self.signals])

    def decisions(self, policy: CascadePolicy, conditions: Conditions = BENCH_CONDITIONS) -> list[Decision]:
        """What the policy decides for each, as if it were the first of the day."""
        return [decide(policy, signals, conditions) for signals in self.signals]


def decide(policy: CascadePolicy, signals: Signals, conditions: Conditions = BENCH_CONDITIONS) -> Decision:
    """One decision without a past."""
    return policy.decide(signals, conditions, CascadeMemory())[0]


def looks_of(signs: Sequence[SignTrace], recogniser: str, metamodel: Estimator | None) -> Looks:
    """The looks of a trace as one recogniser saw them."""
    return Looks(recogniser, signs, [signals_of(sign, recogniser, metamodel) for sign in signs])
