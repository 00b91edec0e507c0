"""The cascade's decision about one sign: the world around it, the policy, and the row in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from phone.battery import Battery
from phone.cascade.decision import Action, CascadeMemory, CascadePolicy, Decision, Rule
from phone.cascade.inputs import CloudState, Conditions, NetworkKind, Signals, Thermal
from phone.cascade.price import CELLULAR_TAIL_S, call_energy
from phone.cloud import MAX_ATTEMPTS, CloudClient
from phone.ledger import Consent, Ledger
from phone.ledger_rows import Setting, Sign
from phone.network import NetworkState
from phone.settings import PhoneSettings
from phone.window import RadioWindow
from shared.clock import Clock
from shared.errors import StorageError
from shared.events import EventLog

HEDGE_WORTH: Final = 2.0
"""A second attempt costs at most what the first did: it goes out only where asking is worth twice the price."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known of the phone; each is asked for every sign and answers at once.

    Attributes:
        battery: state of charge.
        network: what a call would go over.
        thermal: how warm it is.
        window: how long the radio stays awake.
    """

    battery: Callable[[], Battery]
    network: Callable[[], NetworkState]
    thermal: Callable[[], Thermal]
    window: RadioWindow


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of the daemon itself, and of the sign's life.

    Attributes:
        cloud: whether it can be asked.
        deadline: on the clock, until when an answer is worth showing.
        delivery_seconds: predicted for the answer's way to the glasses.
    """

    cloud: CloudState
    deadline: float
    delivery_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision and what goes with it.

    Attributes:
        decision: the policy's.
        row: of the ledger; None where it could not be written, and nothing may leave.
        network: what a call would go over.
        hedge: whether a second attempt may go out when the first is slow.
        hold_seconds: how long it waits for an open radio; 0 for going at once.
        attempts: times that the call's bytes may leave: what the day's budget has room for.
    """

    decision: Decision
    row: int | None
    network: NetworkKind
    hedge: bool
    hold_seconds: float
    attempts: int = 0


class Decider:
    """Decides about one sign after the other, each with the memory that the last one left. Lives on the event loop.

    Args:
        policy: keeps or asks.
        surroundings: of the phone.
        cloud: whose pace is known; None for no cloud.
        ledger: where every decision goes.
        consent: the wearer's, under the privacy switch "ask".
        settings: the wearer's will and the budget.
        clock: of deadlines.
        events: told when the ledger cannot be written.
    """

    def __init__(
        self,
        *,
        policy: CascadePolicy,
        surroundings: Surroundings,
        cloud: CloudClient | None,
        ledger: Ledger,
        consent: Consent,
        settings: PhoneSettings,
        clock: Clock,
        events: EventLog,
    ) -> None:
        self._policy = policy
        self._surroundings = surroundings
        self._cloud = cloud
        self._ledger = ledger
        self._consent = consent
        self._settings = settings
        self._clock = clock
        self._events = events
        self._arms = ""
        self._memory = CascadeMemory()
        self._one_at_a_time = asyncio.Lock()

    @property
    def policy_name(self) -> str:
        """Which policy decides."""
        return self._policy.name

    async def use(self, policy: CascadePolicy, settings: PhoneSettings, *, arms: str) -> None:
        """Decide by another policy and other settings from the next sign on.

        Args:
            policy: keeps or asks.
            settings: with the wearer's will as it was.
            arms: of experiments, for the ledger.
        """
        async with self._one_at_a_time:
            self._policy, self._settings, self._arms = policy, settings, arms

    async def decide(self, sign: Sign, signals: Signals, moment: Callable[[], Moment]) -> Verdict:
        """Decide, and write it down. Without a row nothing leaves.

        Args:
            sign: which it is about.
            signals: what is known of it.
            moment: asked when its turn has come.
        """
        async with self._one_at_a_time:
            conditions = self._conditions(moment())
            memory = self._memory

            def decide_and_record() -> tuple[Verdict, CascadeMemory]:
                known = self._with_stored(conditions)
                decision, after = self._policy.decide(signals, known, memory)
                verdict = self._verdict(decision, after, conditions)
                decision = verdict.decision
                attempts = _attempts(signals, known)
                row = self._ledger.record(
                    sign,
                    signals,
                    decision,
                    self._setting(signals, decision, conditions),
                    attempts=attempts,
                    held=verdict.hold_seconds > 0,
                )
                return replace(verdict, row=row, attempts=attempts), after

            try:
                # In a thread: a slow disk must not keep the link from its acknowledgements.
                verdict, self._memory = await asyncio.to_thread(decide_and_record)
            except StorageError as error:
                self._events.write("storage_failed", reason=str(error))
                return self.decide_unrecorded(signals, moment())
            return verdict

    async def keep_known(self, sign: Sign, signals: Signals, *, reason: str) -> None:
        """Write down that a sign was answered from what is known of its place, and that nothing left.

        Args:
            sign: which it is about.
            signals: what was read of it.
            reason: one line that the wearer understands.
        """
        decision = Decision(Action.KEEP, Rule.PLACE, reason, gain=0.0, price=0.0)
        setting = Setting(self._policy.name, self._surroundings.network().kind.value, None, self._arms)
        try:
            await asyncio.to_thread(self._ledger.record, sign, signals, decision, setting)
        except StorageError as error:
            self._events.write("storage_failed", reason=str(error))
        self._events.write(
            "place_recalled", frame_id=sign.frame_id, region_id=sign.region_id, reason=reason, rule=decision.rule.value
        )

    def decide_unrecorded(self, signals: Signals, moment: Moment) -> Verdict:
        """Decide where the ledger cannot be written: nothing leaves. The memory stays as it was."""
        conditions = replace(self._conditions(moment), ledger_writable=False)
        decision, _ = self._policy.decide(signals, conditions, self._memory)
        return self._verdict(decision, self._memory, conditions)

    async def release(
        self, row: int, signals: Signals, moment: Callable[[], Moment], *, held_ms: float
    ) -> tuple[int, str]:
        """A held escalation may go now: how often its bytes may leave by now's conditions, 0 for not at all, and why.

        Its bytes are counted in the ledger before they are sent, or the reason is written there.

        Args:
            row: of the ledger.
            signals: as when it was held.
            moment: asked when its turn has come.
            held_ms: how long it waited.
        """
        async with self._one_at_a_time:
            conditions = self._conditions(moment())
            # It goes along with others: what opening the radio costs has been paid, or is shared.
            conditions = replace(conditions, radio_open_seconds=CELLULAR_TAIL_S)
            memory = self._memory

            def decide_and_record() -> tuple[int, str, CascadeMemory]:
                known = self._with_stored(conditions)
                decision, after = self._policy.decide(signals, known, memory)
                attempts = _attempts(signals, known) if decision.escalate else 0
                if attempts:
                    self._ledger.release(row, request_bytes=signals.request_bytes, attempts=attempts, held_ms=held_ms)
                else:
                    self._ledger.give_up(row, reason=decision.reason, held_ms=held_ms)
                return attempts, decision.reason, after

            try:
                attempts, reason, self._memory = await asyncio.to_thread(decide_and_record)
            except StorageError as error:
                self._events.write("storage_failed", reason=str(error))
                return 0, "the ledger cannot be written, and nothing leaves unrecorded"
            return attempts, reason

    def _conditions(self, moment: Moment) -> Conditions:
        """The world around a decision, but for what is in the database: that is the most careful guess."""
        battery, network = self._surroundings.battery(), self._surroundings.network()
        cloud = self._cloud
        return Conditions(
            cloud=moment.cloud,
            cloud_use=self._settings.cloud_use,
            consent=False,
            ledger_writable=True,
            budget_left_bytes=0,
            battery_percent=battery.percent,
            charging=battery.charging,
            expected_seconds=cloud.expected_seconds if cloud else 0.0,
            late_seconds=cloud.late_seconds if cloud else None,
            life_left_seconds=moment.deadline - self._clock.monotonic(),
            delivery_seconds=moment.delivery_seconds,
            network=network.kind,
            metered=network.metered,
            radio_open_seconds=self._surroundings.window.open_seconds(network.kind),
            thermal=self._surroundings.thermal(),
        )

    def _with_stored(self, conditions: Conditions) -> Conditions:
        """With what is in the database, which is slow to ask; runs in a thread.

        Raises:
            StorageError: it cannot be read.
        """
        left = max(self._settings.daily_budget_bytes - self._ledger.bytes_today(), 0)
        return replace(conditions, consent=self._consent.given(), budget_left_bytes=left)

    def _verdict(self, decision: Decision, memory: CascadeMemory, conditions: Conditions) -> Verdict:
        worth = decision.gain >= HEDGE_WORTH * decision.price
        # Bytes over a network that nobody knows may cost money.
        free = conditions.network is not NetworkKind.UNKNOWN and not conditions.metered
        hold = min(decision.hold_seconds, self._settings.hold_s) if decision.action is Action.HOLD else 0.0
        if decision.action is Action.HOLD and hold <= 0:
            # It was not worth waking the radio for, and the wearer does not want it to wait for company.
            decision = replace(decision, action=Action.KEEP, rule=Rule.DEAR, reason=f"{decision.reason}; not held")
        return Verdict(
            decision,
            row=None,
            network=conditions.network,
            hedge=self._settings.hedging and decision.escalate and worth and free and not memory.saving,
            hold_seconds=hold,
        )

    def _setting(self, signals: Signals, decision: Decision, conditions: Conditions) -> Setting:
        energy = call_energy(
            conditions.network,
            request_bytes=signals.request_bytes,
            active_seconds=conditions.expected_seconds,
            radio_open_seconds=conditions.radio_open_seconds,
        )
        joules = {Action.KEEP: None, Action.ESCALATE: energy.alone, Action.HOLD: energy.shared}[decision.action]
        return Setting(self._policy.name, conditions.network.value, joules, self._arms)


def _attempts(signals: Signals, conditions: Conditions) -> int:
    """Times that a call's bytes may leave, once it is allowed: a second attempt must fit the budget, too."""
    fit = conditions.budget_left_bytes // max(signals.request_bytes, 1)
    return min(max(fit, 1), MAX_ATTEMPTS)
