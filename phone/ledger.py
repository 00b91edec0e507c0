"""The privacy ledger: one row for every decision of the cascade, before anything leaves.

What a sign says is not in it unless the wearer asks for that. What left is, with when, why, how many bytes, to which
cloud, and what came of it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Final

from phone.budget import DAY_S, BudgetTime
from phone.cascade.decision import Action, Decision
from phone.cascade.inputs import Signals
from phone.database import Database
from phone.ledger_rows import FIELDS, DayBytes, Entry, Outcome, RuleCount, Setting, Sign, entry_of
from shared.clock import Clock
from shared.errors import StorageError

MAX_ROWS: Final = 100_000
"""Rows kept; the oldest go first, but for those whose bytes the day's budget still counts."""
_PRUNE_EVERY: Final = 1_000
CLOCK_SLACK_S: Final = 60.0
"""A clock that is set back by no more is being corrected, not turned."""


_SELECT: Final = "wall_time >= ? AND (? = 0 OR bytes_out > 0)"


class Ledger:
    """Writes and reads the table `ledger`. Several threads may use it.

    Args:
        database: the phone's database; one opened to be read only may be of an older version.
        clock: wall time of the rows.
        keep_text: whether what the sign says is stored too.
        cloud: HOST:PORT that is asked; empty for none.
        elapsed: seconds since some start that nobody sets, by which the day's budget is counted (`phone.budget`); None
            for the clock's own.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        keep_text: bool = False,
        cloud: str = "",
        elapsed: Callable[[], float] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._keep_text = keep_text
        self._cloud = cloud
        self._elapsed = elapsed or clock.monotonic
        self._budget_time: BudgetTime | None = None
        self._lock = threading.Lock()
        self._written = 0

    def record(
        self,
        sign: Sign,
        signals: Signals,
        decision: Decision,
        setting: Setting | None = None,
        *,
        attempts: int = 1,
        held: bool = False,
    ) -> int:
        """Write a decision and return its row id. An escalation counts its bytes at once, before they are sent.

        Args:
            sign: which it is about.
            signals: what was decided upon.
            decision: the verdict.
            setting: its circumstances.
            attempts: times that the call's bytes may leave.
            held: whether the call waits for an open radio: nothing leaves before `release`.

        Raises:
            StorageError: the row could not be written: nothing may be sent.
        """
        setting = setting or Setting()
        self._prune_now_and_then()
        leaves = decision.escalate and not held
        outcome = Outcome.PENDING if leaves else Outcome.HELD if held else Outcome.KEPT
        estimate = signals.estimate
        values = {
            "wall_time": self._clock.wall(),
            "budget_time": self._now(),
            "frame_id": sign.frame_id,
            "region_id": sign.region_id,
            "escalate": int(decision.escalate),
            "action": decision.action.value,
            "rule": decision.rule.value,
            "reason": decision.reason,
            "gain": _finite(decision.gain),
            "price": _finite(decision.price),
            "certified": int(decision.certified),
            "bytes_out": signals.request_bytes * attempts if leaves else 0,
            "outcome": outcome.value,
            "recognition": _finite(signals.recognition),
            "script": _finite(signals.script),
            "language": _finite(signals.language),
            "translation": _finite(signals.translation),
            "engine": sign.engine,
            "source": sign.source,
            "target": sign.target,
            "text": sign.text if self._keep_text else None,
            "right_chance": None if estimate is None else estimate.right,
            "helped_chance": None if estimate is None else estimate.helped,
            "harmed_chance": None if estimate is None else estimate.harmed,
            "policy": setting.policy,
            "network": setting.network,
            "cloud": self._cloud if decision.escalate else "",
            "joules": setting.joules,
            "arms": setting.arms,
        }
        marks = ", ".join("?" * len(values))
        return self._database.execute(
            f"INSERT INTO ledger ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
        )

    def release(self, row: int, *, request_bytes: int, attempts: int, held_ms: float) -> None:
        """A held call goes out now: count its bytes before they are sent, from now on.

        Raises:
            StorageError: the row could not be written, or is gone with a file that was set aside meanwhile: nothing may
                be sent.
        """
        changed = self._database.change(
            "UPDATE ledger SET outcome = ?, bytes_out = ?, held_ms = ?, budget_time = ? WHERE id = ? AND outcome = ?",
            (Outcome.PENDING.value, request_bytes * attempts, held_ms, self._now(), row, Outcome.HELD.value),
        )
        if not changed:
            raise StorageError("the ledger no longer has the row of a call that waited")

    def give_up(self, row: int, *, reason: str, held_ms: float) -> None:
        """A held call is not made: the phone's reading is kept, and the reason says why.

        Raises:
            StorageError: the row could not be written; it stays "held", with no bytes.
        """
        self._database.execute(
            "UPDATE ledger SET outcome = ?, held_ms = ?, reason = reason || ? WHERE id = ? AND outcome = ?",
            (Outcome.KEPT.value, held_ms, f"; held for an open radio, then kept: {reason}", row, Outcome.HELD.value),
        )

    def close_call(
        self, row: int, outcome: Outcome, *, bytes_out: int, cloud_ms: float, bytes_in: int = 0, hedged: bool = False
    ) -> None:
        """Say what came of an escalation.

        Raises:
            StorageError: the row could not be written; it stays "pending" with the bytes first counted.
        """
        self._database.execute(
            "UPDATE ledger SET outcome = ?, bytes_out = ?, bytes_in = ?, hedged = ?, cloud_ms = ?"
            " WHERE id = ? AND outcome = ?",
            (outcome.value, bytes_out, bytes_in, int(hedged), cloud_ms, row, Outcome.PENDING.value),
        )

    def bytes_today(self) -> int:
        """Bytes sent in the last 24 hours of budget time.

        Raises:
            StorageError: the ledger cannot be read.
        """
        column = "budget_time" if "budget_time" in self._database.columns("ledger") else "wall_time"
        rows = self._database.query(
            f"SELECT COALESCE(SUM(bytes_out), 0) FROM ledger WHERE {column} > ? AND bytes_out > 0",
            (self._now() - DAY_S,),
        )
        return int(rows[0][0] or 0)

    def entries(self, *, limit: int, since: float = 0.0, left: bool = False) -> list[Entry]:
        """The newest `limit` decisions, newest first.

        Args:
            limit: at most so many.
            since: Unix seconds.
            left: only those for which bytes left, or may have.

        Raises:
            StorageError: the ledger cannot be read.
        """
        there = self._database.columns("ledger")
        names = [name for name in FIELDS if name in there]
        rows = self._database.query(
            f"SELECT {', '.join(names)} FROM ledger WHERE {_SELECT} ORDER BY id DESC LIMIT ?", (since, int(left), limit)
        )
        return [entry_of(names, row) for row in rows]

    def by_rule(self, *, since: float = 0.0, left: bool = False) -> list[RuleCount]:
        """How often each rule decided, the most frequent first; arguments as for `entries`.

        Raises:
            StorageError: the ledger cannot be read.
        """
        there = self._database.columns("ledger")
        action = "action" if "action" in there else "CASE escalate WHEN 1 THEN 'escalate' ELSE 'keep' END"
        bytes_in = "SUM(bytes_in)" if "bytes_in" in there else "0"
        rows = self._database.query(
            f"SELECT {action} AS done, rule, COUNT(*) AS decisions, SUM(bytes_out), {bytes_in} FROM ledger"
            f" WHERE {_SELECT} GROUP BY done, rule ORDER BY decisions DESC, done, rule",
            (since, int(left)),
        )
        return [
            RuleCount(Action(str(done)), str(rule), int(decisions or 0), int(out or 0), int(back or 0))
            for done, rule, decisions, out, back in rows
        ]

    def by_day(self, *, since: float = 0.0, left: bool = False) -> list[DayBytes]:
        """Bytes that left on each day, oldest first; arguments as for `entries`.

        Raises:
            StorageError: the ledger cannot be read.
        """
        rows = self._database.query(
            "SELECT date(wall_time, 'unixepoch', 'localtime') AS day, COUNT(*), SUM(bytes_out) FROM ledger"
            f" WHERE {_SELECT} GROUP BY day ORDER BY day",
            (since, int(left)),
        )
        return [DayBytes(str(day), int(decisions or 0), int(out or 0)) for day, decisions, out in rows]

    def _now(self) -> float:
        with self._lock:
            if self._budget_time is None:
                column = "budget_time" if "budget_time" in self._database.columns("ledger") else "wall_time"
                newest = self._database.query(f"SELECT MAX({column}) FROM ledger")[0][0]
                self._budget_time = BudgetTime(
                    wall=self._clock.wall(), newest=None if newest is None else float(newest), elapsed=self._elapsed
                )
            return self._budget_time.now()

    def _prune_now_and_then(self) -> None:
        # At the first row as well: a daemon that is often started anew may never come to the next time.
        self._written += 1
        if self._written % _PRUNE_EVERY == 1:
            self._database.execute(
                "DELETE FROM ledger WHERE id <= (SELECT id FROM ledger ORDER BY id DESC LIMIT 1 OFFSET ?)"
                " AND NOT (bytes_out > 0 AND budget_time > ?)",
                (MAX_ROWS, self._now() - DAY_S),
            )


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
        now = self._clock.wall()
        until = now + seconds
        self._database.execute("INSERT OR REPLACE INTO consent (id, given, until) VALUES (1, ?, ?)", (now, until))
        return until

    def withdraw(self) -> None:
        """End the consent now.

        Raises:
            StorageError: the withdrawal could not be written.
        """
        self._database.execute("DELETE FROM consent")

    def given(self) -> bool:
        """Whether consent is in force. A clock that was set back to before it was given does not prolong it.

        Raises:
            StorageError: it cannot be read.
        """
        now = self._clock.wall()
        rows = self._database.query("SELECT COALESCE(given, 0), until FROM consent")
        return bool(rows) and float(rows[0][0] or 0.0) - CLOCK_SLACK_S <= now < float(rows[0][1] or 0.0)


def _finite(value: float) -> float:
    """SQLite takes NaN for NULL, and a row must not be lost for a number that the policy has dealt with already."""
    return value if math.isfinite(value) else 0.0
