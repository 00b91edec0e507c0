"""Stores of places for tests: SQLite in a folder, and a real redis-server on a socket of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloud.places.keys import ContributorKeys, FileKeys, KeyRing
from cloud.places.sharing import SharedPlaces
from cloud.places.store import Caps, PlaceStore
from shared.places.cells import cell_at
from shared.places.reading import PlaceEngine, PlaceReading

RETENTION_DAYS = 180
ROTATION_DAYS = 30
CELL = cell_at(38.7107, -9.1366)
FAR_CELL = cell_at(41.1456, -8.6109)
DAY_S = 86_400


class Calendar:
    """A clock whose days the test turns."""

    def __init__(self, day: int = 20_000) -> None:
        self.day = day

    def monotonic(self) -> float:
        return float(self.day * DAY_S)

    def wall(self) -> float:
        return float(self.day * DAY_S + 3600)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody should sleep {seconds} s here")


def reading(text: str = "Saída de emergência", translation: str = "Emergency exit", **changes: object) -> PlaceReading:
    values: dict[str, object] = {
        "cell": CELL,
        "text": text,
        "translation": translation,
        "source": "pt",
        "target": "en",
        "picture_hash": 0xF0F0_F0F0_F0F0_F0F0,
        "confidence": 0.9,
        "engine": PlaceEngine.PHRASEBOOK,
        **changes,
    }
    return PlaceReading(**values)  # type: ignore[arg-type]


def shared_places(
    store: PlaceStore,
    ring: KeyRing | Path,
    clock: Calendar,
    *,
    device_a_day: int = 100,
    cell: int = 200,
    rotation_days: int = ROTATION_DAYS,
) -> SharedPlaces:
    keys = ContributorKeys(
        FileKeys(ring / "keys.json") if isinstance(ring, Path) else ring,
        rotation_days=rotation_days,
        retention_days=RETENTION_DAYS,
    )
    caps = Caps(device_a_day=device_a_day, cell=cell)
    return SharedPlaces(store, keys, clock=clock, caps=caps, retention_days=RETENTION_DAYS)


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The address of a redis-server that ends with the test; skips where there is none to start."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    path = folder / "redis.sock"
    process = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until_it_answers(path, process)
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait(10)


def _until_it_answers(path: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        assert process.poll() is None, "redis-server ended at once"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            try:
                probe.connect(str(path))
                probe.sendall(b"PING\r\n")
                if probe.recv(16).startswith(b"+PONG"):
                    return
            except OSError:
                time.sleep(0.02)  # another process starts; there is nothing to wait on
    raise AssertionError("redis-server does not answer")
