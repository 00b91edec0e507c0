"""Experiments and telemetry of the daemon, put together from its settings, and run beside it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from phone import experiments as experiments_module
from phone import telemetry as telemetry_module
from phone.battery import Battery
from phone.cascade.decision import CascadePolicy
from phone.cascade.inputs import Thermal
from phone.cascade.privacy import CloudUse
from phone.cloud import CloudClient
from phone.cloud_channel import CloudChannel
from phone.daemon import PhoneDaemon
from phone.database import Database
from phone.experiments import Assigned, ExperimentsClient, forget
from phone.ledger import Consent
from phone.network import NetworkState
from phone.settings import ExperimentsUse, PhoneSettings, TelemetryUse
from phone.telemetry import Telemetry
from phone.telemetry_store import TelemetryStore
from phone.window import RadioWindow
from shared.clock import Clock
from shared.errors import StorageError
from shared.events import EventLog
from shared.experiments import arms_line
from shared.models.packs import PackManifest, PackStore
from shared.wire.waiting import Backoff

T = TypeVar("T")


@dataclass(slots=True)
class LiveSettings:
    """The settings as they are in force now: the wearer's, and what arms of experiments set."""

    settings: PhoneSettings


@dataclass(frozen=True, slots=True)
class Daemon:
    """What both need of the daemon.

    Attributes:
        daemon: decides by what arms set.
        live: changed by arms.
        policy: by its name.
        cloud: whose deadline arms may set; None for no cloud.
        channel: to the cloud; None for none.
        database: the phone's.
        network, battery, thermal, window: of the phone.
        consent: the wearer's, under the privacy switch "ask".
    """

    daemon: PhoneDaemon
    live: LiveSettings
    policy: Callable[[str], CascadePolicy]
    cloud: CloudClient | None
    channel: CloudChannel | None
    database: Database
    network: Callable[[], NetworkState]
    battery: Callable[[], Battery]
    thermal: Callable[[], Thermal]
    window: RadioWindow
    consent: Consent

    def allows(self, use: CloudUse) -> bool:
        """Whether the wearer lets anything go to the cloud now. Looks at the disk; raises `StorageError`."""
        return use is CloudUse.ALLOW or (use is CloudUse.ASK and self.consent.given())


async def start_experiments(
    settings: PhoneSettings, parts: Daemon, *, clock: Clock, events: EventLog, stack: AsyncExitStack
) -> Callable[[], Mapping[str, str]]:
    """Ask for arms beside the daemon until the stack ends.

    Returns:
        What says which arms are in force.
    """
    channel = parts.channel
    if settings.experiments is ExperimentsUse.OFF:
        await _tried(partial(forget, parts.database), None, events)
    # Under "never" nothing at all goes to the cloud, not even this question.
    if channel is None or settings.experiments is ExperimentsUse.OFF or settings.cloud_use is CloudUse.NEVER:
        return dict

    named = settings.cloud_token_file is not None or settings.cloud_client_certificate is not None

    async def use(assigned: Assigned) -> None:
        live = parts.live.settings = assigned.applied(settings)
        arms = arms_line(assigned.arms)
        await parts.daemon.use(parts.policy(live.policy.value), live, arms=arms)
        if parts.cloud is not None:
            parts.cloud.use_deadline(live.cloud_deadline_s)
        # A cloud that knows its callers works it out by itself; one that does not is told the arms, and no name.
        channel.arms = "" if named else arms

    first, cap = experiments_module.RETRY_FIRST_S, experiments_module.RETRY_CAP_S
    client = ExperimentsClient(
        parts.database,
        channel,
        clock=clock,
        events=events,
        network=parts.network,
        use=use,
        named=named,
        backoff=Backoff(random.Random(), first=first, cap=cap),
        allowed=partial(parts.allows, settings.cloud_use),
    )
    await client.remember()
    _beside(client.run(), stack, name="wayword-experiments", events=events)
    return lambda: client.arms


async def start_telemetry(
    settings: PhoneSettings,
    parts: Daemon,
    packs: PackStore,
    *,
    arms: Callable[[], Mapping[str, str]],
    clock: Clock,
    events: EventLog,
    stack: AsyncExitStack,
) -> Telemetry | None:
    """Gather and send beside the daemon until the stack ends; None where the wearer did not ask for it."""
    store = TelemetryStore(parts.database, max_bytes=settings.telemetry_bytes)
    if settings.telemetry is TelemetryUse.OFF:
        await _tried(store.clear, None, events)
        return None

    def joules(seconds: float) -> float:
        since = clock.wall() - seconds
        rows = parts.database.query("SELECT TOTAL(joules) FROM ledger WHERE wall_time >= ? AND bytes_out > 0", (since,))
        return float(rows[0][0] or 0.0)

    first, cap = telemetry_module.RETRY_FIRST_S, telemetry_module.RETRY_CAP_S
    telemetry = Telemetry(
        store,
        None if settings.cloud_use is CloudUse.NEVER else parts.channel,
        clock=clock,
        events=events,
        text=settings.telemetry is TelemetryUse.TEXT,
        arms=arms,
        network=parts.network,
        battery=parts.battery,
        thermal=parts.thermal,
        window=parts.window,
        joules=joules,
        backoff=Backoff(random.Random(), first=first, cap=cap),
        allowed=partial(parts.allows, settings.cloud_use),
    )
    manifests: list[PackManifest] = await _tried(packs.installed, [], events)
    telemetry.start([(manifest.name, manifest.version) for manifest in manifests])
    stack.push_async_callback(telemetry.close)
    _beside(telemetry.run(), stack, name="wayword-telemetry", events=events)
    return telemetry


async def _tried(work: Callable[[], T], otherwise: T, events: EventLog) -> T:
    """What `work` returns, in a thread; `otherwise` where the disk refuses: the daemon starts all the same, and its
    next start tries again."""
    try:
        return await asyncio.to_thread(work)
    except StorageError as error:
        events.write("storage_failed", error=type(error).__name__, reason=str(error))
        return otherwise


def _beside(work: Coroutine[None, None, None], stack: AsyncExitStack, *, name: str, events: EventLog) -> None:
    """Run it until the stack ends. Should it break, the log says so and the daemon goes on: no sign hangs on it."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            events.write("beside_failed", task=name, error=type(error).__name__)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    stack.push_async_callback(end)
