"""One update of the phone's packs, in a process of its own: ``python -m phone.updates_child``.

A process, because hashing and unpacking megabytes would hold up readings, because it needs twice a pack's size of
memory for a while, and because it can be ended at any moment. Reads settings from standard input as JSON; writes one
JSON object a line, each with the name of an event.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final

from phone.settings import PhoneSettings
from phone.updates_source import repository_of
from shared.clock import Clock, SystemClock
from shared.errors import UsageError, WaywordError
from shared.models.packs import PackStore, default_store_root
from shared.updates.command import read_root
from shared.updates.updater import PackUpdater, UpdateState, pin_root, pinned_root

MAX_SETTINGS_BYTES: Final = 1024 * 1024
_NICENESS: Final = 10


def main() -> int:
    """Update what is installed; 0 also when something failed, because it is said in an event."""
    os.nice(_NICENESS)
    settings = PhoneSettings.load(None, **json.loads(sys.stdin.buffer.read(MAX_SETTINGS_BYTES)))
    for event in update(settings, clock=SystemClock()):
        sys.stdout.write(json.dumps(event) + "\n")
    return 0


def update(settings: PhoneSettings, *, clock: Clock) -> list[dict[str, object]]:
    """Update what is installed; returns events."""
    store = PackStore(settings.packs or default_store_root())
    try:
        if settings.updates is None:
            raise UsageError("nobody has said where updates come from")
        if settings.updates_root is not None and pinned_root(store) is None:
            pin_root(store, read_root(settings.updates_root))
        with repository_of(settings.updates, settings, clock=clock) as repository:
            outcomes = PackUpdater(store, repository, clock=clock).update()
    except WaywordError as error:
        return [{"event": "updates_failed", "error": type(error).__name__, "reason": error.message}]
    events: list[dict[str, object]] = []
    for outcome in outcomes:
        fields: dict[str, object] = {"pack": outcome.name, "version": outcome.offered, "before": outcome.installed}
        if outcome.problem is not None:
            kind = type(outcome.problem).__name__
            events.append({"event": "pack_failed", **fields, "error": kind, "reason": outcome.problem.message})
        elif outcome.state is UpdateState.UPDATED:
            events.append({"event": "pack_updated", **fields, "bytes": outcome.fetched, "delta": outcome.by_delta})
    current = sum(outcome.state is UpdateState.CURRENT for outcome in outcomes)
    again = any(outcome.problem is not None and outcome.problem.retryable for outcome in outcomes)
    return [*events, {"event": "updates_checked", "packs": len(outcomes), "current": current, "again": again}]


if __name__ == "__main__":
    sys.exit(main())
