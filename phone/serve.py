"""Puts the phone daemon together and runs it until a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from phone import battery as batteries
from phone import network as networks
from phone.battery import Battery, BatteryWatch
from phone.budget import seconds_since_boot
from phone.cache import TranslationCache
from phone.cascade.inputs import NetworkKind, Recogniser, Thermal
from phone.cascade.policies import policy_named
from phone.central import CentralLink
from phone.cloud import CallPolicy, CloudClient
from phone.cloud_channel import CloudChannel, GrpcTransport, is_loopback
from phone.cloud_credentials import CloudCredentials
from phone.cloud_endpoints import split_addresses
from phone.daemon import PhoneDaemon
from phone.database import Database
from phone.experiments_start import Daemon, LiveSettings, start_experiments, start_telemetry
from phone.ledger import Consent, Ledger
from phone.network import NetworkState
from phone.places_start import start_places
from phone.reading import LocalReader, ReaderOptions, certificates_of, choose_recogniser, installed_recognisers
from phone.sensors import Sensor, in_thread
from phone.settings import PhoneSettings
from phone.thermal import read_thermal
from phone.updates import start_updates
from phone.window import RadioWindow
from shared.clock import Clock
from shared.errors import DirectionUnsupported, PackError, StorageError
from shared.events import EventLog
from shared.link import Link
from shared.models.metamodel import Metamodel
from shared.models.packs import PackStore, default_store_root

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells expect."""

BATTERY_STALE_S: Final = 3600.0
"""A level this old is still a better guess than none."""

Say = Callable[[str], None]


async def serve(settings: PhoneSettings, *, clock: Clock, say: Say, link: Link | None = None) -> int:
    """Answer the glasses until SIGTERM (0) or Ctrl-C (130).

    Args:
        settings: of the daemon.
        clock: of every wait and deadline.
        say: prints a line for people.
        link: instead of Bluetooth.

    Raises:
        WaywordError: the daemon cannot start: a pack, the database, the radio.
    """
    stop = _stop_on_signals()
    async with AsyncExitStack() as stack:
        events = EventLog(
            settings.events,
            tier="phone",
            clock=clock,
            content=settings.events_content,
            # A full disk silences the log; it does not end the daemon.
            on_loss=lambda problem: say(f"warning: {problem}; the daemon goes on without it"),
        )
        stack.callback(events.close)
        database = _open_database(settings, events, say)
        stack.callback(database.close)

        battery = await _battery(settings, clock, stack)
        store = PackStore(settings.packs or default_store_root())
        await start_updates(settings, store, clock=clock, battery=battery, events=events, say=say, stack=stack)
        for problem in store.problems().values():
            say(f"warning: {problem}")
        installed = installed_recognisers(store)

        live = LiveSettings(settings)

        def choose(now: Battery) -> Recogniser:
            return choose_recogniser(live.settings.recogniser, battery=now, installed=installed)

        cache = TranslationCache(
            database,
            clock=clock,
            max_entries=settings.remembered_translations,
            on_error=lambda error: events.write("storage_failed", reason=str(error)),
        )
        loading = asyncio.create_task(asyncio.to_thread(_load_reader, store, settings, clock, cache, choose(battery())))
        await asyncio.wait((loading, stop), return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            return stop.result()
        reader = await loading
        for problem in reader.problems:
            say(f"warning: {problem}")
        metamodel = await asyncio.to_thread(_load_metamodel, store, events, say)
        channel = _cloud_channel(settings, clock, say)
        if channel is not None:
            stack.push_async_callback(channel.close)
        cloud = _cloud(settings, clock, channel)
        if cloud is not None:
            stack.push_async_callback(cloud.close)
        thermal = Sensor(in_thread(read_thermal), unknown=Thermal.UNKNOWN, clock=clock)
        stack.push_async_callback(thermal.close)
        if link is None:
            link = await _bluetooth(clock, events, say, battery)
        stack.push_async_callback(link.close)
        network, window = await _network(settings, clock, stack), RadioWindow(clock)
        ledger = Ledger(
            database,
            clock=clock,
            keep_text=settings.ledger_text,
            cloud=settings.cloud or "",
            elapsed=seconds_since_boot,
        )
        consent = Consent(database, clock=clock)
        placing = start_places(
            settings, database, channel,
            ledger=ledger, consent=consent, network=network, clock=clock, events=events, stack=stack,
        )  # fmt: skip
        policy = partial(policy_named, certificates=certificates_of(metamodel) if metamodel else None)
        daemon = PhoneDaemon(
            link=link,
            reader=reader,
            choose_recogniser=choose,
            cloud=cloud,
            ledger=ledger,
            consent=consent,
            battery=battery,
            settings=settings,
            clock=clock,
            events=events,
            policy=policy(settings.policy.value),
            metamodel=metamodel,
            network=network,
            thermal=thermal,
            window=window,
            placing=placing,
        )
        parts = Daemon(daemon, live, policy, cloud, channel, database, network, battery, thermal, window, consent)
        arms = await start_experiments(settings, parts, clock=clock, events=events, stack=stack)
        telemetry = await start_telemetry(settings, parts, store, arms=arms, clock=clock, events=events, stack=stack)
        events.write(
            "started",
            recogniser=choose(battery()).value,
            cloud=settings.cloud is not None,
            policy=settings.policy.value,
            metamodel=metamodel.pack.version if metamodel else None,
        )
        running = asyncio.create_task(daemon.run())
        await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            events.write("stopped", refused_objects=daemon.refused_objects)
            return stop.result()
        if telemetry is not None and (error := running.exception()) is not None:
            telemetry.crashed(error)
        running.result()
        return 0


def _stop_on_signals() -> asyncio.Future[int]:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[int] = loop.create_future()

    def settle(code: int) -> None:
        if not stop.done():
            stop.set_result(code)

    loop.add_signal_handler(signal.SIGTERM, settle, 0)
    loop.add_signal_handler(signal.SIGINT, settle, INTERRUPTED)
    return stop


def _open_database(settings: PhoneSettings, events: EventLog, say: Say) -> Database:
    def set_aside(aside: Path) -> None:
        events.write("database_set_aside", aside=str(aside))
        say(f"warning: the database was damaged; it was set aside as {aside}, and a fresh one begun")

    return Database(settings.database_path(), on_set_aside=set_aside)


def _load_reader(
    store: PackStore, settings: PhoneSettings, clock: Clock, cache: TranslationCache, recogniser: Recogniser
) -> LocalReader:
    options = ReaderOptions(
        target=settings.target,
        expected=settings.trip_languages,
        phrasebook_folder=settings.phrasebook_folder,
        apertium=settings.apertium,
        check_back=settings.back_translation,
    )
    reader = LocalReader(store, options=options, clock=clock, cache=cache)
    if settings.target not in reader.targets:
        served = ", ".join(sorted(reader.targets))
        raise DirectionUnsupported(f"nothing installed translates into {settings.target}", hint=f"Use one of: {served}")
    reader.warm_up(recogniser)
    return reader


def _load_metamodel(store: PackStore, events: EventLog, say: Say) -> Metamodel | None:
    """The metamodel; None, with a warning, where it cannot be used: the policy then goes by the stages' confidences."""
    try:
        return Metamodel.installed(store)
    except (PackError, StorageError) as error:
        events.write("metamodel_failed", reason=error.message)
        say(f"warning: {error.message}; the cascade does without its metamodel")
        return None


async def _battery(settings: PhoneSettings, clock: Clock, stack: AsyncExitStack) -> Callable[[], Battery]:
    if settings.battery is not None:
        return lambda: Battery(settings.battery, charging=False)
    watch = BatteryWatch(batteries.read_battery, clock=clock)
    sensor = Sensor(in_thread(watch), unknown=batteries.UNKNOWN, clock=clock, stale_s=BATTERY_STALE_S)
    stack.push_async_callback(sensor.close)
    await sensor.refresh()  # the recogniser is chosen by it
    return sensor


async def _network(settings: PhoneSettings, clock: Clock, stack: AsyncExitStack) -> Callable[[], NetworkState]:
    """What calls go over, with the wearer's word on what it costs."""
    if settings.cloud is None:
        return lambda: networks.UNKNOWN
    metered = settings.metered
    if all(is_loopback(host) for _, host in split_addresses(settings.cloud)):
        # A cloud on this machine: no radio, whatever the machine's own way out is.
        here = NetworkState(NetworkKind.WIFI, metered=bool(metered))
        return lambda: here
    sensor = Sensor(networks.read_network, unknown=networks.UNKNOWN, clock=clock)
    stack.push_async_callback(sensor.close)
    await sensor.refresh()
    if metered is None:
        return sensor
    return lambda: replace(sensor(), metered=metered)


def _cloud_channel(settings: PhoneSettings, clock: Clock, say: Say) -> CloudChannel | None:
    """The one channel to the cloud, for everything that is asked of it."""
    if settings.cloud is None:
        return None
    credentials = CloudCredentials(
        tls=settings.cloud_tls,
        certificate_authority=settings.cloud_certificate_authority,
        client_certificate=settings.cloud_client_certificate,
        client_key=settings.cloud_client_key,
        token_file=settings.cloud_token_file,
    )
    return CloudChannel(
        settings.cloud,
        clock=clock,
        credentials=credentials,
        on_stop=lambda problem: say(f"warning: {problem}"),
    )


def _cloud(settings: PhoneSettings, clock: Clock, channel: CloudChannel | None) -> CloudClient | None:
    if channel is None:
        return None
    transport = GrpcTransport(channel, close_channel=False)
    policy = CallPolicy(deadline=settings.cloud_deadline_s)
    return CloudClient(transport, clock=clock, policy=policy if settings.hedging else replace(policy, hedge_share=0.0))


async def _bluetooth(clock: Clock, events: EventLog, say: Say, battery: Callable[[], Battery]) -> CentralLink:
    def status(line: str) -> None:
        events.write("link", status=line)
        say(line)

    link = CentralLink(clock=clock, name="phone", battery_percent=lambda: battery().percent, on_status=status)
    await link.start()
    return link
