"""Puts together what the daemon has to do with places, and runs what of it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack

from phone.database import Database
from phone.ledger import Consent, Ledger
from phone.location import position_source
from phone.network import NetworkState
from phone.places import PhonePlaces
from phone.places_sync import CloudCalls, PlacesSync
from phone.placing import Placing
from phone.settings import PhoneSettings, PlacesUse
from shared.clock import Clock
from shared.errors import StorageError, reason_of
from shared.events import EventLog
from shared.places.memory import DAY_S


def phone_places(settings: PhoneSettings, database: Database, clock: Clock) -> PhonePlaces:
    """The memory that the settings ask for."""
    return PhonePlaces(database, clock=clock, max_signs=settings.remembered_places, keep_days=settings.places_days)


def start_places(
    settings: PhoneSettings,
    database: Database,
    channel: CloudCalls | None,
    *,
    ledger: Ledger,
    consent: Consent,
    network: Callable[[], NetworkState],
    clock: Clock,
    events: EventLog,
    stack: AsyncExitStack,
) -> Placing | None:
    """Begin to follow the position, and to share where the wearer wants that; None where nothing is to be remembered.

    Args:
        settings: of the phone.
        database: of the phone.
        channel: to the cloud; None for no cloud.
        ledger: where every call goes.
        consent: matters under the privacy switch "ask".
        network: what calls go over.
        clock: of the waits.
        events: the log.
        stack: ends it all.

    Raises:
        UsageError: the setting `position` names no source.
    """
    source = position_source(settings.position, clock=clock, events=events)
    memory = phone_places(settings, database, clock)
    remembers = settings.places is not PlacesUse.OFF
    shares = settings.places is PlacesUse.SHARED and channel is not None
    sync: PlacesSync | None = None
    placing = Placing(
        memory,
        source,
        share=shares,
        privacy=settings.privacy(),
        clock=clock,
        events=events,
        on_waiting=lambda: None if sync is None else sync.ring(),
    )
    work: list[Coroutine[None, None, None]] = [_expire_daily(memory, clock, events)]
    if remembers:
        work.append(source.run())
    if channel is not None:
        # Also where nothing is shared or remembered any more: what was shared once may still have to be withdrawn.
        sync = PlacesSync(
            memory,
            channel,
            cell=lambda: placing.shown_cell,
            target=settings.target,
            cloud_use=settings.cloud_use,
            consent=consent,
            ledger=ledger,
            daily_budget_bytes=settings.daily_budget_bytes,
            network=network,
            clock=clock,
            events=events,
            share=shares,
        )
        work.append(sync.run())
    tasks = [asyncio.create_task(item, name="wayword-places") for item in work]

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # A mistake of ours: signs are read as before, without places.
            events.write("places_ended", error=type(error).__name__, reason=reason_of(error))

    for task in tasks:
        task.add_done_callback(ended)

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(end)
    # Without a source of positions no sign has a place: the daemon need not ask for each.
    return placing if remembers and settings.position is not None else None


async def _expire_daily(memory: PhonePlaces, clock: Clock, events: EventLog) -> None:
    """Forget what is too old, also where nothing new is remembered that would have it looked at."""
    while True:
        try:
            await memory.expire()
        except StorageError as error:
            events.write("storage_failed", reason=str(error))
        await clock.sleep(DAY_S)
