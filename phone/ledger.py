"""The privacy ledger: one row for every decision of the cascade, before anything leaves.

What a sign says is not in it unless the wearer asks for that. What left is, with when, why, how many bytes and what
came of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from phone.cascade.policy import Decision, Signals
from phone.database import Database, Row
from shared.clock import Clock

MAX_ROWS: Final = 100_000
"""Rows kept; the oldest go first. About 15 MB."""
_PRUNE_EVERY: Final = 1_000
_DAY_S: Final = 86_400.0


class Outcome(StrEnum):
    """What came of a decision."""

    KEPT = "kept"
    """Nothing was sent."""
    PENDING = "pending"
    """A call was about to be made; stays so when the phone died during it."""
    REFINED = "refined"
    CONFIRMED = "confirmed"
    """The cloud answered, and says the same as the phone."""
    NO_BETTER = "no better"
    """The cloud answered, and is less sure than the phone."""
    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision. Times are Unix seconds; `bytes_out` is an upper bound of what left the phone for it."""

    id: int
    wall_time: float
    frame_id: int
    region_id: int
    escalate: bool
    rule: str
    reason: str
    gain: float
    price: float
    bytes_out: int
    outcome: Outcome
    cloud_ms: float | None
    recognition: float
    script: float
    language: float
    translation: float
    engine: str
    source: str
    target: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Sign:
    """Which sign a decision is about."""

    frame_id: int
    region_id: int
    engine: str
    source: str
    target: str
    text: str


_COLUMNS: Final = (
    "id, wall_time, frame_id, region_id, escalate, rule, reason, gain, price, bytes_out, outcome, cloud_ms, "
    "recognition, script, language, translation, engine, source, target, text"
)


class Ledger:
    """Writes and reads the table `ledger`.

    Args:
        database: the phone's database.
        clock: wall time of the rows and of the day's budget.
        keep_text: whether what the sign says is stored too.
    """

    def __init__(self, database: Database, *, clock: Clock, keep_text: bool = False) -> None:
        self._database = database
        self._clock = clock
        self._keep_text = keep_text
        self._written = 0

    def record(self, sign: Sign, signals: Signals, decision: Decision) -> int:
        """Write a decision and return its row id. An escalation counts its bytes at once, before they are sent.

        Raises:
            StorageError: the row could not be written: nothing may be sent.
        """
        self._written += 1
        if self._written % _PRUNE_EVERY == 0:
            self._database.execute(
                "DELETE FROM ledger WHERE id <= (SELECT id FROM ledger ORDER BY id DESC LIMIT 1 OFFSET ?)", (MAX_ROWS,)
            )
        return self._database.execute(
            "INSERT INTO ledger (wall_time, frame_id, region_id, escalate, rule, reason, gain, price, bytes_out,"
            " outcome, cloud_ms, recognition, script, language, translation, engine, source, target, text)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._clock.wall(),
                sign.frame_id,
                sign.region_id,
                int(decision.escalate),
                decision.rule.value,
                decision.reason,
                decision.gain,
                decision.price,
                signals.request_bytes if decision.escalate else 0,
                (Outcome.PENDING if decision.escalate else Outcome.KEPT).value,
                signals.recognition,
                signals.script,
                signals.language,
                signals.translation,
                sign.engine,
                sign.source,
                sign.target,
                sign.text if self._keep_text else None,
            ),
        )

    def close_call(self, row: int, outcome: Outcome, *, bytes_out: int, cloud_ms: float) -> None:
        """Say what came of an escalation.

        Raises:
            StorageError: the row could not be written; it stays "pending" with the bytes first counted.
        """
        self._database.execute(
            "UPDATE ledger SET outcome = ?, bytes_out = ?, cloud_ms = ? WHERE id = ?",
            (outcome.value, bytes_out, cloud_ms, row),
        )

    def bytes_today(self) -> int:
        """Bytes sent since midnight UTC.

        Raises:
            StorageError: the ledger cannot be read.
        """
        midnight = self._clock.wall() // _DAY_S * _DAY_S
        rows = self._database.query("SELECT COALESCE(SUM(bytes_out), 0) FROM ledger WHERE wall_time >= ?", (midnight,))
        return int(rows[0][0] or 0)

    def entries(self, *, limit: int) -> list[Entry]:
        """The newest `limit` decisions, newest first.

        Raises:
            StorageError: the ledger cannot be read.
        """
        rows = self._database.query(f"SELECT {_COLUMNS} FROM ledger ORDER BY id DESC LIMIT ?", (limit,))
        return [_entry(row) for row in rows]


class Consent:
    """The wearer's consent under `CloudUse.ASK`: `wayword-phone consent` gives it for a while, or withdraws it."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def give(self, *, seconds: float) -> float:
        """Consent for so long from now; returns when it ends, in Unix seconds.

        Raises:
            StorageError: the consent could not be written.
        """
        until = self._clock.wall() + seconds
        self._database.execute("INSERT OR REPLACE INTO consent (id, until) VALUES (1, ?)", (until,))
        return until

    def withdraw(self) -> None:
        """End the consent now.

        Raises:
            StorageError: the withdrawal could not be written.
        """
        self._database.execute("DELETE FROM consent")

    def given(self) -> bool:
        """Whether consent is in force.

        Raises:
            StorageError: it cannot be read.
        """
        rows = self._database.query("SELECT until FROM consent")
        return bool(rows) and float(rows[0][0] or 0.0) > self._clock.wall()


def _entry(row: Row) -> Entry:
    values = list(row)
    values[4] = bool(values[4])
    values[10] = Outcome(str(values[10]))
    return Entry(*values)  # type: ignore[arg-type]  # the columns are declared NOT NULL with these types
