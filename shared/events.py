"""A structured event log: one JSON object a line, for people, reports and tests.

Fields that may hold what a wearer saw (text, translations, file names of pictures) go under the key
``content`` and are left out unless the log was opened with ``content=True``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from shared.clock import Clock
from shared.errors import StorageError

Listener = Callable[[str, Mapping[str, object], Mapping[str, object]], None]
"""Told of an event: its name, its facts, and what may hold user content. Called in whatever thread writes the event;
must be quick and must not raise."""


class EventLog:
    """Appends events to a file, line-buffered, or drops them when there is no file.

    Args:
        path: the file to append to; None for a log that writes nothing.
        tier: "glasses", "phone" or "cloud"; written as `process` with every event.
        clock: source of the `t` (monotonic seconds) field.
        content: whether fields that may hold user content are written.
        on_loss: told once, in one line, when the disk refuses an event; later ones are tried all the same. None: then
            `write` and `close` raise.

    Raises:
        StorageError: the file cannot be opened for appending.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        tier: str,
        clock: Clock,
        content: bool = False,
        on_loss: Callable[[str], None] | None = None,
    ) -> None:
        self._process = tier
        self._clock = clock
        self._content = content
        self._on_loss = on_loss
        self._failed = False
        self._listeners: list[Listener] = []
        self._file: IO[str] | None = None
        if path is not None:
            try:
                self._file = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
            except OSError as error:
                raise StorageError(f"cannot write the event log {path}: {error.strerror}") from error

    def listen(self, listener: Listener) -> None:
        """Have every event told, written or not."""
        self._listeners.append(listener)

    def write(self, event: str, /, *, content: Mapping[str, object] | None = None, **fields: object) -> None:
        """Write one event.

        Args:
            event: name of the event, snake_case.
            content: fields that may hold user content.
            fields: JSON-serialisable facts.

        Raises:
            StorageError: the disk refuses, and nobody is told by `on_loss`.
        """
        for listener in self._listeners:
            listener(event, fields, content or {})
        if self._file is None:
            return
        record: dict[str, object] = {"t": self._clock.monotonic(), "process": self._process, "event": event, **fields}
        if content is not None and self._content:
            record["content"] = dict(content)
        try:
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError as error:
            self._lose(f"cannot write the event log: {error.strerror}", error)

    def close(self) -> None:
        """Close the file; later events are dropped.

        Raises:
            StorageError: the disk refuses the last events, nobody is told by `on_loss`, and `write` has not said so
                before.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            file.close()
        except OSError as error:
            if not self._failed:
                self._lose(f"cannot finish the event log: {error.strerror}", error)

    def _lose(self, problem: str, error: OSError) -> None:
        first, self._failed = not self._failed, True
        if self._on_loss is None:
            raise StorageError(problem) from error
        if first:
            self._on_loss(problem)
