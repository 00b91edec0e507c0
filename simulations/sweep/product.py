"""The designs that use the product's link: the daemon in its three forms, and the relay of the split design.

What runs here is what ships: `PhoneDaemon` with its inbox, outbox, ledger, cache and policy, `CloudClient`, both ends
of the link, and the cloud's service. Only the models, the radio, the network and the machine's sensors are simulated.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phone.battery import Battery
from phone.cache import TranslationCache
from phone.cascade.decision import CascadePolicy
from phone.cascade.inputs import Recogniser, Thermal
from phone.cloud import CloudClient
from phone.cloud_channel import CloudTransport
from phone.daemon import PhoneDaemon
from phone.database import Database
from phone.ledger import Consent, Ledger
from phone.reading import choose_recogniser
from phone.readings import sign_key
from phone.settings import PhoneSettings
from phone.window import RadioWindow
from shared.errors import StorageError
from shared.events import EventLog
from shared.messages.wayword.v1 import types_pb2
from shared.models.estimate import Estimate
from shared.models.metamodel import Metamodel
from shared.models.sign_evidence import SignEvidence
from simulations.energy.constants import Constants
from simulations.energy.radio import PhoneRadios
from simulations.networks.presets import ble_profile
from simulations.sweep.arms import DEFAULT_POLICY, Arm, Design
from simulations.sweep.bluetooth import Bluetooth
from simulations.sweep.cloudside import CloudSide
from simulations.sweep.devices import Pair, PhoneGauge
from simulations.sweep.plan import Plan
from simulations.sweep.policies import Oracle, policy_of
from simulations.sweep.relay import Relay
from simulations.sweep.replay import TraceReader, Verdicts, Work
from simulations.sweep.uplink import Internet, Remote, Sent, SimulatedTransport
from simulations.sweep.ways import ways_of
from simulations.sweep.wearer import Wearer
from simulations.traces.records import SignTrace
from simulations.virtual_time import VirtualClock

WAKE_BEFORE_S: Final = 1.0
"""The link is taken up again so long before the gate opens: HELLOs take three connection intervals."""
SETTLE_S: Final = 1.0
"""From the last answer until the link may be set aside: its acknowledgement has long arrived."""
PATIENCE_S: Final = 45.0
"""What has no last answer by then has none coming: a strip's deadline, its life on the phone, and the answer's way."""
MAX_ESTIMATES: Final = 4096


@dataclass(slots=True)
class Outcome:
    """What a run with the product's link came to.

    Attributes:
        wearer: with every answer.
        bluetooth: with its traffic.
        internet: with radios and what was sent.
        phone_work: of the phone's models.
        decisions: of the cascade, by rule and action.
        bytes_in_ledger: bytes that the ledger says have left.
        asked: looks about which the cloud was asked, each once, however often it was tried.
    """

    wearer: Wearer
    bluetooth: Bluetooth
    internet: Internet
    phone_work: Work
    decisions: dict[str, int]
    bytes_in_ledger: int
    asked: int

    @property
    def sent(self) -> Sent:
        """What left the phone."""
        return self.internet.sent


Wrap = Callable[[Remote, VirtualClock], Remote]
"""Puts something between network and cloud: how tests make a cloud late, or wrong."""


async def run_product(
    clock: VirtualClock, arm: Arm, plan: Plan, constants: Constants, *, seed: int, wrap: Wrap | None = None
) -> Outcome:
    """Run one arm with the product's own code; must be called inside a `ComputingLoop`.

    Args:
        clock: of the loop, which stands at the first midnight.
        arm: what to run.
        plan: what comes into view.
        constants: of the run.
        seed: of links and networks.
        wrap: puts something between network and cloud; None for nothing.

    Raises:
        UsageError: the arm names something that there is not.
    """
    async with AsyncExitStack() as stack:
        scene = _Scene(clock, arm, plan, constants, seed, stack, wrap)
        phone = scene.relay() if arm.design is Design.SPLIT else scene.daemon()
        running = asyncio.create_task(phone.run(), name="phone")
        walking = asyncio.create_task(_walk(clock, scene.start, plan, scene.bluetooth, scene.wearer), name="walk")
        await asyncio.wait((running, walking), return_when=asyncio.FIRST_COMPLETED)
        for task in (running, walking):
            if task.done():
                task.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return scene.outcome(phone)


class _Scene:
    """What a run is made of; whatever must be closed is closed by the stack."""

    def __init__(
        self,
        clock: VirtualClock,
        arm: Arm,
        plan: Plan,
        constants: Constants,
        seed: int,
        stack: AsyncExitStack,
        wrap: Wrap | None,
    ) -> None:
        self.start = clock.monotonic()
        self._clock = clock
        self._arm = arm
        self._plan = plan
        self._constants = constants
        self._stack = stack
        self._pair = Pair.of(arm, constants)
        self._events = EventLog(None, tier="phone", clock=clock)
        self._settings = PhoneSettings.model_construct(cloud_use=arm.privacy)  # whatever the environment says
        self._verdicts = Verdicts()
        self._work = Work()
        self._ledger: Ledger | None = None
        ways = ways_of(arm, plan, constants, seed)
        self._internet = Internet(ways, PhoneRadios(constants), clock=clock, start_s=self.start)
        self.bluetooth = Bluetooth(ble_profile(arm.link), clock=clock, seed=seed)
        stack.push_async_callback(self.bluetooth.close)
        self.wearer = Wearer(
            plan.book,
            self.bluetooth.glasses,
            clock=clock,
            verdicts=self._verdicts,
            compute_factor=1 / self._pair.glasses.speed,
            start_s=self.start,
        )
        stack.push_async_callback(self.wearer.close)
        self._cloud = self._connected_cloud(wrap) if arm.design.asks_cloud else None

    def _connected_cloud(self, wrap: Wrap | None) -> CloudClient:
        service = CloudSide(self._plan.book, clock=self._clock)
        self._stack.push_async_callback(service.close)
        transport: CloudTransport = SimulatedTransport(
            self._internet,
            service if wrap is None else wrap(service, self._clock),
            clock=self._clock,
            server_overhead_s=self._constants["net.server_ms_overhead"] / 1e3,
            is_private=self._plan.is_private,
        )
        cloud = CloudClient(transport, clock=self._clock)
        self._stack.push_async_callback(cloud.close)
        return cloud

    def relay(self) -> Relay:
        """The phone of the split design."""
        assert self._cloud is not None
        return Relay(
            link=self.bluetooth.phone,
            cloud=self._cloud,
            settings=self._settings,
            clock=self._clock,
            events=self._events,
        )

    def daemon(self) -> PhoneDaemon:
        """The product's phone; without a cloud where the design has none."""
        clock, arm = self._clock, self._arm
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="wayword-sweep-", dir=_memory_folder()))
        database = Database(Path(folder) / "phone.sqlite3")
        self._stack.callback(database.close)
        self._ledger = Ledger(database, clock=clock)
        policy = policy_of(arm.policy or DEFAULT_POLICY)
        cache = TranslationCache(
            database, clock=clock, max_entries=self._settings.remembered_translations, on_error=_refuse
        )
        reader = TraceReader(
            self._plan.book,
            compute_factor=1 / self._pair.phone.speed,
            verdicts=self._verdicts,
            cache=cache,
            table_only=arm.design is Design.TABLE,
            work=self._work,
            on_read=_told(policy),
        )
        gauge = PhoneGauge(
            self._pair.phone, self._plan.wear, self._constants, spent=self._spent, clock=clock, start_s=self.start
        )
        return PhoneDaemon(
            link=self.bluetooth.phone,
            reader=reader,
            choose_recogniser=_chooser(arm),
            cloud=self._cloud,
            ledger=self._ledger,
            consent=Consent(database, clock=clock),
            battery=gauge,
            settings=self._settings,
            clock=clock,
            events=self._events,
            policy=policy,
            metamodel=None if self._cloud is None else Estimates(),
            network=self._internet.state,
            thermal=lambda: Thermal.NORMAL,
            window=RadioWindow(clock),
        )

    def _spent(self) -> float:
        """Joules that reading and the internet have cost the phone so far."""
        reading = self._work.seconds * self._pair.phone.compute_watts
        return reading + self._internet.radios.joules(self._internet.now)

    def outcome(self, phone: Relay | PhoneDaemon) -> Outcome:
        """What the run came to."""
        if isinstance(phone, Relay):
            decisions: dict[str, int] = {}
            left, asked = phone.bytes_out, phone.pictures_out
        else:
            assert self._ledger is not None
            decisions = {f"{count.action}: {count.rule}": count.decisions for count in self._ledger.by_rule()}
            gone = self._ledger.by_rule(left=True)
            left, asked = sum(count.bytes_out for count in gone), sum(count.decisions for count in gone)
        return Outcome(self.wearer, self.bluetooth, self._internet, self._work, decisions, left, asked)


async def _walk(clock: VirtualClock, start: float, plan: Plan, bluetooth: Bluetooth, wearer: Wearer) -> None:
    """Let the gate open when the plan says so; set the link aside while nothing is under way."""

    async def until(at: float) -> None:
        await clock.sleep(max(0.0, start + at - clock.monotonic()))

    for index, opening in enumerate(plan.openings):
        await until(opening.at - WAKE_BEFORE_S)
        bluetooth.wake()
        await until(opening.at)
        wearer.see(opening)
        await clock.sleep(0.0)
        following = plan.openings[index + 1].at if index + 1 < len(plan.openings) else opening.at + 2 * PATIENCE_S
        patience = min(PATIENCE_S, following - opening.at - WAKE_BEFORE_S)
        if patience <= SETTLE_S:
            continue
        try:
            async with asyncio.timeout(patience - SETTLE_S):
                await wearer.quiet()
        except TimeoutError:
            if patience < PATIENCE_S:
                continue
            wearer.give_up()
        await clock.sleep(SETTLE_S)
        bluetooth.doze()


class Estimates:
    """`phone.daemon.Estimator`: the shipped metamodel, asked once for each evidence."""

    def __init__(self) -> None:
        self._metamodel = Metamodel.builtin()
        self._known: OrderedDict[SignEvidence, Estimate] = OrderedDict()

    def estimate(self, evidence: SignEvidence) -> Estimate:
        """See `Metamodel.estimate`."""
        known = self._known.get(evidence)
        if known is None:
            known = self._known[evidence] = self._metamodel.estimate(evidence)
            if len(self._known) > MAX_ESTIMATES:
                self._known.popitem(last=False)
        return known


def _chooser(arm: Arm) -> Callable[[Battery], Recogniser]:
    if arm.design is Design.TABLE:
        return lambda battery: Recogniser.TINY
    return lambda battery: choose_recogniser(arm.recogniser, battery=battery, installed=frozenset(Recogniser))


def _told(policy: CascadePolicy) -> Callable[[types_pb2.Strip, SignTrace], None] | None:
    if not isinstance(policy, Oracle):
        return None
    return lambda strip, trace: policy.about(sign_key(strip.captured_us, strip.frame_id, strip.region_id), trace)


def _memory_folder() -> str | None:
    """Where files stay in memory, so that a run does not wait for a disk."""
    folder = Path("/dev/shm")  # the database goes into a private folder below it
    return str(folder) if folder.is_dir() else None


def _refuse(error: StorageError) -> None:
    raise error
