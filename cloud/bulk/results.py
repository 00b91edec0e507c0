"""Where a bulk job writes its results, and what it remembers of an earlier run by."""

from __future__ import annotations

import contextlib
import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from shared.errors import StorageError, UsageError

_BEGINNING: Final = b'{"file": '
"""Of every line."""


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
            # A disk that was full when a line was written is full for its rest, too: that was told.
            with contextlib.suppress(*([] if error is None else [OSError])):
                self._own.close()

    def add(self, record: dict[str, Any]) -> None:
        """Write one outcome; it is in the hands of the system when this returns.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            # A name that is no UTF-8 has lone surrogates, which stand as JSON's own escapes then.
            line = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
            if self._own is not None:
                self._own.write(line)
                self._own.flush()
            else:
                self._output.write(line.decode())
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
                if not line.startswith(_BEGINNING[: len(line)]):
                    raise ValueError("not half a line of ours")
                break
            record = json.loads(line)
            if "error" not in record:
                done.add(Done(record["file"], record["size"], record["sha256"]))
            kept += len(line)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} holds something else than results", hint="name another --out") from error
    file.truncate(kept)  # what is written next is appended there
    return done
