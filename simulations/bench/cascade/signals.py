"""From a trace to what the policy is asked with: the very values the daemon would have had."""

from __future__ import annotations

from typing import Final, Protocol

from phone.cascade.inputs import CloudState, Conditions, NetworkKind, Recogniser, Signals, Thermal, Trouble
from phone.cascade.privacy import CloudUse, PrivateKind
from phone.settings import PhoneSettings
from shared.errors import SignalsInvalid
from shared.models.estimate import Estimate
from shared.models.sign_evidence import SignEvidence
from simulations.traces.records import LocalTrace, SignTrace

BENCH_CONDITIONS: Final = Conditions(
    cloud=CloudState.READY,
    cloud_use=CloudUse.ALLOW,
    consent=True,
    ledger_writable=True,
    budget_left_bytes=int(PhoneSettings.model_fields["daily_budget_bytes"].default),
    battery_percent=100,
    charging=False,
    expected_seconds=0.5,
    life_left_seconds=10.0,
    late_seconds=1.0,
    delivery_seconds=0.1,
    network=NetworkKind.WIFI,
    metered=False,
    radio_open_seconds=10.0,
    thermal=Thermal.NORMAL,
)
"""A full battery, unmetered Wi-Fi with its radio awake and an idle cloud that answers in half a second: conditions
under which hardly anything but the evidence decides. An assumption, the same for every arm; how others change a
decision is the matter of `bench decisions` and of the sweep."""


class Estimator(Protocol):
    """What judges evidence: the metamodel, or a stand-in for it."""

    def estimate(self, evidence: SignEvidence) -> Estimate:
        """What is likely of one sign.

        Raises:
            SignalsInvalid: the evidence is not sound, or of a recogniser that it does not know.
        """
        ...


def estimate_of(trace: LocalTrace, metamodel: Estimator | None) -> Estimate | None:
    """The metamodel's view; None where the daemon would have none: nothing looked at, or signals it refuses."""
    if metamodel is None or trace.evidence is None:
        return None
    try:
        return metamodel.estimate(trace.evidence)
    except SignalsInvalid:
        return None  # as the daemon does: the policy's hand-set chances stand in


def signals_of(
    sign: SignTrace, recogniser: str, metamodel: Estimator | None, *, direction_refused: bool = False
) -> Signals:
    """What the phone knows about a traced sign when it decides, as `phone.readings.to_signals` would say it.

    Args:
        sign: the look.
        recogniser: which of its local pipelines.
        metamodel: None to decide without one.
        direction_refused: whether the cloud said before that it cannot serve the direction.

    Raises:
        KeyError: the trace has no such recogniser.
    """
    trace = sign.local[recogniser]
    confidence = trace.confidence
    evidence = trace.evidence
    return Signals(
        recognition=0.0 if confidence.recognition is None else confidence.recognition,
        script=1.0 if confidence.script is None else confidence.script,
        # A reading without text carries neither, while the daemon still knows what it took them for.
        language=_or(confidence.language, 1.0 if evidence is None else evidence.language),
        translation=_or(confidence.translation, 0.0 if evidence is None else evidence.translation),
        trouble=None if trace.trouble is None else Trouble(trace.trouble),
        recogniser=Recogniser(recogniser),
        private=None if trace.private is None else PrivateKind(trace.private),
        request_bytes=trace.request_bytes,
        direction_refused=direction_refused,
        estimate=estimate_of(trace, metamodel),
        sign_key=sign.sign,
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
