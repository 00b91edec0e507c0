"""Devices that are locked out: a phone that was lost is kept out before its token or certificate ends."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from shared.clock import Clock
from shared.errors import StorageError
from shared.files import stamp

MAX_DENIED: Final = 100_000
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
LOOK_EVERY_S: Final = 2.0
"""How often the file is looked at, at most."""

logger = logging.getLogger("wayword.cloud")


class DeniedDevices:
    """Names from a file, one a line; what follows "#" is a remark. A change counts within `LOOK_EVERY_S`.

    A file that went away or became unusable leaves the names as they were: nobody is let in by a mistake.

    Args:
        path: the file.
        clock: of the looks at it.

    Raises:
        StorageError: it cannot be read.
    """

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._stamp = stamp(self._path)
        self._names = self._load()
        self._looked_at = clock.monotonic()
        self._told = ""

    def __contains__(self, device: object) -> bool:
        now = self._clock.monotonic()
        if now >= self._looked_at + LOOK_EVERY_S:
            self._looked_at = now
            self._refresh()
        return device in self._names

    def _refresh(self) -> None:
        seen = stamp(self._path)
        if seen == self._stamp:
            return
        try:
            self._names = self._load()
        except StorageError as error:
            # Tried again at every look, though the file stays the same: perhaps this process had too many files open.
            if error.message != self._told:
                logger.warning("locked-out devices stay as they were: %s", error.message)
            self._told = error.message
        else:
            self._stamp = seen
            self._told = ""

    def _load(self) -> frozenset[str]:
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise StorageError(f"cannot read {self._path}: {error.strerror}") from error
        lines = content.decode("utf-8", errors="replace").splitlines()
        names = frozenset(name for line in lines if (name := line.partition("#")[0].strip()))
        if len(content) > MAX_FILE_BYTES or len(names) > MAX_DENIED:
            raise StorageError(f"{self._path} locks out more than {MAX_DENIED} devices")
        return names
