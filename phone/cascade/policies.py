"""The policies that settings and experiments choose from. All obey the same rules that forbid a call (`rules`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from phone.cascade.chances import plain_confidence
from phone.cascade.constants import Policy
from phone.cascade.decision import Action, CascadeMemory, CascadePolicy, Decision, Rule
from phone.cascade.hysteresis import remember
from phone.cascade.inputs import Conditions, Recogniser, Signals
from phone.cascade.policy import Cascade
from phone.cascade.rules import forbidden
from phone.cascade.soundness import sound_conditions, sound_signals, unknown_confidence
from shared.errors import UsageError
from shared.models.risk import RiskCertificate

CONFIDENCE_THRESHOLD: Final = 0.7
"""Least product of the stages that `Confidence` keeps. Judgement; a comparison sweeps it."""
RANDOM_SHARE: Final = 0.2
"""Share of the signs that `Random` asks about: the share that the cascade may ask about."""


Certificates = Mapping[Recogniser, RiskCertificate]
"""By recogniser; one without a certificate is left out."""


def for_every_recogniser(certificate: RiskCertificate) -> Certificates:
    """One certificate for all."""
    return dict.fromkeys(Recogniser, certificate)


def _obeying(
    choose: Callable[[Signals], tuple[Action, Rule, str, float, float]],
    policy: Policy,
    signals: Signals,
    conditions: Conditions,
    memory: CascadeMemory,
) -> tuple[Decision, CascadeMemory]:
    """What `choose` says of a sign (action, rule, reason, gain, price), unless a rule forbids the call."""
    signals, conditions = sound_signals(signals), sound_conditions(conditions)
    memory = remember(memory, conditions, policy)
    ban = forbidden(signals, conditions, memory, policy)
    if ban is not None:
        return Decision(Action.KEEP, *ban, 0.0, 0.0), memory
    return Decision(*choose(signals)), memory


@dataclass(frozen=True, slots=True)
class Confidence:
    """Asks where the product of the calibrated stages is below a threshold, as published cascades do.

    Attributes:
        threshold: 0..1.
        policy: constants of the rules.
    """

    threshold: float = CONFIDENCE_THRESHOLD
    policy: Policy = field(default_factory=Policy)

    @property
    def name(self) -> str:
        """Under which settings and experiments choose it."""
        return "confidence"

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        """Keep a reading that is sure enough."""
        return _obeying(self._choose, self.policy, signals, conditions, memory)

    def _choose(self, signals: Signals) -> tuple[Action, Rule, str, float, float]:
        if (stage := unknown_confidence(signals)) is not None:
            reason = f"kept to be safe: how sure the phone is of {stage} is not known"
            return Action.KEEP, Rule.FALLBACK, reason, 0.0, 0.0
        confidence = plain_confidence(signals)
        numbers = f"{confidence:.0%} sure, asked below {self.threshold:.0%}"
        if confidence < self.threshold:
            return Action.ESCALATE, Rule.UNSURE, numbers, 1 - confidence, 1 - self.threshold
        return Action.KEEP, Rule.SURE, numbers, 1 - confidence, 1 - self.threshold


@dataclass(frozen=True, slots=True)
class Always:
    """Asks whenever nothing forbids it."""

    policy: Policy = field(default_factory=Policy)

    @property
    def name(self) -> str:
        """Under which settings and experiments choose it."""
        return "always"

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        """Ask."""
        return _obeying(
            lambda _: (Action.ESCALATE, Rule.POLICY, "this policy asks about every sign", 1.0, 0.0),
            self.policy,
            signals,
            conditions,
            memory,
        )


@dataclass(frozen=True, slots=True)
class Never:
    """Never asks."""

    policy: Policy = field(default_factory=Policy)

    @property
    def name(self) -> str:
        """Under which settings and experiments choose it."""
        return "never"

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        """Keep the phone's reading."""
        return _obeying(
            lambda _: (Action.KEEP, Rule.POLICY, "this policy asks about no sign", 0.0, 1.0),
            self.policy,
            signals,
            conditions,
            memory,
        )


@dataclass(frozen=True, slots=True)
class Random:
    """Asks about a share of the signs, drawn by their key: the same sign draws the same lot every time.

    Attributes:
        share: 0..1.
        policy: constants of the rules.
    """

    share: float = RANDOM_SHARE
    policy: Policy = field(default_factory=Policy)

    @property
    def name(self) -> str:
        """Under which settings and experiments choose it."""
        return "random"

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        """Ask where the sign's lot is within the share."""
        return _obeying(self._choose, self.policy, signals, conditions, memory)

    def _choose(self, signals: Signals) -> tuple[Action, Rule, str, float, float]:
        lot = lot_of(signals.sign_key)
        action = Action.ESCALATE if lot < self.share else Action.KEEP
        return action, Rule.POLICY, f"this policy draws lots: {lot:.2f}, asked below {self.share:.2f}", self.share, lot


def lot_of(sign_key: int) -> float:
    """A number in 0..1, uniform over keys and the same for equal ones."""
    digest = hashlib.blake2b(str(sign_key).encode(), digest_size=8, person=b"wayword-lot").digest()
    return int.from_bytes(digest, "big") / 2**64


_MAKERS: Final[Mapping[str, Callable[[Policy, Certificates], CascadePolicy]]] = {
    "cascade": Cascade,
    "confidence": lambda policy, _: Confidence(policy=policy),
    "always": lambda policy, _: Always(policy),
    "never": lambda policy, _: Never(policy),
    "random": lambda policy, _: Random(policy=policy),
}
POLICY_NAMES: Final = tuple(_MAKERS)
"""What `policy_named` knows; the first is the default."""


def policy_named(
    name: str, *, certificates: Certificates | None = None, constants: Policy | None = None
) -> CascadePolicy:
    """A policy by its name.

    Args:
        name: one of `POLICY_NAMES`.
        certificates: of the metamodel in use, by recogniser; None without any. Only the cascade looks at them.
        constants: None for the built-in ones.

    Raises:
        UsageError: there is none of that name.
    """
    maker = _MAKERS.get(name)
    if maker is None:
        raise UsageError(f"there is no policy {name!r}", hint=f"the policies are {', '.join(POLICY_NAMES)}")
    return maker(Policy() if constants is None else constants, {} if certificates is None else certificates)
