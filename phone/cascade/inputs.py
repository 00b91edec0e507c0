"""What the cascade knows when it decides: the sign as the phone read it, and the world around it.

Typed values without behaviour. Nothing here is trusted blindly: a number that is missing, not finite or out of range
makes `decide` fall back to its documented safe choice instead of raising.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from phone.cascade.privacy import CloudUse, PrivateKind
from shared.models.estimate import Estimate


class Trouble(StrEnum):
    """Why the phone has no text, or no translation."""

    NO_TEXT = "no text"
    TOO_SMALL = "too small"
    SCRIPT = "script"
    LOW_CONFIDENCE = "low confidence"
    DIRECTION = "direction"
    LANGUAGE_UNKNOWN = "language unknown"


class Recogniser(StrEnum):
    """Which recogniser the phone used: what the cloud can add depends on it."""

    TINY = "tiny"
    SMALL = "small"


class CloudState(StrEnum):
    """What is known of the cloud before it is asked."""

    READY = "ready"
    """Not known to be down; a call may be tried."""
    DOWN = "down"
    """The circuit breaker is open: it failed several times in a row a moment ago."""
    BUSY = "busy"
    """As many calls as allowed are under way."""
    NOT_CONFIGURED = "not configured"


class NetworkKind(StrEnum):
    """What the phone's traffic would go over."""

    NONE = "none"
    WIFI = "wifi"
    CELLULAR = "cellular"
    CAPTIVE = "captive"
    """Connected, but a portal answers in place of the internet."""
    UNKNOWN = "unknown"


class Thermal(StrEnum):
    """How warm the phone is."""

    NORMAL = "normal"
    WARM = "warm"
    HOT = "hot"
    """It throttles; nothing optional is done."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Signals:
    """What the phone knows about one sign. Probabilities are calibrated, 0..1.

    Attributes:
        recognition: P(the text is right); 0 when nothing was read.
        script: P(the recogniser knows the script that is on the sign).
        language: P(the language is right); 1 where no language is needed (a number, a price).
        translation: P(the translation is right, given the text); 0 when there is none.
        trouble: why there is no text or no translation; None when there are both.
        recogniser: which recogniser read it.
        private: what private thing the text looks like.
        request_bytes: size of the call that would go out.
        whole_frame: whether the call would carry a frame rather than cut strips.
        foreign_script: script that the picture shows and the phone's recogniser cannot write, as a string; None where
            there is none, or nobody can tell which.
        direction_refused: whether the cloud said a while ago that it cannot serve the direction, or read that script.
        estimate: the metamodel's; None where there is none, and the chances of the policy stand in for it.
        value: what a right answer is worth, 1 for an ordinary sign.
        sign_key: tells this sign from others, for policies that draw lots; 0 when not known.
    """

    recognition: float
    script: float
    language: float
    translation: float
    trouble: Trouble | None
    recogniser: Recogniser
    private: PrivateKind | None
    request_bytes: int
    whole_frame: bool = False
    foreign_script: str | None = None
    direction_refused: bool = False
    estimate: Estimate | None = None
    value: float = 1.0
    sign_key: int = 0


@dataclass(frozen=True, slots=True)
class Conditions:
    """The world around the decision.

    Attributes:
        cloud: what is known of the cloud.
        cloud_use: the wearer's privacy switch.
        consent: whether the wearer's consent is in force; matters under `CloudUse.ASK`.
        ledger_writable: whether the decision can be recorded; nothing leaves unrecorded.
        budget_left_bytes: what may still leave today.
        battery_percent: 0..100; None when unknown.
        charging: whether the phone is plugged in.
        expected_seconds: predicted time from the call to its answer.
        life_left_seconds: how long an answer is still worth showing.
        late_seconds: nine calls in ten are answered within this; None when not known.
        delivery_seconds: predicted time for the answer from the phone to the glasses.
        network: what the call would go over.
        metered: whether bytes cost money.
        radio_open_seconds: how long the radio stays in its open window (a cellular radio's tail) without another call;
            0 when it sleeps.
        thermal: how warm the phone is.
    """

    cloud: CloudState
    cloud_use: CloudUse
    consent: bool
    ledger_writable: bool
    budget_left_bytes: int
    battery_percent: int | None
    charging: bool
    expected_seconds: float
    life_left_seconds: float
    late_seconds: float | None = None
    delivery_seconds: float = 0.0
    network: NetworkKind = NetworkKind.UNKNOWN
    metered: bool = False
    radio_open_seconds: float = 0.0
    thermal: Thermal = Thermal.UNKNOWN
