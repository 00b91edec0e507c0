"""The glasses' link with its paired phones and its button: what runs whether or not there is anything to see."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import AsyncExitStack
from functools import partial

from glasses.arguments import PROGRAM, load_settings
from glasses.bonds import BondStore
from glasses.button import Answer, Button, Press
from glasses.pairing import PairingPolicy
from glasses.peripheral import PeripheralLink
from glasses.settings import GlassesSettings
from shared.clock import Clock, SystemClock
from shared.errors import StorageError, UsageError, WaywordError
from shared.events import EventLog


def _warn(line: str) -> None:
    sys.stderr.write(f"{PROGRAM}: {line}\n")
    sys.stderr.flush()


def controller(arguments: argparse.Namespace) -> str:
    """The Bumble transport that was asked for.

    Raises:
        UsageError: none was.
    """
    if arguments.hci is None:
        raise UsageError("no Bluetooth controller", hint="Give --hci, such as usb:0 or tcp-client:127.0.0.1:6402")
    return str(arguments.hci)


def open_events(arguments: argparse.Namespace, clock: Clock) -> EventLog:
    """The event log that was asked for, if any; the caller closes it."""
    return EventLog(
        arguments.events,
        tier="glasses",
        clock=clock,
        content=arguments.events_content,
        on_loss=lambda problem: _warn(f"warning: {problem}; going on without it"),
    )


async def start_link(
    hci: str, settings: GlassesSettings, clock: Clock, events: EventLog, stack: AsyncExitStack
) -> PeripheralLink:
    """The link with its paired phones and its button, running until the stack is closed.

    Raises:
        LinkUnavailable: there is no controller.
        StorageError: the file of paired phones cannot be used.
        UsageError: the button's socket cannot be where it is set.
    """

    def report(error: StorageError) -> None:
        events.write("bonds_failed", reason=error.message)
        _warn(f"warning: {error}")

    bonds = BondStore(settings.bonds_path(), clock=clock, report=report)
    link = PeripheralLink(
        hci,
        clock=clock,
        bonds=bonds,
        pairing=PairingPolicy(open_s=settings.pairing_open_s, answer_s=settings.pairing_answer_s),
        name=settings.advertise_name,
        connection_interval_ms=settings.connection_interval_ms or None,
        on_status=lambda status: events.write("link_status", status=status),
        on_pairing=_warn,
    )
    await link.start()
    stack.push_async_callback(link.close)
    button = Button(settings.control_path(), clock=clock, on_press=partial(_pressed, link, bonds))
    try:
        await button.start()
    except StorageError as error:
        # Glasses without a button go on with the phones they know.
        events.write("no_button", reason=error.message)
        _warn(f"warning: {error}; no new phone can be paired")
    else:
        stack.push_async_callback(button.close)
    return link


async def _pressed(link: PeripheralLink, bonds: BondStore, what: Press) -> Answer:
    """What the running glasses do about a press."""
    pairing = link.pairing
    try:
        match what:
            case Press.PAIR:
                await link.open_pairing()
                return Answer(True, "pairing mode is open; pair from the phone now")
            case Press.YES | Press.NO:
                number, yes = pairing.number, what is Press.YES
                if not pairing.answer(yes):
                    return Answer(False, "there is no number to compare", hint="press pair, then pair from the phone")
                if not number:
                    return Answer(True, "pairing mode is closed")
                return Answer(True, f"{number} is {'the same' if yes else 'another number'} on the phone")
            case Press.LOOK:
                if pairing.number:
                    return Answer(True, f"compare with the phone: {pairing.number}", number=pairing.number)
                return Answer(True, f"pairing mode is {'open' if pairing.is_open() else 'closed'}")
            case Press.LIST:
                phones = tuple((bond.address, bond.paired) for bond in bonds.bonds())
                return Answer(True, f"{len(phones)} paired phones", phones=phones)
            case Press.FORGET:
                return Answer(True, f"{await link.forget_phones()} phones forgotten")
    except WaywordError as error:
        return Answer(False, error.message, hint=error.hint)


def run_idle(arguments: argparse.Namespace) -> int:
    """Keep the link, and see nothing, until SIGTERM (0) or Ctrl-C (130).

    Raises:
        WaywordError: as `start_link`.
    """
    # What Bumble has to say, with tracebacks, comes as an error or as a status of the link, in one line of ours.
    logging.getLogger("bumble").setLevel(logging.CRITICAL)
    return asyncio.run(_idle(arguments, load_settings(arguments)))


async def _idle(arguments: argparse.Namespace, settings: GlassesSettings) -> int:
    clock = SystemClock()
    hci = controller(arguments)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(number: int) -> None:
        if not ended.done():
            ended.set_result(130 if number == signal.SIGINT else 0)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    async with AsyncExitStack() as stack:
        events = open_events(arguments, clock)
        stack.callback(events.close)
        await start_link(hci, settings, clock, events, stack)
        events.write("started", still=False)
        return await ended
