"""What happened on the air, as JSON lines, for benches and for whoever wants to see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

from shared.errors import StorageError


class AirTrace:
    """Writes one line an event to a file, or nothing when there is none.

    Every line has ``t``, seconds since the air started, and ``kind``:

    * ``up``: a connection is made; ``connection`` (1, 2, ...), ``interval_ms``, ``supervision_ms``
    * ``event``: something crossed at connection event ``event``; ``to_peripheral`` and ``to_central`` bytes of ACL
      payload, each only if any, ``control`` link layer control PDUs. Quiet events have no line
    * ``missed``: connection event ``event`` is lost to interference
    * ``parameters``: the interval or the supervision timeout changed; as ``up``
    * ``down``: one end has lost a connection or ended it; ``end`` ("central" or "peripheral") and ``reason``, the HCI
      error code, null when the end lost power
    * ``out``, ``in``: an outage begins, ends
    * ``profile``: the profile changed; ``profile``, its text

    Args:
        path: file to write; None: no trace.
        start_s: the loop time that counts as zero.

    Raises:
        StorageError: the file cannot be written.
    """

    def __init__(self, path: Path | None, *, start_s: float) -> None:
        self._start_s = start_s
        self._file: TextIO | None = None
        if path is not None:
            try:
                # Line by line, so that a bench can read while the air runs, and a killed air loses nothing.
                self._file = path.open("w", encoding="utf-8", buffering=1)
            except OSError as error:
                raise StorageError(f"the trace of the air cannot be written to {path}: {error.strerror}") from error

    def write(self, kind: str, now_s: float, **facts: object) -> None:
        """Add a line.

        Raises:
            OSError: the disk refuses.
        """
        if self._file is not None:
            self._file.write(json.dumps({"t": round(now_s - self._start_s, 6), "kind": kind, **facts}) + "\n")

    def close(self) -> None:
        """Write no more."""
        if self._file is not None:
            self._file.close()
            self._file = None
