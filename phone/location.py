"""Where the phone is: a fixed position, or what a gpsd on this machine or in the network says; or nobody knows.

A position is used as a place cell and nothing else (`shared.places.cells`), is never stored, and counts for half a
minute only: a wearer who went on is somewhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
from dataclasses import dataclass
from typing import Final, Protocol

from shared.clock import Clock
from shared.errors import LocationError, UsageError, reason_of
from shared.events import EventLog
from shared.places.cells import cell_at
from shared.wire.waiting import Backoff

GPSD_PORT: Final = 2947
"""Assigned to gpsd (IANA)."""
STALE_S: Final = 30.0
"""A walker has gone 40 m by then, half the edge of a cell. A judgement."""
MAX_ERROR_M: Final = 150.0
"""A fix that may be farther off is none: the neighbours of a cell reach that far."""
CONNECT_S: Final = 5.0
SILENCE_S: Final = 60.0
"""gpsd reports every second while it has a receiver, with or without a fix; a silent one is connected to anew."""
MAX_REPORT_BYTES: Final = 64 * 1024
"""Longest report; one with all satellites has about 10 kB (gpsd's own buffer is GPS_JSON_RESPONSE_MAX, 10,240)."""
_WATCH: Final = b'?WATCH={"enable":true,"json":true};\n'
_MIN_MODE: Final = 2
"""TPV's mode: 2 is a fix in two dimensions, 3 in three (gpsd_json(5))."""


@dataclass(frozen=True, slots=True)
class Position:
    """A position, WGS 84 degrees."""

    latitude: float
    longitude: float

    @property
    def cell(self) -> str:
        """The place cell it lies in."""
        return cell_at(self.latitude, self.longitude)


class PositionSource(Protocol):
    """Knows where the phone is, or not."""

    def position(self) -> Position | None:
        """Where it is now; None where that is not known. Answers at once."""
        ...

    async def run(self) -> None:
        """Keep the position up to date, until cancelled. Returns at once where there is nothing to do."""
        ...


class FixedPosition:
    """Always the same: a screen in a shop, an experiment; or, with None, nowhere."""

    def __init__(self, position: Position | None) -> None:
        self._position = position

    def position(self) -> Position | None:
        """See `PositionSource.position`."""
        return self._position

    async def run(self) -> None:
        """See `PositionSource.run`."""


class GpsdPosition:
    """The reports of a gpsd (https://gpsd.gitlab.io/gpsd/gpsd_json.html) over TCP; connects anew whenever it must.

    Args:
        host: where it runs.
        port: usually `GPSD_PORT`.
        clock: ages the position.
        events: told of every failure, and of the first report after one; never of a position.
        rng: of the pauses between attempts.
    """

    def __init__(
        self, host: str, port: int, *, clock: Clock, events: EventLog, rng: random.Random | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._clock = clock
        self._events = events
        self._backoff = Backoff(rng or random.Random(), first=1.0, cap=60.0)
        self._position: Position | None = None
        self._since = -math.inf
        self._heard = False

    def position(self) -> Position | None:
        """See `PositionSource.position`."""
        return self._position if self._clock.monotonic() - self._since <= STALE_S else None

    async def run(self) -> None:
        """See `PositionSource.run`."""
        while True:
            self._heard = False
            try:
                await self.follow()
            except LocationError as error:
                self._events.write("position_failed", reason=error.message)
            if self._heard:
                self._backoff.reset()
            await self._clock.sleep(self._backoff.next())

    async def follow(self) -> None:
        """Connect, and take reports until the connection ends.

        Raises:
            LocationError: gpsd cannot be reached, ends the connection, falls silent, or says what is no report.
        """
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port, limit=MAX_REPORT_BYTES)
        except (OSError, TimeoutError) as error:
            raise LocationError(f"gpsd at {self._host}:{self._port} cannot be reached: {reason_of(error)}") from error
        try:
            writer.write(_WATCH)
            while True:
                try:
                    async with asyncio.timeout(SILENCE_S):
                        line = await reader.readuntil(b"\n")
                except asyncio.IncompleteReadError:
                    raise LocationError("gpsd ended the connection") from None
                except asyncio.LimitOverrunError:
                    raise LocationError("gpsd sends a longer report than there is") from None
                except TimeoutError:
                    raise LocationError("gpsd is silent") from None
                except OSError as error:
                    raise LocationError(f"the connection to gpsd broke: {reason_of(error)}") from error
                self._take(line)
        finally:
            writer.close()
            with contextlib.suppress(OSError):  # it is being given up
                await writer.wait_closed()

    def _take(self, line: bytes) -> None:
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            raise LocationError("gpsd sends what is no JSON") from None
        if not isinstance(report, dict):
            raise LocationError("gpsd sends what is no report")
        if report.get("class") == "ERROR":
            raise LocationError("gpsd reports an error")
        if not self._heard:
            self._heard = True
            self._events.write("position_source", source="gpsd")
        if report.get("class") != "TPV":
            return
        found = _position_of(report)
        if found is not None:
            self._position, self._since = found, self._clock.monotonic()


def position_source(setting: str | None, *, clock: Clock, events: EventLog) -> PositionSource:
    """The source that a setting names: nothing, "LATITUDE,LONGITUDE", "gpsd", or "gpsd://HOST:PORT".

    Raises:
        UsageError: it is none of these.
    """
    if setting is None:
        return FixedPosition(None)
    if setting == "gpsd":
        return GpsdPosition("127.0.0.1", GPSD_PORT, clock=clock, events=events)
    if setting.startswith("gpsd://"):
        host, colon, port = setting.removeprefix("gpsd://").rpartition(":")
        if not colon or not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise _no_position(setting)
        return GpsdPosition(host.strip("[]"), int(port), clock=clock, events=events)
    try:
        latitude, longitude = map(float, setting.split(","))
    except ValueError:
        raise _no_position(setting) from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise _no_position(setting)
    return FixedPosition(Position(latitude, longitude))


def _no_position(setting: str) -> UsageError:
    return UsageError(
        f"{setting!r} is no source of positions", hint='write "38.71,-9.14", "gpsd" or "gpsd://HOST:PORT"'
    )


def _position_of(report: dict[str, object]) -> Position | None:
    """The position of a TPV report; None without a fix, or with one that may be far off."""
    mode, latitude, longitude = report.get("mode"), report.get("lat"), report.get("lon")
    if not isinstance(mode, int) or mode < _MIN_MODE:
        return None
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    errors = [report.get(name) for name in ("eph", "epx", "epy")]
    if any(isinstance(error, int | float) and not error <= MAX_ERROR_M for error in errors):
        return None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # which NaN is not, either
        return None
    return Position(float(latitude), float(longitude))
