"""What the endpoint has cost today, and whether another call is within the day's cap. Survives a restart."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from shared.clock import Clock
from shared.errors import StorageError
from shared.files import replace_file

MILLION: Final = 1_000_000
MAX_FILE_BYTES: Final = 4096
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens, in the currency of the daily cap."""

    prompt: float
    completion: float

    def of(self, usage: Usage) -> float:
        """Money for one call."""
        return (usage.prompt * self.prompt + usage.completion * self.completion) / MILLION


class Bill:
    """One call's money: at first the most it may cost. Made by `Ledger.reserve`."""

    def __init__(self, ledger: Ledger, day: str, most: Usage, money: float) -> None:
        self._ledger = ledger
        self._day = day
        self._most = most
        self.money = money

    def settle(self, usage: Usage | None) -> None:
        """The call has ended.

        Args:
            usage: as the endpoint stated it; None where it did not, or not credibly: then it stays with the most.
        """
        actual = self.money if usage is None else self._ledger.prices.of(usage)
        self._ledger.correct(self._day, actual - self.money, self._most if usage is None else usage)
        self._ledger.on_spent(actual)

    def cancel(self) -> None:
        """The call was never billed: it did not reach the endpoint, or was refused there."""
        self._ledger.correct(self._day, -self.money, None)


class Ledger:
    """The day's spending. A day is one of UTC. Use from one event loop; `save` writes in a thread.

    Args:
        path: JSON file.
        prices: of tokens.
        daily_cap: most money a day.
        clock: tells the day.

    Raises:
        StorageError: the file cannot be read or is damaged: then nobody knows what was spent.
    """

    def __init__(self, path: Path, *, prices: Prices, daily_cap: float, clock: Clock) -> None:
        self.prices = prices
        self.on_spent: Callable[[float], None] = lambda money: None
        """Told the money of each call that was billed, in the task of the call that asked."""
        self._path = path
        self._cap = daily_cap
        self._clock = clock
        self._saving = asyncio.Lock()
        self._saved = ""
        self._day, self._spent, self._calls, self._prompt, self._completion = _read(path)
        self._turn()

    @property
    def spent(self) -> float:
        """Money spent today, calls under way at their most."""
        self._turn()
        return self._spent

    @property
    def tokens(self) -> Usage:
        """Tokens of today's calls that ended."""
        self._turn()
        return Usage(self._prompt, self._completion)

    def reserve(self, most: Usage) -> Bill | None:
        """Set the money of a call aside; None when it might exceed the cap.

        Args:
            most: tokens it may take.
        """
        self._turn()
        money = self.prices.of(most)
        # A free endpoint has no cap; a cap of nothing allows nothing that costs.
        if money > 0 and self._spent + money > self._cap:
            return None
        self._spent += money
        self._calls += 1
        return Bill(self, self._day, most, money)

    def correct(self, day: str, money: float, usage: Usage | None) -> None:
        """A bill of that day was settled; of an earlier day it counts no more."""
        self._turn()
        if day != self._day:
            return
        self._spent = max(self._spent + money, 0.0)
        if usage is not None:
            self._prompt += usage.prompt
            self._completion += usage.completion

    async def save(self) -> None:
        """Write it down where it changed.

        Raises:
            StorageError: it cannot be written.
        """
        async with self._saving:
            document = json.dumps(
                {
                    "version": _VERSION,
                    "day": self._day,
                    "spent": round(self._spent, 9),
                    "calls": self._calls,
                    "prompt_tokens": self._prompt,
                    "completion_tokens": self._completion,
                }
            )
            if document == self._saved:
                return
            try:
                await asyncio.to_thread(self._write, document)
            except OSError as error:
                raise StorageError(f"cannot write {self._path}: {error.strerror}") from error
            self._saved = document

    def _write(self, document: str) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, f"{document}\n".encode())

    def _turn(self) -> None:
        today = datetime.fromtimestamp(self._clock.wall(), UTC).date().isoformat()
        # Only forward: a clock set back must not give the day's money a second time.
        if today > self._day:
            self._day = today
            self._spent, self._calls, self._prompt, self._completion = 0.0, 0, 0, 0


def _read(path: Path) -> tuple[str, float, int, int, int]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        return "", 0.0, 0, 0, 0
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    with _damage(path):
        document: dict[str, Any] = json.loads(content)
        if document["version"] != _VERSION:
            raise ValueError("an unknown version")
        day = datetime.fromisoformat(document["day"]).date().isoformat() if document["day"] else ""
        spent = float(document["spent"])
        counts = [int(document[name]) for name in ("calls", "prompt_tokens", "completion_tokens")]
        if not math.isfinite(spent) or spent < 0 or min(counts) < 0:
            raise ValueError("a negative number")
        return day, spent, counts[0], counts[1], counts[2]


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise StorageError(
            f"{path} is damaged, so nobody knows what the endpoint cost today",
            hint="remove the file to count from zero",
        ) from error
