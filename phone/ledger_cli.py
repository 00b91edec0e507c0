"""`wayword-phone ledger`: what left the phone, when, why, how many bytes, to which cloud, and what came of it."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from phone.cascade.decision import Action
from phone.database import Database
from phone.ledger import Ledger
from phone.ledger_rows import DayBytes, Entry, Outcome, RuleCount
from shared.clock import Clock
from shared.errors import UsageError

MAX_LIMIT: Final = 1_000_000
_UNITS_S: Final = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
_AGE: Final = re.compile(r"(\d{1,6})([mhd])")
_HINT: Final = "write a time such as 2026-01-31 or 2026-01-31T14:30, or an age such as 90m, 24h or 7d"


def add_ledger_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Describe the command."""
    ledger = commands.add_parser("ledger", help="show what left the phone, when, why, and how many bytes")
    ledger.add_argument("--limit", type=int, default=50, metavar="N", help="newest decisions to show (default: 50)")
    ledger.add_argument("--left", action="store_true", help="only decisions for which something left the phone")
    ledger.add_argument("--since", metavar="WHEN", help="only since then: 2026-01-31, 2026-01-31T14:30, 90m, 24h or 7d")
    ledger.add_argument("--json", action="store_true", help="one JSON object a line, newest first")
    return ledger


def run_ledger(options: argparse.Namespace, path: Path, *, clock: Clock) -> int:
    """Print the ledger and return the exit code.

    Args:
        options: of the command line.
        path: the database; looking makes nothing and changes nothing.
        clock: for ages.

    Raises:
        UsageError: an option makes no sense.
        StorageError: the file is no database of ours.
    """
    if not 1 <= options.limit <= MAX_LIMIT:
        raise UsageError(f"--limit must be 1 to {MAX_LIMIT}")
    since = 0.0 if options.since is None else parse_since(options.since, now=clock.wall())
    if not path.exists():
        sys.stderr.write(f"nothing is recorded: there is no {path}\n")
        return 0
    database = Database(path, read_only=True)
    try:
        ledger = Ledger(database, clock=clock)
        entries = ledger.entries(limit=options.limit, since=since, left=options.left)
        rules = ledger.by_rule(since=since, left=options.left)
        days = ledger.by_day(since=since, left=options.left)
        today = ledger.bytes_today()
    finally:
        database.close()
    if options.json:
        for entry in entries:
            _say(json.dumps(asdict(entry), ensure_ascii=False))
        return 0
    for entry in reversed(entries):
        _say(describe(entry))
    for line in summary(shown=len(entries), rules=rules, days=days, today=today):
        _say(line)
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def parse_since(text: str, *, now: float) -> float:
    """A point in time, in Unix seconds, from a date, a time, or an age.

    Raises:
        UsageError: it is none of these.
    """
    if age := _AGE.fullmatch(text):
        return max(now - int(age.group(1)) * _UNITS_S[age.group(2)], 0.0)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"--since {text!r} is no time", hint=_HINT) from None


def describe(entry: Entry) -> str:
    """One decision in one line: when, which sign, what left, why, and what came of it."""
    when = datetime.fromtimestamp(entry.wall_time, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    sign = f"frame {entry.frame_id} sign {entry.region_id}"
    return f"{when}  {sign}  {_left(entry)}  {entry.reason}{_result(entry)}"


def _left(entry: Entry) -> str:
    if not entry.bytes_out:
        waits = entry.outcome is Outcome.HELD
        return "   held, nothing left" if waits else "      nothing left" if entry.escalate else "       stayed here"
    # The row was written before the call: how often it went out was not known yet.
    bound = "up to " if entry.outcome is Outcome.PENDING else ""
    where = f" to {entry.cloud}" if entry.cloud else ""
    network = f" over {entry.network}" if entry.network else ""
    return f"{bound}{entry.bytes_out:>7} B left{where}{network}"


def _result(entry: Entry) -> str:
    if not entry.escalate:
        return ""
    took = f" in {entry.cloud_ms / 1e3:.2f} s" if entry.cloud_ms is not None else ""
    held = f", after waiting {entry.held_ms / 1e3:.1f} s" if entry.held_ms is not None else ""
    return f" -> {entry.outcome.value}{took}{held}{', asked twice for it was slow' if entry.hedged else ''}"


def summary(*, shown: int, rules: Sequence[RuleCount], days: Sequence[DayBytes], today: int) -> list[str]:
    """The closing lines: how many were kept and asked, by which rule, and the bytes of each day."""
    kept = [count for count in rules if count.action is Action.KEEP]
    asked = [count for count in rules if count.action is not Action.KEEP]
    total = sum(count.decisions for count in rules)
    lines = [f"{shown} of {total} decisions shown"]
    for name, counts in (("kept", kept), ("asked or held", asked)):
        if counts:
            listed = ", ".join(f"{count.decisions} {count.rule}" for count in _merged(counts))
            lines.append(f"{name}: {sum(count.decisions for count in counts)} ({listed})")
    out, back = sum(count.bytes_out for count in asked), sum(count.bytes_in for count in asked)
    if out:
        by_day = ", ".join(f"{day.day} {day.bytes_out}" for day in days if day.bytes_out)
        lines.append(f"{out} bytes left, {back} came back; by day: {by_day}")
    lines.append(f"{today} bytes left the phone in the last 24 hours")
    return lines


def _merged(counts: Sequence[RuleCount]) -> list[RuleCount]:
    """Counts of one rule together, whether it asked at once or held."""
    merged: dict[str, RuleCount] = {}
    for count in counts:
        before = merged.get(count.rule)
        decisions = count.decisions + (before.decisions if before else 0)
        merged[count.rule] = RuleCount(count.action, count.rule, decisions, 0, 0)
    return sorted(merged.values(), key=lambda count: (-count.decisions, count.rule))
