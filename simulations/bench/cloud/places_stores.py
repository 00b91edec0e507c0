"""A million signs in SQLite and in a real Redis: how long a look-up takes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import h3
import redis.asyncio

from cloud.places.keys import ContributorKeys, FileKeys
from cloud.places.redis import PREFIX, RedisPlaces, connect
from cloud.places.sharing import SharedPlaces
from cloud.places.sqlite import SqlitePlaces
from cloud.places.store import Caps, PlaceStore, digest_of
from shared.clock import SystemClock
from shared.errors import WaywordError
from shared.limits import MAX_CELL_READINGS
from shared.places.cells import around, cell_at, cell_number
from shared.places.matching import Glimpse
from shared.places.memory import day_of
from shared.places.reading import PlaceEngine, PlaceReading
from shared.places.trust import Vote
from simulations.bench.cloud.findings import Finding, Progress

SIGNS_A_CELL: Final = 8
"""Signs in a cell: 1,000,000 fill 125,000 cells, about 1,900 square kilometres of street. A judgement."""
VOTES_A_SIGN: Final = 3
DEVICES: Final = 10_000
LOOKUPS: Final = 1_000
RETENTION_DAYS: Final = 180
_BATCH: Final = 8_000
_START_S: Final = 20.0
_FILL_S: Final = 120.0
_WORDS: Final = (
    *("saída", "entrada", "padaria", "farmácia", "talho", "livraria", "estação", "praça", "museu", "escola", "mercado"),
    *("igreja", "ponte", "jardim", "castelo", "rua", "avenida", "hotel", "café", "restaurante", "correio", "banco"),
    *("hospital", "polícia", "bombeiros", "cinema", "teatro", "piscina", "parque", "praia"),
)


@dataclass(frozen=True, slots=True)
class Street:
    """Where signs hang, and what they say, the same for both stores.

    Attributes:
        cells: occupied ones.
        signs: how many hang in them.
        today: day of all votes.
    """

    cells: Sequence[str]
    signs: int
    today: int

    def votes(self, cell: str) -> list[Vote]:
        """All votes in a cell: signs of two to four words and a number, each read alike by a few devices."""
        rng = random.Random(cell)
        found = []
        for number in range(SIGNS_A_CELL):
            # A house number tells it from every other: names that differ in a letter would be one sign.
            text = f"{' '.join(rng.choices(_WORDS, k=rng.randint(2, 4)))} {10 * rng.randrange(100) + number}"
            reading = PlaceReading(
                cell, text, text.title(), "pt", "en", rng.getrandbits(64), engine=PlaceEngine.TRANSLATOR
            )
            for device in rng.sample(range(DEVICES), VOTES_A_SIGN):
                found.append(Vote(reading, device.to_bytes(16), self.today))
        return found


def measure_stores(folder: Path, *, signs: int, seconds: float, progress: Progress) -> list[Finding]:
    """Fill both stores and look up.

    Args:
        folder: for the files.
        signs: in each store.
        seconds: for filling each; what is in by then is what is measured.
        progress: told how far it is.
    """
    cells = _cells(-(-signs // SIGNS_A_CELL))
    street = Street(cells, len(cells) * SIGNS_A_CELL, day_of(time.time()))
    rows = [*_sqlite(folder, street, seconds, progress)]
    program = shutil.which("redis-server")
    if program is None:
        return [*rows, Finding("Redis", None, note="redis-server is not installed")]
    with _redis(program, folder) as url:
        rows += _redis_rows(url, folder, street, seconds, progress)
    return rows


def _cells(count: int) -> list[str]:
    """So many cells around one point."""
    ring = 0
    while 1 + 3 * ring * (ring + 1) < count:
        ring += 1
    disk = sorted(str(cell) for cell in h3.grid_disk(cell_at(38.7107, -9.1366), ring))
    random.Random(1).shuffle(disk)
    return disk[:count]


def _sqlite(folder: Path, street: Street, seconds: float, progress: Progress) -> list[Finding]:
    path = folder / "places.sqlite3"
    asyncio.run(_touch(path, street))
    started = time.monotonic()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    filled, sign = 0, 0
    for start in range(0, len(street.cells), _BATCH // SIGNS_A_CELL):
        connection.execute("BEGIN")
        for cell in street.cells[start : start + _BATCH // SIGNS_A_CELL]:
            rows: dict[bytes, tuple[Any, ...]] = {}
            votes = []
            for vote in street.votes(cell):
                reading, digest = vote.reading, digest_of(vote.reading)
                if digest not in rows:
                    sign += 1
                    rows[digest] = (
                        sign, cell_number(cell), reading.target, digest, reading.source, reading.engine.value,
                        reading.text, reading.translation,
                    )  # fmt: skip
                picture = reading.picture_hash or 0
                votes.append((rows[digest][0], vote.device, vote.day, picture - 2**64 if picture >= 2**63 else picture))
            connection.executemany("INSERT INTO signs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.values())
            connection.executemany("INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?)", votes)
            filled += 1
        connection.execute("COMMIT")
        progress(f"SQLite: {filled * SIGNS_A_CELL} of {street.signs} signs")
        if time.monotonic() - started > seconds:
            break
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    built = time.monotonic() - started
    reached = Street(street.cells[:filled], filled * SIGNS_A_CELL, street.today)
    size = path.stat().st_size / 1e6
    return asyncio.run(
        _measured("SQLite", SqlitePlaces(path), reached, folder, f"{built:.0f} s to fill, {size:.0f} MB")
    )


async def _touch(path: Path, street: Street) -> None:
    """Have the store make its tables, and leave them empty."""
    store = SqlitePlaces(path)
    vote = street.votes(street.cells[0])[0]
    await store.put(vote, instead=[], caps=Caps(1, 1))
    await store.withdraw([vote.device])
    await store.close()


def _redis_rows(url: str, folder: Path, street: Street, seconds: float, progress: Progress) -> list[Finding]:
    async def run() -> list[Finding]:
        # Filling writes megabytes at once, which the store never does: it may take longer than a look-up may.
        client: Any = redis.asyncio.Redis.from_url(url, socket_timeout=_FILL_S)
        started = time.monotonic()
        filled = 0
        members: dict[str, list[str]] = defaultdict(list)
        step = _BATCH // SIGNS_A_CELL
        for start in range(0, len(street.cells), step):
            async with client.pipeline(transaction=False) as pipeline:
                for cell in street.cells[start : start + step]:
                    pipeline.hset(f"{PREFIX}cell:{cell}:en", mapping=_fields(street.votes(cell), cell, members))
                    filled += 1
                for device, names in members.items():
                    pipeline.sadd(f"{PREFIX}device:{device}", *names)
                members.clear()
                await pipeline.execute()
            progress(f"Redis: {filled * SIGNS_A_CELL} of {street.signs} signs")
            if time.monotonic() - started > seconds:
                break
        built = time.monotonic() - started
        memory = (await client.info("memory"))["used_memory"] / 1e6
        reached = Street(street.cells[:filled], filled * SIGNS_A_CELL, street.today)
        await client.aclose()
        store = RedisPlaces(connect(url), retention_days=RETENTION_DAYS)
        return await _measured("Redis", store, reached, folder, f"{built:.0f} s to fill, {memory:.0f} MB")

    return asyncio.run(run())


def _fields(votes: Sequence[Vote], cell: str, members: dict[str, list[str]]) -> dict[str, str | int]:
    """One cell as `RedisPlaces` keeps it."""
    fields: dict[str, str | int] = {"votes": len(votes)}
    for vote in votes:
        reading, digest, device = vote.reading, digest_of(vote.reading).hex(), vote.device.hex()
        fields[f"s:{digest}"] = json.dumps(
            [reading.text, reading.translation, reading.source, reading.engine.value], ensure_ascii=False
        )
        fields[f"n:{digest}"] = int(fields.get(f"n:{digest}", 0)) + 1
        fields[f"v:{digest}:{device}"] = f"{vote.day}:{reading.picture_hash or 0:x}"
        members[device].append(f"{cell} en {digest}")
    return fields


async def _seen(reading: PlaceReading) -> Glimpse:
    return Glimpse(reading.text, reading.picture_hash)


async def _measured(name: str, store: PlaceStore, street: Street, folder: Path, note: str) -> list[Finding]:
    """Latencies of look-ups at random occupied places, one at a time."""
    keys = ContributorKeys(FileKeys(folder / "keys.json"), rotation_days=30, retention_days=RETENTION_DAYS)
    places = SharedPlaces(
        store,
        keys,
        clock=SystemClock(),
        caps=Caps(device_a_day=200, cell=MAX_CELL_READINGS),
        retention_days=RETENTION_DAYS,
    )
    rng = random.Random(5)
    one: list[float] = []
    ring: list[float] = []
    recall: list[float] = []
    missed = 0
    try:
        for index in range(LOOKUPS + 50):
            cell = rng.choice(street.cells)
            wanted = rng.choice(street.votes(cell)).reading
            times = [time.perf_counter()]
            await store.votes([cell], "en", since=0)
            times.append(time.perf_counter())
            await store.votes(around(cell), "en", since=0)
            times.append(time.perf_counter())
            found = await places.find(cell, "en", partial(_seen, wanted))
            times.append(time.perf_counter())
            missed += found is None
            if index >= 50:  # the first ones warm it up
                for series, begin, end in zip((one, ring, recall), times[:-1], times[1:], strict=True):
                    series.append((end - begin) * 1e6)
    finally:
        await store.close()
    rows = []
    for what, series in (("one cell", one), ("a cell and its neighbours", ring), ("recall of a sign there", recall)):
        cuts = statistics.quantiles(series, n=100)
        label = f"{name}, {street.signs} signs, {what}"
        rows.append(Finding(f"{label}: p50", cuts[49], "µs", note=note))
        rows.append(Finding(f"{label}: p99", cuts[98], "µs", note=f"{LOOKUPS} look-ups, one at a time"))
    rows.append(Finding(f"{name}: signs looked for that hang there and were not found", float(missed), note=note))
    return rows


@contextmanager
def _redis(program: str, folder: Path) -> Iterator[str]:
    """A redis-server on a socket of its own, which ends with the bench."""
    path = folder / "redis.sock"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "simulations.guard", str(os.getpid())),
            *(program, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"),
            *("--dir", str(folder)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + _START_S
        while not _answers(path):
            if process.poll() is not None or time.monotonic() > end:
                raise WaywordError("redis-server does not start")
            time.sleep(0.02)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait(30)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False
