"""Policies by name: the product's, and an oracle that knows the truth, which only a simulation can have."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from phone.cascade.decision import Action, CascadeMemory, CascadePolicy, Decision, Rule
from phone.cascade.inputs import Conditions, Signals
from phone.cascade.policies import policy_named
from phone.reading import certificates_of
from shared.models.metamodel import Metamodel
from simulations.traces.records import SignTrace

ORACLE: Final = "oracle"
MAX_UNDECIDED: Final = 1024
"""Looks that an oracle remembers; far fewer are read and not decided at any time."""


class Oracle:
    """Asks the cloud where its answer puts the sign right, and nowhere else. What forbids a call forbids it here too.

    It knows of which look it is asked because it is told (`about`) when that look is read.
    """

    name = ORACLE

    def __init__(self) -> None:
        self._asks = policy_named("always")
        self._traces: OrderedDict[int, SignTrace] = OrderedDict()

    def about(self, sign_key: int, trace: SignTrace) -> None:
        """Whatever has this key (`Signals.sign_key`) is this look."""
        self._traces[sign_key] = trace
        if len(self._traces) > MAX_UNDECIDED:
            self._traces.popitem(last=False)

    def decide(self, signals: Signals, conditions: Conditions, memory: CascadeMemory) -> tuple[Decision, CascadeMemory]:
        """See `CascadePolicy.decide`."""
        trace = self._traces[signals.sign_key]
        decision, memory = self._asks.decide(signals, conditions, memory)
        recogniser = signals.recogniser.value
        gain = float(trace.final_right(recogniser)) - float(trace.local[recogniser].right)
        if decision.escalate and gain <= 0:
            decision = Decision(Action.KEEP, Rule.POLICY, "the oracle knows that asking would not help", gain, 0.0)
        return decision, memory


def policy_of(name: str) -> CascadePolicy:
    """The policy of an arm, with the certificates of the metamodel that ships, as `phone.serve` makes it.

    Raises:
        UsageError: there is none of that name.
    """
    return Oracle() if name == ORACLE else policy_named(name, certificates=certificates_of(Metamodel.builtin()))
