"""`wayword-phone pair`, `glasses` and `unpair`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import threading
from typing import Final

from shared.clock import SystemClock

YES: Final = frozenset({"yes", "y"})
COMMANDS: Final = frozenset({"pair", "glasses", "unpair"})


def add_pairing_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    pair = commands.add_parser(
        "pair",
        help="pair with glasses in pairing mode",
        description="Hold the button of the glasses first. Prints the number to compare as 'number 123456', and reads "
        "yes or no from standard input; the running daemon may go on.",
    )
    pair.add_argument("--scan", type=float, default=20.0, metavar="S", help="look for glasses so long (default: 20)")
    commands.add_parser("glasses", help="show the paired glasses")
    unpair = commands.add_parser("unpair", help="forget paired glasses")
    unpair.add_argument("address", nargs="?", metavar="ADDRESS", help="which, if there are several")


def run_pairing(options: argparse.Namespace) -> int:
    """Run one of the commands.

    Raises:
        LinkError: it did not work; see `phone.pairing`.
    """
    # What bleak has to say comes as an error, in one line of ours.
    logging.getLogger("bleak").setLevel(logging.CRITICAL)
    match options.command:
        case "pair":
            return asyncio.run(_pair(options.scan))
        case "glasses":
            return asyncio.run(_list())
        case _:
            return asyncio.run(_unpair(options.address))


async def _pair(scan_s: float) -> int:
    from phone.pairing import PairingOptions, pair
    from shared.errors import UsageError

    if not 0 < scan_s <= 600:
        raise UsageError("--scan must be more than 0 and at most 600")
    glasses = await pair(_ask, clock=SystemClock(), say=_note, options=PairingOptions(scan_s=scan_s))
    _say(f"paired with {glasses.name} ({glasses.address})")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _note(line: str) -> None:
    sys.stderr.write(f"wayword-phone: {line}\n")
    sys.stderr.flush()


async def _ask(number: str) -> bool:
    _say(f"number {number}")
    _note("do the glasses show this number? Answer yes or no:")
    return (await _line()).strip().lower() in YES


async def _line() -> str:
    """A line of standard input; nothing at its end."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def settle(line: str) -> None:
        if not answer.done():
            answer.set_result(line)

    def read() -> None:
        loop.call_soon_threadsafe(settle, sys.stdin.readline())

    # A daemon's thread: the command must be able to end while nobody types.
    threading.Thread(target=read, daemon=True).start()
    return await answer


async def _list() -> int:
    from phone.pairing import paired_glasses

    found = await paired_glasses(clock=SystemClock())
    for one in found:
        _say(f"{one.address}  {one.name}{'  connected' if one.connected else ''}")
    if not found:
        _say("no glasses are paired; hold the button of the glasses, then run: wayword-phone pair")
    return 0


async def _unpair(address: str | None) -> int:
    from phone.pairing import unpair

    for one in await unpair(address, clock=SystemClock()):
        _say(f"forgot {one.name} ({one.address}); the glasses forget this phone with: wayword-glasses --forget-phones")
    return 0
