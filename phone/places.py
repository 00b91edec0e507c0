"""The phone's own memory of places, and what the cloud told it: one table of the phone's database.

Its own readings are remembered whatever the wearer shares. Those that are to be shared wait in the same rows until the
cloud has taken them, so that nothing is lost when the phone is killed, and nothing waits that was deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from phone.database import Database, Row, Value
from shared.clock import Clock
from shared.places.cells import around, cell_name, cell_number
from shared.places.matching import match_text, text_key
from shared.places.memory import day_of
from shared.places.reading import KnownSign, PlaceEngine, PlaceReading

MAX_TRUST: Final = 0.95
"""What is remembered is believed no more than this: it may have been wrong, and the sign may have changed."""
MAX_WAITING: Final = 1_000
"""Readings that wait to be shared; further ones are remembered and not shared."""
_PRUNE_EVERY: Final = 100
_FORGET: Final = "places.cloud_must_forget"
"""Key of the wish in the table `kept`."""
_WAITS: Final = 1
"""Value of the column `waiting`; 0 is not to be shared, or was."""
_SIGNED: Final = 1 << 63
_COLUMNS: Final = "cell, target, text, translation, source, engine, picture, trust, devices"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A reading that waits to be shared.

    Attributes:
        id: of this very reading; a newer one of the same sign has another.
        reading: as read.
    """

    id: int
    reading: PlaceReading


@dataclass(frozen=True, slots=True)
class PlaceCounts:
    """What is remembered.

    Attributes:
        own: signs read by this phone.
        told: signs the cloud told it.
        waiting: of its own, those still to be shared.
    """

    own: int
    told: int
    waiting: int


@dataclass(frozen=True, slots=True)
class PlaceEntry:
    """One remembered sign, for people.

    Attributes:
        id: its number.
        sign: what is known.
        told: whether the cloud told it.
        waits: whether it waits to be shared.
    """

    id: int
    sign: KnownSign
    told: bool
    waits: bool


class PhonePlaces:
    """The table `places`: a `shared.places.memory.PlaceMemory`. Methods named `..._now` are for other threads than the
    event loop's; several may use it.

    Args:
        database: the phone's.
        clock: tells the day.
        max_signs: signs kept, its own and the cloud's together; the cloud's go first, then the least recently seen.
        keep_days: how long a sign is remembered that is not seen again.
    """

    def __init__(self, database: Database, *, clock: Clock, max_signs: int, keep_days: int) -> None:
        self._database = database
        self._clock = clock
        self._max_signs = max_signs
        self._keep_days = keep_days
        self._stored = 0

    async def remember(self, reading: PlaceReading, *, device: str = "") -> bool:
        """See `PlaceMemory.remember`; whose reading it is makes no difference here."""
        del device
        return await asyncio.to_thread(self.remember_now, reading)

    async def recall(self, cells: Sequence[str], target: str) -> list[KnownSign]:
        """See `PlaceMemory.recall`; what the phone read itself counts from the first time."""
        return await asyncio.to_thread(self.recall_now, cells, target)

    async def forget(self, *, device: str = "") -> int:
        """See `PlaceMemory.forget`: everything, what the cloud told included."""
        del device
        return await asyncio.to_thread(self.forget_now)

    async def expire(self) -> int:
        """See `PlaceMemory.expire`."""
        return await asyncio.to_thread(self.expire_now)

    def remember_now(self, reading: PlaceReading, *, share: bool = False) -> bool:
        """Remember a reading of this phone, unless a surer one of the same sign is there.

        Args:
            reading: sound; its confidence is how far it is believed.
            share: whether it is to be shared as well.

        Raises:
            StorageError: the database cannot be written.
        """
        today = day_of(self._clock.wall())
        cells = [cell_number(cell) for cell in around(reading.cell)]
        rows = self._database.query(
            f"SELECT id, text, translation, trust, waiting FROM places WHERE cell IN ({_marks(cells)})"
            " AND target = ? AND shared = 0",
            (*cells, reading.target),
        )
        same = [row for row in rows if match_text(str(row[1]), reading.text)]
        trust = min(reading.confidence, MAX_TRUST)
        if any(_number(row[3]) > trust or _says(row) == (reading.text, reading.translation) for row in same):
            # Known already: seen again, perhaps more surely. What was shared once is not shared again.
            self._database.change_all(
                [
                    ("UPDATE places SET day = ?, trust = MAX(trust, ?) WHERE id = ?", (today, trust, row[0]))
                    for row in same
                ]
            )
            return False
        waits = share and self.counts_now().waiting < MAX_WAITING
        own = KnownSign(reading, trust, 1)
        statements: list[tuple[str, Sequence[Value]]] = [("DELETE FROM places WHERE id = ?", (row[0],)) for row in same]
        statements.append(_insert(own, shared=False, day=today, waiting=_WAITS if waits else 0))
        self._database.change_all(statements)
        self._prune_now_and_then()
        return True

    def recall_now(self, cells: Sequence[str], target: str) -> list[KnownSign]:
        """As `recall`.

        Raises:
            StorageError: the database cannot be read.
        """
        if not cells:
            return []
        oldest = day_of(self._clock.wall()) - self._keep_days
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM places WHERE cell IN ({_marks(cells)}) AND target = ? AND day >= ?"
            " ORDER BY trust DESC, devices DESC, id",
            (*map(cell_number, cells), target, oldest),
        )
        return [_known(row) for row in rows]

    def tell_now(self, cells: Sequence[str], target: str, signs: Sequence[KnownSign]) -> None:
        """Take what the cloud says of some cells in place of what it said before.

        Args:
            cells: that were asked for; signs of others are left out.
            target: language asked for; likewise.
            signs: sound ones; none is believed more than the phone's own reading.

        Raises:
            StorageError: the database cannot be written.
        """
        today = day_of(self._clock.wall())
        asked = set(cells)
        statements: list[tuple[str, Sequence[Value]]] = []
        for cell in cells:
            number = cell_number(cell)
            statements.append(("DELETE FROM places WHERE cell = ? AND target = ? AND shared = 1", (number, target)))
            statements.append(("INSERT OR REPLACE INTO place_lookups VALUES (?, ?, ?)", (number, target, today)))
        statements += [
            _insert(replace(sign, trust=min(sign.trust, MAX_TRUST)), shared=True, day=today, waiting=0)
            for sign in signs
            if sign.reading.cell in asked and sign.reading.target == target
        ]
        self._database.change_all(statements)
        self._prune_now_and_then()

    def unasked_now(self, cells: Sequence[str], target: str) -> list[str]:
        """Those of some cells that the cloud was not asked about today.

        Raises:
            StorageError: the database cannot be read.
        """
        if not cells:
            return []
        rows = self._database.query(
            f"SELECT cell FROM place_lookups WHERE cell IN ({_marks(cells)}) AND target = ? AND day = ?",
            (*map(cell_number, cells), target, day_of(self._clock.wall())),
        )
        asked = {cell_name(int(_number(row[0]))) for row in rows}
        return [cell for cell in cells if cell not in asked]

    def waiting_now(self, limit: int) -> list[Waiting]:
        """Readings that wait to be shared, oldest first.

        Raises:
            StorageError: the database cannot be read.
        """
        rows = self._database.query(
            f"SELECT {_COLUMNS}, id FROM places WHERE waiting = ? ORDER BY id LIMIT ?", (_WAITS, limit)
        )
        return [Waiting(int(_number(row[-1])), _known(row).reading) for row in rows]

    def shared_now(self, ids: Sequence[int]) -> None:
        """Readings were shared, or were refused and will be again: they no longer wait.

        Raises:
            StorageError: the database cannot be written; they will be shared once more, which changes nothing.
        """
        self._database.change(f"UPDATE places SET waiting = 0 WHERE id IN ({_marks(ids)})", tuple(ids))

    def forget_now(self, *, cloud_too: bool = False) -> int:
        """Forget every place; returns how many signs that were.

        Args:
            cloud_too: whether the wish that the cloud forget as well is kept until `cloud_forgot_now`.

        Raises:
            StorageError: the database cannot be written.
        """
        counts = self.counts_now()
        statements: list[tuple[str, Sequence[Value]]] = [
            ("DELETE FROM places", ()),
            ("DELETE FROM place_lookups", ()),
        ]
        if cloud_too:
            statements.append(("INSERT OR REPLACE INTO kept VALUES (?, ?)", (_FORGET, "wanted")))
        self._database.change_all(statements)
        return counts.own + counts.told

    def cloud_must_forget_now(self) -> bool:
        """Whether the cloud has still to forget what this phone shared.

        Raises:
            StorageError: the database cannot be read.
        """
        return bool(self._database.query("SELECT 1 FROM kept WHERE key = ?", (_FORGET,)))

    def cloud_forgot_now(self) -> None:
        """The cloud has forgotten.

        Raises:
            StorageError: the database cannot be written; it will be asked once more, which changes nothing.
        """
        self._database.change("DELETE FROM kept WHERE key = ?", (_FORGET,))

    def expire_now(self) -> int:
        """Drop what was not seen for long; returns how many signs that were.

        Raises:
            StorageError: the database cannot be written.
        """
        oldest = day_of(self._clock.wall()) - self._keep_days
        self._database.change("DELETE FROM place_lookups WHERE day < ?", (day_of(self._clock.wall()),))
        return self._database.change("DELETE FROM places WHERE day < ?", (oldest,))

    def counts_now(self) -> PlaceCounts:
        """How much is remembered.

        Raises:
            StorageError: the database cannot be read.
        """
        rows = self._database.query("SELECT shared, waiting, COUNT(*) FROM places GROUP BY shared, waiting")
        numbers = {(int(_number(row[0])), int(_number(row[1]))): int(_number(row[2])) for row in rows}
        return PlaceCounts(
            own=sum(count for (shared, _), count in numbers.items() if not shared),
            told=sum(count for (shared, _), count in numbers.items() if shared),
            waiting=numbers.get((0, _WAITS), 0),
        )

    def all_now(self, limit: int) -> list[PlaceEntry]:
        """Everything remembered, newest first.

        Raises:
            StorageError: the database cannot be read.
        """
        rows = self._database.query(
            f"SELECT {_COLUMNS}, id, shared, waiting FROM places ORDER BY id DESC LIMIT ?", (limit,)
        )
        return [PlaceEntry(int(_number(row[9])), _known(row), bool(row[10]), row[11] == _WAITS) for row in rows]

    def forget_some_now(self, ids: Sequence[int]) -> int:
        """Forget single signs on this phone; returns how many there were.

        Raises:
            StorageError: the database cannot be written.
        """
        return sum(self._database.change("DELETE FROM places WHERE id = ?", (number,)) for number in set(ids))

    def _prune_now_and_then(self) -> None:
        self._stored += 1
        if self._stored % _PRUNE_EVERY == 1:  # at the first as well: a daemon may never come to the next
            self.expire_now()
            self._database.change(
                # Whatever the cloud tells, and however much, it does not push out what the phone read itself.
                "DELETE FROM places WHERE id IN"
                " (SELECT id FROM places ORDER BY shared, day DESC, id DESC LIMIT -1 OFFSET ?)",
                (self._max_signs,),
            )


def _insert(sign: KnownSign, *, shared: bool, day: int, waiting: int) -> tuple[str, Sequence[Value]]:
    reading = sign.reading
    values: tuple[Value, ...] = (
        cell_number(reading.cell),
        reading.target,
        int(shared),
        text_key(reading.text),
        reading.text,
        reading.translation,
        reading.source,
        reading.engine.value,
        _signed(reading.picture_hash),
        sign.trust,
        sign.devices,
        day,
        waiting,
    )
    columns = "cell, target, shared, key, text, translation, source, engine, picture, trust, devices, day, waiting"
    return f"INSERT OR REPLACE INTO places ({columns}) VALUES ({_marks(values)})", values


def _known(row: Row) -> KnownSign:
    """The sign of a row that begins with `_COLUMNS`."""
    cell, target, text, translation, source, engine, picture, trust, devices = row[:9]
    reading = PlaceReading(
        cell=cell_name(int(_number(cell))),
        text=str(text),
        translation=str(translation),
        source=str(source),
        target=str(target),
        picture_hash=None if picture is None else int(_number(picture)) % (2 * _SIGNED),
        confidence=_number(trust),
        engine=PlaceEngine(str(engine)),
    )
    return KnownSign(reading, _number(trust), int(_number(devices)))


def _says(row: Row) -> tuple[Value, Value]:
    return row[1], row[2]


def _number(value: Value) -> int | float:
    """A column that holds a number, whatever SQLite's types allow."""
    assert isinstance(value, int | float), "a column of numbers holds something else"
    return value


def _signed(picture: int | None) -> int | None:
    """SQLite's integers are signed; hashes are not."""
    return None if picture is None else picture - 2 * _SIGNED if picture >= _SIGNED else picture


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))
