"""``wayword-phone places``: what is remembered of places, and how to be rid of it, here and in the cloud."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING, Final

from shared.clock import Clock
from shared.errors import CloudError, UsageError

if TYPE_CHECKING:
    from phone.places import PhonePlaces
    from phone.settings import PhoneSettings

MAX_LIMIT: Final = 100_000
CALL_S: Final = 10.0


def add_places_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> list[argparse.ArgumentParser]:
    """Describe the command; returns the parsers that still want the options of the settings."""
    places = commands.add_parser("places", help="show what is remembered of places, or forget it, in the cloud too")
    actions = places.add_subparsers(dest="places_command", required=True, metavar="COMMAND")
    show = actions.add_parser("list", help="what signs say, where, who read it, and what waits to be shared")
    show.add_argument("--limit", type=int, default=50, metavar="N", help="newest signs to show (default: 50)")
    show.add_argument("--json", action="store_true", help="one JSON object a line, newest first")
    forget = actions.add_parser("forget", help="forget single signs on this phone, by the numbers that list shows")
    forget.add_argument("numbers", type=int, nargs="+", metavar="NUMBER")
    everything = actions.add_parser(
        "delete-all",
        help="forget every place, and have the cloud withdraw what this phone shared",
        description="Forget every place on this phone, and have the cloud withdraw all that this phone shared. Where "
        "the cloud cannot be asked now, the daemon asks it later; where it can, the daemon asks once more, for what was"
        " on its way.",
    )
    everything.add_argument("--here-only", action="store_true", help="leave what was shared with the cloud")
    everything.add_argument("--cloud", metavar="HOST:PORT", help="the cloud (default: the setting cloud)")
    return [show, forget, everything]


def run_places(options: argparse.Namespace, settings: PhoneSettings, *, clock: Clock) -> int:
    """Run the command and return its exit code.

    Raises:
        UsageError: an option makes no sense.
        StorageError: the database cannot be used.
        CloudError: the cloud was not reached; the daemon will ask it.
    """
    from phone.database import Database
    from phone.places_start import phone_places

    path = settings.database_path()
    if options.places_command == "list":
        if not 1 <= options.limit <= MAX_LIMIT:
            raise UsageError(f"--limit must be 1 to {MAX_LIMIT}")
        if not path.exists():
            sys.stderr.write(f"nothing is remembered: there is no {path}\n")
            return 0
    database = Database(path)
    try:
        memory = phone_places(settings, database, clock)
        if options.places_command == "list":
            return _list(memory, limit=options.limit, as_json=options.json)
        if options.places_command == "forget":
            forgotten = memory.forget_some_now(options.numbers)
            _say(f"{forgotten} of {len(set(options.numbers))} signs forgotten on this phone")
            return 0
        return _delete_all(memory, settings, here_only=options.here_only, clock=clock)
    finally:
        database.close()


def _list(memory: PhonePlaces, *, limit: int, as_json: bool) -> int:
    for entry in memory.all_now(limit):
        reading = entry.sign.reading
        if as_json:
            fields = {
                "number": entry.id,
                "cell": reading.cell,
                "text": reading.text,
                "translation": reading.translation,
                "source": reading.source,
                "target": reading.target,
                "trust": round(entry.sign.trust, 3),
                "devices": entry.sign.devices,
                "told_by_cloud": entry.told,
                "waits_to_be_shared": entry.waits,
            }
            _say(json.dumps(fields, ensure_ascii=False))
            continue
        who = f"{entry.sign.devices} devices, told by the cloud" if entry.told else "this phone"
        waits = ", waits to be shared" if entry.waits else ""
        text, translation = (" / ".join(lines.splitlines()) for lines in (reading.text, reading.translation))
        _say(f"{entry.id:>6}  {reading.cell}  {text} -> {translation}  (read by {who}; {entry.sign.trust:.2f}{waits})")
    if not as_json:
        counts = memory.counts_now()
        _say(f"{counts.own} signs read here, {counts.told} told by the cloud, {counts.waiting} wait to be shared")
    return 0


def _delete_all(memory: PhonePlaces, settings: PhoneSettings, *, here_only: bool, clock: Clock) -> int:
    if not here_only and settings.cloud is None:
        raise UsageError("no cloud is set", hint="Give --cloud, or --here-only to forget on this phone alone")
    _say(f"{memory.forget_now(cloud_too=not here_only)} signs forgotten on this phone")
    if here_only:
        return 0
    try:
        withdrawn = asyncio.run(_cloud_forgets(settings, clock))
    except CloudError as error:
        # Its own kind of failure, with what happens next.
        error.hint = error.hint or "the daemon will ask the cloud to forget as soon as it can"
        raise
    # The wish stays: the daemon asks once more, for what was on its way to the cloud in this moment.
    _say(f"{withdrawn} readings withdrawn from the cloud")
    return 0


async def _cloud_forgets(settings: PhoneSettings, clock: Clock) -> int:
    from phone.cloud_channel import CloudChannel
    from phone.places_sync import FORGET
    from phone.updates_source import cloud_credentials
    from shared.messages.wayword.v1 import places_pb2

    assert settings.cloud is not None, "checked by the caller"
    channel = CloudChannel(settings.cloud, clock=clock, credentials=cloud_credentials(settings))
    try:
        await channel.connect(clock.monotonic() + CALL_S, method=FORGET)
        reply = await channel.call(FORGET, places_pb2.ForgetRequest(), places_pb2.ForgetReply, timeout=CALL_S)
    finally:
        await channel.close()
    return int(reply.forgotten)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
