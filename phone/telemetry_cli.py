"""`wayword-phone telemetry`: exactly what would be sent, and how to be rid of it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from phone.settings import PhoneSettings, TelemetryUse

if TYPE_CHECKING:
    from phone.telemetry_store import TelemetryStore


def add_telemetry_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Describe the command."""
    telemetry = commands.add_parser("telemetry", help="show what waits to be reported, or delete it")
    telemetry.add_argument(
        "action", choices=["show", "delete"], help="show: one JSON object a line, every field that would be sent"
    )
    return telemetry


def run_telemetry(options: argparse.Namespace, settings: PhoneSettings) -> int:
    """Do it, and return the exit code.

    Args:
        options: of the command line.
        settings: of the phone.

    Raises:
        StorageError: the database cannot be used.
    """
    from phone.database import Database
    from phone.experiments import forget
    from phone.telemetry_store import TelemetryStore

    path = settings.database_path()
    if not path.exists():
        sys.stderr.write(f"nothing is gathered: there is no {path}\n")
        return 0
    showing = options.action == "show"
    database = Database(path, read_only=showing)
    try:
        if showing and not database.columns("telemetry"):
            sys.stderr.write("nothing is gathered\n")
            return 0
        store = TelemetryStore(database, max_bytes=settings.telemetry_bytes)
        if showing:
            _show(store, settings)
            return 0
        count = store.count()
        store.clear()
        forget(database)
        sys.stderr.write(f"{count} records are deleted, and the random name under which this phone asked for arms\n")
        return 0
    finally:
        database.close()


def _show(store: TelemetryStore, settings: PhoneSettings) -> None:
    from google.protobuf.json_format import MessageToDict

    records = store.all()
    for record in records:
        document = MessageToDict(record, preserving_proto_field_name=True)
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    size = sum(record.ByteSize() for record in records)
    off = "; telemetry is off: they are deleted when the daemon starts"
    sys.stderr.write(
        f"{len(records)} records wait, {size} bytes; {store.lost()} were lost to the cap of"
        f" {settings.telemetry_bytes} bytes{off if settings.telemetry is TelemetryUse.OFF and records else ''}\n"
    )
