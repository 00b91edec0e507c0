"""Whether a sign is kept on the phone or escalated to the cloud: one pure function.

First every rule that forbids the call is tried, the wearer's will before all others (`rules`). Then what asking is
expected to put right is compared with what it costs, both in signs right::

    gain  = value of the sign * P(the answer comes in time) * (P(put right) - P(made wrong))
    price = asking + waiting + energy + data

The chances are the metamodel's. Where it says nothing, or something impossible, hand-set ones stand in (`chances`), as
long as the basic confidences are sound; else the phone's reading is kept (`Rule.FALLBACK`), for a number that is not
known must not send a picture away. A reading that the risk certificate covers must gain more to be asked about, one
that it does not cover less.

Where only the waking of a cellular radio makes a call too dear, it is held for others to go along with (`batching`).

More battery, a charger, quicker answers, more budget, a better network or a larger gain never turn an escalation into a
reading kept. No I/O, no clock, no globals: the daemon and the simulator run the very same function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from phone.cascade import explain
from phone.cascade.chances import chance_right, expected_gain
from phone.cascade.constants import Policy
from phone.cascade.decision import Action, CascadeMemory, CascadePolicy, Decision, Rule
from phone.cascade.hysteresis import remember
from phone.cascade.inputs import CloudState, Conditions, NetworkKind, Recogniser, Signals, Trouble
from phone.cascade.price import Price, chance_in_time, late_seconds, price_of_asking
from phone.cascade.rules import forbidden
from phone.cascade.soundness import sound_conditions, sound_signals, unknown_confidence
from shared.models.risk import RiskCertificate

__all__ = [
    "Action",
    "Cascade",
    "CascadeMemory",
    "CascadePolicy",
    "CloudState",
    "Conditions",
    "Decision",
    "Policy",
    "Recogniser",
    "Rule",
    "Signals",
    "Trouble",
]


@dataclass(frozen=True, slots=True)
class Cascade:
    """The policy of the product.

    Attributes:
        policy: its constants.
        certificates: which readings of a recogniser are known to be right often enough; without an entry nobody
            vouches for any of its readings.
    """

    policy: Policy = field(default_factory=Policy)
    certificates: Mapping[Recogniser, RiskCertificate] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Under which settings and experiments choose it."""
        return "cascade"

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        """Keep the phone's reading, or ask the cloud; never raises on an odd number."""
        signals, conditions = sound_signals(signals), sound_conditions(conditions)
        memory = remember(memory, conditions, self.policy)
        certified = self.certified(signals)
        ban = forbidden(signals, conditions, memory, self.policy)
        if ban is None and signals.estimate is None and (stage := unknown_confidence(signals)) is not None:
            ban = Rule.FALLBACK, f"kept to be safe: how sure the phone is of {stage} is not known"
        if ban is not None:
            return Decision(Action.KEEP, *ban, 0.0, 0.0, certified), memory
        return self._weigh(signals, conditions, memory, certified=certified), memory

    def certified(self, signals: Signals) -> bool:
        """Whether the certificate of its recogniser covers the phone's reading."""
        estimate, certificate = signals.estimate, self.certificates.get(signals.recogniser)
        return certificate is not None and estimate is not None and certificate.covers(estimate.right)

    def _weigh(self, signals: Signals, conditions: Conditions, memory: CascadeMemory, *, certified: bool) -> Decision:
        """Gain against price, once nothing forbids the call."""
        policy, certificate = self.policy, self.certificates.get(signals.recogniser)
        chance = chance_in_time(conditions, policy)
        at_best = signals.value * expected_gain(signals, policy)
        gain = chance * at_best
        base = policy.base_price(signals.recogniser, judged=signals.estimate is not None)
        hurdle = base * (policy.slow_factor if memory.slow else 1.0)
        asking = hurdle * self._factor(signals, certified=certified)
        price = price_of_asking(signals, conditions, policy, asking=asking, saving=memory.saving)
        if gain > price.alone:
            rule, reason = Rule.UNSURE, explain.asked(signals, gain, price)
            if asking < hurdle and gain <= price.alone - asking + hurdle and certificate is not None:
                rule = Rule.UNCERTIFIED
                reason = explain.asked_uncertified(chance_right(signals), certificate.alpha, gain, price)
            return Decision(Action.ESCALATE, rule, reason, gain, price.alone, certified, price_shared=price.shared)
        hold = self._hold_seconds(conditions, gain, price)
        if hold > 0:
            reason = explain.held(signals, gain, price, hold)
            return Decision(Action.HOLD, Rule.UNSURE, reason, gain, price.alone, certified, hold, price.shared)
        if at_best > price.alone:
            rule, reason = Rule.LATE, explain.late(signals, chance, gain, price)
        elif at_best > base * self._factor(signals, certified=certified):
            # With all else free it would be asked: not the reading decides, but the price.
            rule, reason = Rule.DEAR, explain.dear(signals, conditions, gain, price, slow=memory.slow)
        elif (right := chance_right(signals)) >= 0.5:
            alpha = certificate.alpha if certified and certificate is not None else None
            rule, reason = Rule.SURE, explain.sure(right, alpha, gain, price)
        else:
            rule, reason = Rule.HOPELESS, explain.hopeless(signals, gain, price)
        return Decision(Action.KEEP, rule, reason, gain, price.alone, certified, price_shared=price.shared)

    def _factor(self, signals: Signals, *, certified: bool) -> float:
        """Of the base price. Without a certificate or an estimate nothing is known either way."""
        if signals.recogniser not in self.certificates or signals.estimate is None:
            return 1.0
        return self.policy.certified_factor if certified else self.policy.uncertified_factor

    def _hold_seconds(self, conditions: Conditions, gain: float, price: Price) -> float:
        """How long to wait for company; 0 where that would not pay, or there is no radio to share.

        No longer than the answer would still come in time nine times in ten, nor than the waiting itself eats up what
        is gained.
        """
        if conditions.network is not NetworkKind.CELLULAR or gain <= price.shared:
            return 0.0
        policy = self.policy
        spare = conditions.life_left_seconds - conditions.delivery_seconds - late_seconds(conditions, policy)
        worth = (gain - price.shared) / policy.price_per_second if policy.price_per_second > 0 else spare
        hold = min(spare, worth, policy.longest_hold_seconds)
        return hold if hold >= policy.least_hold_seconds else 0.0
