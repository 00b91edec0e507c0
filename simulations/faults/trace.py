"""The record of a run, event by event, and its digest: the same seed must give the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from shared.errors import FrameMalformed
from shared.wire import frames


@dataclass(frozen=True, slots=True)
class Entry:
    """One event.

    Attributes:
        at: virtual seconds from the start.
        who: glasses, phone, or radio.
        what: in words.
        value: the ATT value it is about, if it is about one.
    """

    at: float
    who: str
    what: str
    value: bytes | None = None

    def __str__(self) -> str:
        value = "" if self.value is None else f" {name_value(self.value)}"
        return f"{self.at:10.6f}  {self.who:<7} {self.what}{value}"


class Trace:
    """Collects entries and hashes them as they come."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._hash = hashlib.sha256()

    def add(self, at: float, who: str, what: str, value: bytes | None = None) -> None:
        """Append one event."""
        self._entries.append(Entry(at, who, what, value))
        self._hash.update(f"{at!r} {who} {what} ".encode())
        if value is not None:
            self._hash.update(value)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    @property
    def digest(self) -> str:
        """SHA-256 of all entries so far, in hex."""
        return self._hash.hexdigest()


def name_value(value: bytes) -> str:
    """An ATT value for people: its frame, or why it is none."""
    try:
        frame = frames.decode(value)
    except FrameMalformed as error:
        return f"{len(value)} bytes that are no frame ({error.message})"
    words = [type(frame).__name__.upper()]
    for field in ("lane", "transfer_id", "index", "next_index", "length", "reason", "credits"):
        if (content := getattr(frame, field, None)) is not None:
            words.append(f"{field.replace('_', ' ')} {getattr(content, 'name', content)}".lower())
    return f"{' '.join(words)}, {len(value)} bytes"
