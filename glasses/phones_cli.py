"""`wayword-glasses --press`, `--list-phones` and `--forget-phones`: for glasses that run already, or rest."""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import datetime

from glasses.arguments import PROGRAM, load_settings
from glasses.button import Answer, Press, press
from glasses.settings import GlassesSettings
from shared.clock import SystemClock
from shared.errors import LinkUnavailable, StorageError


def concerns_phones(arguments: argparse.Namespace) -> bool:
    """Whether the command line asks for one of these."""
    return arguments.press is not None or arguments.list_phones or arguments.forget_phones


def run_phones(arguments: argparse.Namespace) -> int:
    """Do what it asks for.

    Raises:
        LinkUnavailable: no glasses run, or they refuse.
        StorageError: the file of paired phones cannot be used.
        UsageError: a setting is wrong.
    """
    settings = load_settings(arguments)
    if arguments.press is not None:
        what = Press.LOOK if arguments.press == "look" else Press(f"press {arguments.press}")
    else:
        what = Press.LIST if arguments.list_phones else Press.FORGET
    return asyncio.run(_ask(what, settings))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _warn(error: StorageError) -> None:
    sys.stderr.write(f"{PROGRAM}: warning: {error}\n")


async def _ask(what: Press, settings: GlassesSettings) -> int:
    """Press the button of running glasses, or, when none run, see to their file of paired phones."""
    clock = SystemClock()
    try:
        answer = await press(settings.control_path(), what, clock=clock)
    except LinkUnavailable:
        if what not in (Press.LIST, Press.FORGET):
            raise
        from glasses.bonds import BondStore

        bonds = BondStore(settings.bonds_path(), clock=clock, report=_warn)
        known = bonds.bonds()
        if what is Press.FORGET:
            await bonds.delete_all()
            answer = Answer(True, f"{len(known)} phones forgotten")
        else:
            answer = Answer(True, f"{len(known)} paired phones", phones=tuple((b.address, b.paired) for b in known))
    for address, paired in answer.phones:
        when = "" if paired is None else f"  paired {datetime.fromtimestamp(paired).astimezone():%Y-%m-%d %H:%M}"
        _say(f"{address}{when}")
    if not answer.ok:
        raise LinkUnavailable(answer.say, hint=answer.hint)
    _say(answer.say)
    return 0
