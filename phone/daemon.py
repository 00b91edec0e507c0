"""The phone daemon: phase one, the cascade and phase two of every sign ("How a sign flows", steps 7 to 9).

The first answer never waits for the cascade: when the decision and its row in the ledger are not there within
`FIRST_ANSWER_S` of the reading, the reading goes out as a provisional one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol, TypeVar

from phone.battery import Battery
from phone.cascade.decision import CascadePolicy
from phone.cascade.inputs import CloudState, Recogniser, Thermal
from phone.cascade.policies import policy_named
from phone.cloud import CloudClient
from phone.deciding import Decider, Moment, Surroundings, Verdict
from phone.inbox import Inbox, Job
from phone.ledger import Consent, Ledger
from phone.network import UNKNOWN as UNKNOWN_NETWORK
from phone.network import NetworkState
from phone.outbox import Outbox
from phone.placing import Placing, Recalled
from phone.readings import LocalReading, to_ledger_sign, to_message, to_signals
from phone.refining import Escalation, Refiner, Remembers
from phone.requests import request_for
from phone.settings import PhoneSettings
from phone.tasks import Tasks
from phone.window import RadioWindow
from shared.clock import Clock
from shared.errors import InputError, WaywordError
from shared.events import EventLog
from shared.link import Link
from shared.messages.names import enum_name
from shared.messages.wayword.v1 import types_pb2
from shared.models.estimate import Estimate
from shared.models.sign_evidence import SignEvidence

T = TypeVar("T")

FIRST_ANSWER_S: Final = 0.1
"""How long a reading waits for its decision before it goes out as provisional; a decision takes a few milliseconds,
most of them for the disk."""
MAX_UNDECIDED: Final = 64
"""Signs whose decision waits for the disk; above it a sign is kept without one."""
_ANSWER_BYTES: Final = 256
"""Least size assumed of the answer that will go to the glasses."""


class StripReader(Remembers, Protocol):
    """Phase one; `phone.reading.LocalReader` in production."""

    def read(self, strip: types_pb2.Strip, recogniser: Recogniser) -> LocalReading:
        """Read one strip; runs in the worker thread."""
        ...


class Estimator(Protocol):
    """Says how likely a reading is right; `shared.models.metamodel.Metamodel` in production."""

    def estimate(self, evidence: SignEvidence) -> Estimate:
        """What is likely of one sign; runs in the worker thread. Raises `WaywordError` where it cannot say."""
        ...


class PhoneDaemon:
    """Answers every strip the glasses send. Make it inside a running event loop.

    Args:
        link: to the glasses.
        reader: phase one.
        choose_recogniser: which recogniser to use, given the battery.
        cloud: phase two; None for no cloud.
        ledger: where every decision goes.
        consent: the wearer's, under the privacy switch "ask".
        battery: asked for every strip.
        settings: everything else.
        clock: of every wait and deadline.
        events: the log.
        policy: keeps or asks; None for the one that the settings name, without a certificate.
        metamodel: what the policy goes by; None for none.
        network: asked for every strip.
        thermal: asked for every strip.
        window: how long the radio stays awake; None for one that only this daemon tells.
        placing: what is remembered of places; None for nothing.
    """

    def __init__(
        self,
        *,
        link: Link,
        reader: StripReader,
        choose_recogniser: Callable[[Battery], Recogniser],
        cloud: CloudClient | None,
        ledger: Ledger,
        consent: Consent,
        battery: Callable[[], Battery],
        settings: PhoneSettings,
        clock: Clock,
        events: EventLog,
        policy: CascadePolicy | None = None,
        metamodel: Estimator | None = None,
        network: Callable[[], NetworkState] = lambda: UNKNOWN_NETWORK,
        thermal: Callable[[], Thermal] = lambda: Thermal.UNKNOWN,
        window: RadioWindow | None = None,
        placing: Placing | None = None,
    ) -> None:
        self._link = link
        self._placing = placing
        self._reader = reader
        self._choose_recogniser = choose_recogniser
        self._surroundings = Surroundings(battery, network, thermal, window or RadioWindow(clock))
        self._metamodel = metamodel
        self._privacy = settings.privacy()
        self._clock = clock
        self._events = events
        self._outbox = Outbox(link, clock=clock, events=events)
        self._inbox = Inbox(
            clock=clock,
            events=events,
            life_s=settings.answer_life_s,
            max_waiting=settings.waiting_strips,
            max_remembered=settings.remembered_strips,
        )
        self._deciding = Tasks()
        self._calling = Tasks()
        self._decider = Decider(
            policy=policy or policy_named(settings.policy.value),
            surroundings=self._surroundings,
            cloud=cloud,
            ledger=ledger,
            consent=consent,
            settings=settings,
            clock=clock,
            events=events,
        )
        self._refiner: Refiner | None = None
        if cloud is not None:
            self._refiner = Refiner(
                cloud=cloud,
                decider=self._decider,
                ledger=ledger,
                reader=reader,
                surroundings=self._surroundings,
                answer=self._answer,
                max_calls=settings.cloud_calls,
                clock=clock,
                events=events,
                tasks=self._calling,
            )

    @property
    def refused_objects(self) -> int:
        """Objects from the glasses that were of no use."""
        return self._inbox.refused

    async def use(self, policy: CascadePolicy, settings: PhoneSettings, *, arms: str) -> None:
        """Decide by another policy, hold time and hedging from the next sign on; see `Decider.use`."""
        await self._decider.use(policy, settings, arms=arms)

    async def run(self) -> None:
        """Answer strips until the link is closed or the task is cancelled."""
        # One thread: the models are not for two, and one session per core is the fastest use of a small CPU.
        with ThreadPoolExecutor(1, thread_name_prefix="wayword-reader") as worker:
            steps = [
                asyncio.create_task(self._receive(), name="wayword-receive"),
                asyncio.create_task(self._read_strips(worker), name="wayword-read"),
                asyncio.create_task(self._outbox.run(), name="wayword-outbox"),
            ]
            if self._refiner is not None:
                steps.append(asyncio.create_task(self._refiner.run(), name="wayword-hold"))
            try:
                awaited = [*steps, self._deciding.failed, self._calling.failed]
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                for step in awaited:
                    if step.done():
                        step.result()
            finally:
                for task in steps:
                    task.cancel()
                await self._deciding.cancel()
                await self._calling.cancel()
                await asyncio.gather(*steps, return_exceptions=True)

    async def _receive(self) -> None:
        async for payload in self._link.receive():
            repeated = self._inbox.accept(payload)
            if repeated is not None:
                answer, deadline = repeated
                self._outbox.put(answer, deadline=deadline)

    # Phase one ----------------------------------------------------------------------------------------

    async def _read_strips(self, worker: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        while True:
            job = await self._inbox.next()
            started = self._clock.monotonic()
            # Asked now, so that what takes its time to read is known when it is decided.
            self._surroundings.network(), self._surroundings.thermal()
            try:
                recogniser = self._choose_recogniser(self._surroundings.battery())
                reading, estimate = await loop.run_in_executor(worker, self._read, job, recogniser)
            except InputError as error:
                self._inbox.refuse(error.message)
                self._answer(job, _nothing(job.strip))
                continue
            except WaywordError as error:
                self._events.write(
                    "reading_failed", region_id=job.strip.region_id, error=type(error).__name__, reason=str(error)
                )
                self._answer(job, _nothing(job.strip))
                continue
            waited_ms = (started - job.received) * 1e3
            if isinstance(estimate, WaywordError):
                self._events.write("estimate_failed", region_id=reading.region_id, reason=estimate.message)
                estimate = None
            recalled = None
            if self._placing is not None:
                recalling = loop.run_in_executor(worker, self._placing.recall, job.strip, reading)
                recalled = await self._spared(recalling)
            cascade = self._cascade(job, reading, estimate, recalled, waited_ms=waited_ms)
            self._deciding.start(cascade, name="wayword-cascade")

    def _read(self, job: Job, recogniser: Recogniser) -> tuple[LocalReading, Estimate | WaywordError | None]:
        """The reading, and how far to trust it or why that is not known. Runs in the worker thread."""
        reading = self._reader.read(job.strip, recogniser)
        evidence = reading.evidence
        if self._metamodel is None or evidence is None:
            return reading, None
        try:
            return reading, self._metamodel.estimate(evidence)
        except WaywordError as error:
            return reading, error

    async def _spared(self, work: Awaitable[T]) -> T | None:
        """What places have to say; None where they break: signs are read without them."""
        [outcome] = await asyncio.gather(work, return_exceptions=True)
        if isinstance(outcome, BaseException):
            self._events.write("places_failed", error=type(outcome).__name__)
            return None
        return outcome

    def _answer(self, job: Job, message: types_pb2.Reading) -> None:
        if self._placing is not None and message.text and message.state != types_pb2.READING_STATE_PROVISIONAL:
            self._deciding.start(self._spared(self._placing.note(job.strip, message)), name="wayword-place")
        self._inbox.remember(job.key, message)
        self._outbox.put(message, deadline=job.deadline)
        self._events.write(
            "reading_sent",
            content={"text": message.text, "translation": message.translation},
            frame_id=message.frame_id,
            region_id=message.region_id,
            state=enum_name(types_pb2.ReadingState, message.state),
            tier=enum_name(types_pb2.Tier, message.tier),
            engine=enum_name(types_pb2.Engine, message.engine),
            since_strip_ms=(self._clock.monotonic() - job.received) * 1e3,
        )

    # The cascade --------------------------------------------------------------------------------------

    async def _cascade(
        self,
        job: Job,
        reading: LocalReading,
        estimate: Estimate | None,
        recalled: Recalled | None,
        *,
        waited_ms: float,
    ) -> None:
        """Decide, write the decision down, answer, and start phase two where the decision says so."""
        message = to_message(reading, types_pb2.READING_STATE_KEPT) if recalled is None else recalled.message
        message.stage_times.add(stage="wait", milliseconds=waited_ms)
        provisional = types_pb2.Reading()
        provisional.CopyFrom(message)
        provisional.state = types_pb2.READING_STATE_PROVISIONAL
        request = request_for(reading, place_cell=None if self._placing is None else self._placing.cell_beside(reading))
        signals = to_signals(
            reading,
            request_bytes=request.ByteSize(),
            direction_refused=self._refiner is not None and self._refiner.refuses(reading),
            estimate=estimate,
            privacy=self._privacy,
        )
        if recalled is not None and recalled.sure:
            self._answer(job, message)
            await self._decider.keep_known(to_ledger_sign(reading), signals, reason=recalled.reason)
            return
        moment = partial(self._moment, job, max(message.ByteSize(), _ANSWER_BYTES))
        shown = False

        def show_meanwhile() -> None:
            nonlocal shown
            shown = True
            self._answer(job, provisional)

        if len(self._deciding) > MAX_UNDECIDED:
            verdict = self._decider.decide_unrecorded(signals, moment())
        else:
            patience = asyncio.get_running_loop().call_later(FIRST_ANSWER_S, show_meanwhile)
            try:
                verdict = await self._decider.decide(to_ledger_sign(reading), signals, moment)
            finally:
                patience.cancel()
        self._note(reading, verdict, estimate, bytes_out=signals.request_bytes)
        if not verdict.decision.escalate or self._refiner is None or verdict.row is None:
            self._answer(job, message)
            return
        if not shown:
            self._answer(job, provisional)
        escalation = Escalation(
            job=job,
            reading=reading,
            signals=signals,
            decision=verdict.decision,
            moment=moment,
            request=request,
            kept=message,
            row=verdict.row,
            hedge=verdict.hedge,
            attempts=verdict.attempts,
            since=self._clock.monotonic(),
        )
        if verdict.hold_seconds > 0:
            self._refiner.hold(escalation, seconds=verdict.hold_seconds)
        else:
            self._refiner.ask(escalation)

    def _moment(self, job: Job, answer_bytes: int) -> Moment:
        return Moment(
            cloud=CloudState.NOT_CONFIGURED if self._refiner is None else self._refiner.state,
            deadline=job.deadline,
            delivery_seconds=self._link.quality.predict(answer_bytes).typical_s,
        )

    def _note(self, reading: LocalReading, verdict: Verdict, estimate: Estimate | None, *, bytes_out: int) -> None:
        decision = verdict.decision
        self._events.write(
            "decision",
            frame_id=reading.frame_id,
            region_id=reading.region_id,
            escalate=decision.escalate,
            rule=decision.rule.value,
            reason=decision.reason,
            gain=decision.gain,
            price=decision.price,
            bytes_out=bytes_out if decision.escalate else 0,
            action=decision.action.value,
            policy=self._decider.policy_name,
            certified=decision.certified,
            network=verdict.network.value,
            hold_seconds=verdict.hold_seconds,
            right=None if estimate is None else estimate.right,
            helped=None if estimate is None else estimate.helped,
            harmed=None if estimate is None else estimate.harmed,
        )


def _nothing(strip: types_pb2.Strip) -> types_pb2.Reading:
    """The answer to a strip that is malformed, or whose models fail: the glasses stop waiting."""
    return types_pb2.Reading(
        frame_id=strip.frame_id,
        region_id=strip.region_id,
        captured_us=strip.captured_us,
        tier=types_pb2.TIER_PHONE,
        engine=types_pb2.ENGINE_NONE,
        state=types_pb2.READING_STATE_KEPT,
    )
