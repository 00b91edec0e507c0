"""Where a bulk job writes its results, and what it remembers of an earlier run by."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from shared.errors import StorageError, UsageError


@dataclass(frozen=True, slots=True)
class Done:
    """A picture that was read.

    Attributes:
        file: name relative to the folder.
        size: in bytes.
        sha256: of its bytes, as hex.
    """

    file: str
    size: int
    sha256: str


class ResultFile:
    """JSON lines. Use as a context manager; `add` from one thread.

    Args:
        path: appended to, made where it is not there; None for standard output, which remembers nothing.
        output: standard output.

    Raises:
        StorageError: it cannot be read or written.
        UsageError: another run writes it, or it holds something else.
    """

    def __init__(self, path: Path | None, output: IO[str]) -> None:
        self._path = path
        self._own: IO[bytes] | None = None
        self._output = output
        self.done: set[Done] = set()
        if path is None:
            return
        try:
            self._own = path.open("a+b")
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.done = _finished(self._own, path)
        except BaseException as error:
            self._own.close()
            if isinstance(error, BlockingIOError):
                raise UsageError(f"another run writes {path}") from error
            if isinstance(error, OSError):
                raise StorageError(f"cannot write {path}: {error.strerror}") from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._own is not None:
            self._own.close()

    def add(self, record: dict[str, Any]) -> None:
        """Write one outcome; it is in the hands of the system when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            line = json.dumps(record, ensure_ascii=False) + "\n"
            if self._own is not None:
                self._own.write(line.encode())
                self._own.flush()
            else:
                self._output.write(line)
                self._output.flush()
        except BrokenPipeError:
            raise  # whoever read our output went away: the command ends quietly
        except OSError as error:
            raise StorageError(f"cannot write {self._path or 'the output'}: {error.strerror}") from error


def _finished(file: IO[bytes], path: Path) -> set[Done]:
    """What an earlier run finished; half a line at the end, which a killed run leaves, is cut off."""
    done: set[Done] = set()
    file.seek(0)
    kept = 0
    try:
        for line in file:
            if not line.endswith(b"\n"):
                break
            record = json.loads(line)
            if "error" not in record:
                done.add(Done(record["file"], record["size"], record["sha256"]))
            kept += len(line)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} holds something else than results", hint="name another --out") from error
    file.truncate(kept)  # what is written next is appended there
    return done
