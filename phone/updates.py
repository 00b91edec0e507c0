"""Updates in the background of the daemon: once a day, when they cost nothing that matters.

The daemon only decides when; the work is done by a process of its own (`updates_child`). What it installs counts from
the next start of the daemon: a reading must not change its models midway.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from phone import network as networks
from phone.battery import Battery
from phone.cascade.inputs import NetworkKind
from phone.cascade.privacy import CloudUse
from phone.network import NetworkState
from phone.settings import PhoneSettings
from phone.updates_source import FROM_CLOUD, is_folder
from shared.clock import Clock
from shared.errors import StorageError, reason_of
from shared.events import EventLog
from shared.files import replace_file
from shared.models.packs import PackStore

FIRST_S: Final = 60.0
"""Seconds after the start: the first signs come before."""
RETRY_S: Final = 900.0
"""Seconds until a moment that did not suit, or a failure, is looked at again."""
LOW_BATTERY_PERCENT: Final = 30
"""Below it only a phone on its charger updates: a judgement, an update takes some percent of a charge at most."""
LONGEST_S: Final = 7200.0
"""Seconds one update may take, before its process is ended; the next one goes on from there."""
MAX_EVENT_BYTES: Final = 1024 * 1024
_CHECKED: Final = "checked"
_KNOWN: Final = frozenset({"pack_updated", "pack_failed", "updates_checked", "updates_failed"})

Events = Sequence[Mapping[str, object]]


class UpdateWatch:
    """Decides when updates run.

    Args:
        run: one update; returns its events, the last of which says whether it came to its end.
        battery: of the phone.
        network: what bytes go over; None where none are needed.
        checked: file that remembers when the last update was, over restarts.
        every_s: seconds between two updates.
        clock: of the waits.
        events: told what came of it.
        say: told people's part of it.
    """

    def __init__(
        self,
        *,
        run: Callable[[], Awaitable[Events]],
        battery: Callable[[], Battery],
        network: Callable[[], Awaitable[NetworkState]] | None,
        checked: Path,
        every_s: float,
        clock: Clock,
        events: EventLog,
        say: Callable[[str], None],
    ) -> None:
        self._run = run
        self._battery = battery
        self._network = network
        self._checked = checked
        self._every_s = every_s
        self._clock = clock
        self._events = events
        self._say = say

    async def watch(self) -> None:
        """Update now and then, until cancelled."""
        wait = max(FIRST_S, self._due_in())
        while True:
            await self._clock.sleep(wait)
            unsuited = await self._unsuited()
            if unsuited is not None:
                self._events.write("updates_put_off", reason=unsuited)
                wait = RETRY_S
                continue
            wait = self._every_s if self._tell(await self._run()) else RETRY_S

    def _due_in(self) -> float:
        """Seconds until the next update, by the last one that came to its end."""
        try:
            last = float(self._checked.read_text())
        except (OSError, ValueError):
            return 0.0
        # A clock that was set back must not put updates off for ever.
        return min(max(last + self._every_s - self._clock.wall(), 0.0), self._every_s)

    async def _unsuited(self) -> str | None:
        """Why this is not the moment; None when it is."""
        battery = self._battery()
        if battery.percent is not None and battery.percent < LOW_BATTERY_PERCENT and not battery.charging:
            return "battery"
        if self._network is not None:
            state = await self._network()
            if state.kind in (NetworkKind.NONE, NetworkKind.CAPTIVE):
                return "no network"
            if state.metered:
                return "metered"
        return None

    def _tell(self, events: Events) -> bool:
        """Write what came of an update; whether it came to its end."""
        done = False
        for event in events:
            # What signs say is no part of an update.
            fields: dict[str, Any] = {
                str(name): value for name, value in event.items() if name not in ("event", "content")
            }
            name = str(event.get("event"))
            self._events.write(name, **fields)
            if name == "pack_updated":
                self._say(
                    f"pack {fields.get('pack')} {fields.get('version')} is installed; it counts from the next start"
                )
            elif name in ("pack_failed", "updates_failed"):
                self._say(f"warning: no update of {fields.get('pack', 'the packs')}: {fields.get('reason')}")
            # A link that broke is worth another try before the day is over; a pack that is of no use is not.
            done = done or (name == "updates_checked" and not fields.get("again"))
        if done:
            with contextlib.suppress(OSError):  # then the next start looks again: nothing is lost
                self._checked.parent.mkdir(parents=True, exist_ok=True)
                replace_file(self._checked, f"{self._clock.wall():.0f}\n".encode())
        return done


async def start_updates(
    settings: PhoneSettings,
    store: PackStore,
    *,
    clock: Clock,
    battery: Callable[[], Battery],
    events: EventLog,
    say: Callable[[str], None],
    stack: AsyncExitStack,
) -> None:
    """Sweep what a killed update has left behind, and begin to watch for updates where the settings say from where."""
    await asyncio.to_thread(sweep, store, clock, events)
    if settings.updates is None:
        return
    if settings.updates == FROM_CLOUD and settings.cloud_use is CloudUse.NEVER:
        events.write("updates_put_off", reason="cloud_use is never")
        return

    async def network() -> NetworkState:
        state = await networks.read_network()
        return state if settings.metered is None else NetworkState(state.kind, metered=settings.metered)

    watch = UpdateWatch(
        run=lambda: run_child(settings, clock=clock),
        battery=battery,
        network=None if is_folder(settings.updates) else network,
        checked=store.root / ".updates" / _CHECKED,
        every_s=settings.updates_every_s,
        clock=clock,
        events=events,
        say=say,
    )
    task = asyncio.create_task(watch.watch(), name="wayword-updates")
    task.add_done_callback(lambda ended: _report(ended, events))

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


def sweep(store: PackStore, clock: Clock, events: EventLog) -> None:
    """Remove what an install that was killed has left in the store."""
    try:
        if store.root.is_dir():
            with store.exclusive(clock=clock, timeout=0.0):
                pass  # taking the store is what sweeps it
    except (OSError, StorageError) as error:  # somebody is installing, or the store is not ours to write
        events.write("store_not_swept", reason=reason_of(error) if isinstance(error, OSError) else error.message)


async def run_child(settings: PhoneSettings, *, clock: Clock) -> Events:
    """One update in a process of its own; it is ended with this task, and when it takes too long."""
    try:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "phone.updates_child"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=MAX_EVENT_BYTES,
        )
    except OSError as error:  # no memory, or too many processes: another day
        return [{"event": "updates_failed", "error": "StorageError", "reason": reason_of(error)}]
    # With what is None: else the environment would name a cloud that the command line has switched off.
    given = settings.model_dump_json().encode()
    talking = asyncio.create_task(child.communicate(given))
    alarm = asyncio.create_task(clock.sleep(LONGEST_S))
    try:
        await asyncio.wait((talking, alarm), return_when=asyncio.FIRST_COMPLETED)
        if not talking.done():
            return [{"event": "updates_failed", "error": "UpdateTooSlow", "reason": "it took too long"}]
        return parse_events((await talking)[0], code=child.returncode)
    finally:
        alarm.cancel()
        if child.returncode is None:
            child.kill()
        await asyncio.gather(talking, alarm, return_exceptions=True)


def parse_events(output: bytes, *, code: int | None) -> Events:
    """What the process said, as far as it is what it should say."""
    events: list[Mapping[str, object]] = []
    for line in output[:MAX_EVENT_BYTES].splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("event") in _KNOWN:
            events.append(event)
    if not events:
        return [{"event": "updates_failed", "error": "UpdateError", "reason": f"its process ended with code {code}"}]
    return events


def _report(task: asyncio.Task[None], events: EventLog) -> None:
    """A watch that breaks is noticed; the daemon goes on answering."""
    if not task.cancelled() and (error := task.exception()) is not None:
        events.write("updates_ended", error=type(error).__name__)
