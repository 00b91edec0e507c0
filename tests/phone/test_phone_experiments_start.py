"""Phone and cloud together: arms that are asked for and applied, and reports that arrive with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from daemon_world import SYSTEM_CLOCK, daemons

from cloud.calls import Call
from cloud.experiments.running import Experiments
from cloud.experiments.service import ExperimentsService
from cloud.hosting import HostedService
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from cloud.telemetry.service import TelemetryService
from cloud.telemetry.store import TelemetryStore
from phone import experiments as experiments_module
from phone import experiments_start
from phone.battery import Battery
from phone.cascade.inputs import NetworkKind, Thermal
from phone.cascade.policies import policy_named
from phone.cascade.privacy import CloudUse
from phone.cloud_channel import CloudChannel
from phone.experiments_start import Daemon, LiveSettings, start_experiments, start_telemetry
from phone.network import NetworkState
from phone.settings import PhoneSettings
from phone.telemetry_store import TelemetryStore as PhoneStore
from phone.window import RadioWindow
from shared.errors import StorageError
from shared.events import EventLog
from shared.messages.wayword.v1 import experiments_pb2
from shared.models.packs import PackStore
from shared.telemetry import curated

EVERYBODY = """
[experiments.hold]
arms.control = { weight = 0.000001 }
arms.short = { weight = 1000000, phone = { hold_s = 4, policy = "confidence" } }
"""


@dataclass
class Cloud:
    """A cloud that tells arms and takes reports."""

    port: int
    experiments: Experiments
    file: Path
    asked: list[experiments_pb2.AssignRequest] = field(default_factory=list)


@asynccontextmanager
async def cloud(folder: Path) -> AsyncIterator[Cloud]:
    path = folder / "experiments.toml"
    path.write_text(EVERYBODY)
    log = EventLog(None, tier="cloud", clock=SYSTEM_CLOCK)
    experiments = Experiments(path, clock=SYSTEM_CLOCK, events=log, warn=str)
    made = Cloud(0, experiments, folder / "cloud.sqlite3")

    class Listening(ExperimentsService):
        async def assign(self, request: experiments_pb2.AssignRequest, call: Call) -> experiments_pb2.AssignReply:
            made.asked.append(request)
            return await super().assign(request, call)

    telemetry = TelemetryService(
        lambda: TelemetryStore(made.file, keep_days=30, max_bytes=10**9),
        experiments=experiments,
        text_allowed=False,
        clock=SYSTEM_CLOCK,
        events=log,
        default_deadline_s=5.0,
    )
    services: list[HostedService] = [
        Listening(experiments, clock=SYSTEM_CLOCK, default_deadline_s=5.0), telemetry,
    ]  # fmt: skip
    server = CloudServer(services, CloudSettings.load(None, listen="127.0.0.1:0"))
    _, made.port = await server.start()
    try:
        yield made
    finally:
        await server.drain()


@asynccontextmanager
async def phone(folder: Path, port: int, **overrides: Any) -> AsyncIterator[tuple[PhoneSettings, Daemon]]:
    async with daemons(folder) as begin:
        world = await begin()
        settings = PhoneSettings.load(None, cloud=f"127.0.0.1:{port}", **overrides)
        channel = CloudChannel(f"127.0.0.1:{port}", clock=SYSTEM_CLOCK)
        yield (
            settings,
            Daemon(
                daemon=world.daemon,
                live=LiveSettings(settings),
                policy=policy_named,
                cloud=None,
                channel=channel,
                database=world.database,
                network=lambda: NetworkState(NetworkKind.WIFI, metered=False),
                battery=lambda: Battery(80, charging=True),
                thermal=lambda: Thermal.NORMAL,
                window=RadioWindow(SYSTEM_CLOCK),
                consent=world.consent,
            ),
        )
        await channel.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - another task makes it hold, and has no event
            await asyncio.sleep(0.005)


async def test_a_phone_takes_its_arm_and_reports_with_it(tmp_path: Path) -> None:
    events = EventLog(None, tier="phone", clock=SYSTEM_CLOCK)
    async with cloud(tmp_path) as there, phone(tmp_path, there.port, telemetry="on") as (settings, parts):
        async with AsyncExitStack() as stack:
            arms = await start_experiments(settings, parts, clock=SYSTEM_CLOCK, events=events, stack=stack)
            await until(lambda: arms() == {"hold": "short"})
            packs = PackStore(tmp_path / "packs")
            telemetry = await start_telemetry(
                settings, parts, packs, arms=arms, clock=SYSTEM_CLOCK, events=events, stack=stack
            )
            assert telemetry is not None

            events.write("cloud_call", outcome="confirmed", ms=250.0, hedged=False)
            await telemetry.flush()
            await telemetry.send()

        assert (parts.live.settings.hold_s, parts.live.settings.policy.value) == (4.0, "confidence")
        assert parts.channel is not None
        assert parts.channel.arms == "hold=short", "a cloud that knows nobody is told the arms, not a name"
        assert there.experiments.metrics["hold", "short"].phone_agreement.value == 1.0
        assert there.asked[0].device


async def test_a_cloud_that_knows_the_phone_is_told_no_arms(tmp_path: Path) -> None:
    events = EventLog(None, tier="phone", clock=SYSTEM_CLOCK)
    token = tmp_path / "token"
    token.write_text("abc")
    async with cloud(tmp_path) as there, phone(tmp_path, there.port, cloud_token_file=token) as (settings, parts):
        async with AsyncExitStack() as stack:
            arms = await start_experiments(settings, parts, clock=SYSTEM_CLOCK, events=events, stack=stack)
            await until(lambda: len(there.asked) == 1)

        # This cloud knows nobody, so it puts nobody into an arm; what counts is what it was told.
        assert there.asked[0].device == ""
        assert arms() == {}
        assert parts.channel is not None
        assert parts.channel.arms == ""


@pytest.mark.parametrize("overrides", [{"cloud_use": CloudUse.NEVER}, {"experiments": "off"}])
async def test_a_phone_that_may_not_asks_nothing(tmp_path: Path, overrides: dict[str, object]) -> None:
    events = EventLog(None, tier="phone", clock=SYSTEM_CLOCK)
    async with cloud(tmp_path) as there, phone(tmp_path, there.port, **overrides) as (settings, parts):
        async with AsyncExitStack() as stack:
            arms = await start_experiments(settings, parts, clock=SYSTEM_CLOCK, events=events, stack=stack)
            running = {task.get_name() for task in asyncio.all_tasks()}
            assert "wayword-experiments" not in running, "nobody is left who could ask later"

        assert arms() == {}
        assert there.asked == []


async def test_under_ask_nothing_is_asked_or_reported_before_the_wearer_consents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments_module, "LEAST_REFRESH_S", 0.01)
    events = EventLog(None, tier="phone", clock=SYSTEM_CLOCK)
    ask = {"cloud_use": CloudUse.ASK, "telemetry": "on"}
    async with cloud(tmp_path) as there, phone(tmp_path, there.port, **ask) as (settings, parts):
        looked = asyncio.Event()
        loop = asyncio.get_running_loop()
        given = parts.consent.given

        def look() -> bool:
            loop.call_soon_threadsafe(looked.set)
            return given()

        monkeypatch.setattr(parts.consent, "given", look)
        async with AsyncExitStack() as stack:
            arms = await start_experiments(settings, parts, clock=SYSTEM_CLOCK, events=events, stack=stack)
            packs = PackStore(tmp_path / "packs")
            telemetry = await start_telemetry(
                settings, parts, packs, arms=arms, clock=SYSTEM_CLOCK, events=events, stack=stack
            )
            assert telemetry is not None
            events.write("cloud_call", outcome="confirmed", ms=250.0)
            await telemetry.flush()
            await telemetry.send()
            await asyncio.wait_for(looked.wait(), 30)
            assert (there.asked, there.file.exists()) == ([], False)

            parts.consent.give(seconds=600)
            await until(lambda: bool(arms()))
            await telemetry.send()
        assert len(there.asked) == 1
        assert there.file.exists()


async def test_telemetry_is_off_unless_asked_for_and_then_nothing_is_left(tmp_path: Path) -> None:
    events = EventLog(None, tier="phone", clock=SYSTEM_CLOCK)
    async with cloud(tmp_path) as there, phone(tmp_path, there.port) as (settings, parts):
        store = PhoneStore(parts.database, max_bytes=100_000)
        store.add([curated("power", recorded_s=SYSTEM_CLOCK.wall())], lost=2)

        async with AsyncExitStack() as stack:
            packs = PackStore(tmp_path / "packs")
            telemetry = await start_telemetry(
                settings, parts, packs, arms=dict, clock=SYSTEM_CLOCK, events=events, stack=stack
            )
            events.write("cloud_call", outcome="confirmed", ms=250.0)

        assert telemetry is None
        assert (store.count(), store.lost()) == (0, 0)
        assert not there.file.exists()


@pytest.mark.parametrize("use", ["off", "on"])
async def test_a_disk_that_refuses_keeps_no_daemon_from_starting(
    use: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(experiments_start, "forget", refuse)
    monkeypatch.setattr(PhoneStore, "clear", refuse)
    monkeypatch.setattr(PackStore, "installed", refuse)
    told: list[str] = []
    events = EventLog(None, tier="phone", clock=SYSTEM_CLOCK)
    events.listen(lambda event, _facts, _content: told.append(event))
    async with phone(tmp_path, 1, experiments="off", telemetry=use) as (settings, parts), AsyncExitStack() as stack:
        arms = await start_experiments(settings, parts, clock=SYSTEM_CLOCK, events=events, stack=stack)
        packs = PackStore(tmp_path / "packs")
        await start_telemetry(settings, parts, packs, arms=arms, clock=SYSTEM_CLOCK, events=events, stack=stack)
    assert told.count("storage_failed") == 2


async def test_under_never_telemetry_that_was_asked_for_stays_on_the_phone(tmp_path: Path) -> None:
    events = EventLog(None, tier="phone", clock=SYSTEM_CLOCK)
    never = {"cloud_use": CloudUse.NEVER, "telemetry": "on"}
    async with cloud(tmp_path) as there, phone(tmp_path, there.port, **never) as (settings, parts):
        async with AsyncExitStack() as stack:
            packs = PackStore(tmp_path / "packs")
            telemetry = await start_telemetry(
                settings, parts, packs, arms=dict, clock=SYSTEM_CLOCK, events=events, stack=stack
            )
            assert telemetry is not None
            events.write("cloud_call", outcome="confirmed", ms=250.0)
            await telemetry.flush()
            await telemetry.send()

        assert PhoneStore(parts.database, max_bytes=100_000).count() == 1
        assert not there.file.exists()
