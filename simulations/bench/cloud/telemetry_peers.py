"""A phone and a cloud of telemetry as processes of their own, to be killed at any moment.

Both run the production code over a real gRPC channel. The cloud's calls fail at will, before a report is taken or,
worse, after it was. The phone writes down the id of every record that it has promised to deliver, once it is on its
disk.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from cloud.calls import Call
from cloud.experiments.running import Experiments
from cloud.refusals import Reason, Refusal
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from cloud.telemetry.service import TelemetryService
from cloud.telemetry.store import TelemetryStore
from phone.battery import Battery
from phone.cascade.inputs import NetworkKind, Thermal
from phone.cloud_channel import CloudChannel
from phone.database import Database
from phone.network import NetworkState
from phone.telemetry import Telemetry
from phone.telemetry_store import TelemetryStore as PhoneStore
from phone.window import RadioWindow
from shared.clock import SystemClock
from shared.events import EventLog
from shared.messages.wayword.v1.telemetry_pb2 import ReportReply, ReportRequest
from shared.wire.waiting import Backoff

PHONE_BYTES: Final = 10_000_000
"""Cap of the phone's buffer: larger than all that a run gathers, so that every loss is a fault."""
RECORDS_A_ROUND: Final = 12
ROUND_S: Final = 0.01


class FlakyTelemetry(TelemetryService):
    """The service, with an unreliable network in front of it."""

    flaws: random.Random
    rate: float

    async def report(self, request: ReportRequest, call: Call) -> ReportReply:
        """Fail before, or after, or not."""
        if self.flaws.random() < self.rate:
            raise Refusal(Reason.DRAINING, "lost on the way there")
        reply = await super().report(request, call)
        if self.flaws.random() < self.rate:
            raise Refusal(Reason.DRAINING, "lost on the way back")
        return reply


async def cloud(folder: Path, *, port: int, seed: int, rate: float) -> None:
    """Serve until killed."""
    clock = SystemClock()
    events = EventLog(None, tier="cloud", clock=clock)
    service = FlakyTelemetry(
        lambda: TelemetryStore(folder / "cloud.sqlite3", keep_days=30, max_bytes=1_000_000_000),
        experiments=Experiments(None, clock=clock, events=events, warn=lambda line: None),
        text_allowed=False,
        clock=clock,
        events=events,
        default_deadline_s=5.0,
    )
    service.flaws, service.rate = random.Random(seed), rate
    server = CloudServer([service], CloudSettings.load(None, listen=f"127.0.0.1:{port}"))
    await server.start()
    await asyncio.Event().wait()


async def phone(folder: Path, *, port: int, drain: bool) -> None:
    """Gather and send until killed; with `drain`, gather nothing and send until nothing is left."""
    clock = SystemClock()
    database = Database(folder / "phone.sqlite3")
    store = PhoneStore(database, max_bytes=PHONE_BYTES)
    events = EventLog(None, tier="phone", clock=clock)
    channel = CloudChannel(f"127.0.0.1:{port}", clock=clock)
    telemetry = Telemetry(
        store,
        channel,
        clock=clock,
        events=events,
        text=False,
        arms=dict,
        network=lambda: NetworkState(NetworkKind.WIFI, metered=False),
        battery=lambda: Battery(80, charging=True),
        thermal=lambda: Thermal.NORMAL,
        window=RadioWindow(clock),
        joules=lambda seconds: 0.0,
        backoff=Backoff(random.Random(), first=0.05, cap=0.2),
    )
    if drain:
        while store.count():
            await telemetry.send()
            await asyncio.sleep(ROUND_S)
    else:
        telemetry.start()
        with (folder / "promised").open("a", buffering=1) as promised:
            while True:
                for number in range(RECORDS_A_ROUND):
                    events.write("cloud_call", outcome="refined", ms=float(number), hedged=False)
                if not await telemetry.flush():
                    raise SystemExit("the phone's disk refused")
                promised.writelines(f"{record.id}\n" for record in store.all())
                await telemetry.send()
                await asyncio.sleep(ROUND_S)
    await channel.close()
    database.close()


def counted(folder: Path) -> tuple[int, int, set[str]]:
    """Records and ids in the cloud's file, and which ids."""
    connection = sqlite3.connect(folder / "cloud.sqlite3")
    try:
        records = int(connection.execute("SELECT COUNT(*) FROM records").fetchone()[0])
        ids = {row[0].hex() for row in connection.execute("SELECT id FROM ids")}
    finally:
        connection.close()
    return records, len(ids), ids


def main(arguments: list[str]) -> int:
    """Run one of the two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["cloud", "phone"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--drain", action="store_true")
    options = parser.parse_args(arguments)
    roles: dict[str, Callable[[], Awaitable[None]]] = {
        "cloud": lambda: cloud(options.folder, port=options.port, seed=options.seed, rate=options.rate),
        "phone": lambda: phone(options.folder, port=options.port, drain=options.drain),
    }

    async def run() -> None:
        await roles[options.role]()

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
