"""Signs that are done, kept while a run is under way: a run that was killed goes on where it was.

Beside the trace file stands ``FILE.progress``: a first line that says which run it is, then one line a sign. A last
line that was cut short is dropped, and its sign is done again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

from pydantic import TypeAdapter, ValidationError

from shared.errors import StorageError, UsageError
from simulations.traces.records import MAX_TRACE_BYTES
from simulations.traces.rendered import Traced

_TRACED: Final[TypeAdapter[Traced]] = TypeAdapter(Traced)


class Progress:
    """What is done of one run; a context manager.

    Args:
        out: the trace file that is being made.
        run: says which run it is, one line; a file of another run is refused.

    Raises:
        UsageError: there is the progress of another run.
        StorageError: the file cannot be read or written.
    """

    def __init__(self, out: Path, run: str) -> None:
        self.path = _path_of(out)
        self._first = run.encode() + b"\n"
        try:
            self.done = {one.number: one for one in self._read()}
            # Written anew: what was cut short is gone, and every line ends.
            temporary = self.path.with_name(f"{self.path.name}.part")
            temporary.write_bytes(self._first + b"".join(_line(one) for one in self.done.values()))
            temporary.replace(self.path)
            self._file = self.path.open("ab")
        except OSError as error:
            raise StorageError(f"cannot use {self.path}: {error.strerror}") from error

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, traced: Traced) -> None:
        """Keep a sign.

        Raises:
            StorageError: it cannot be written.
        """
        self.done[traced.number] = traced
        try:
            self._file.write(_line(traced))
            self._file.flush()
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}") from error

    def _read(self) -> Iterable[Traced]:
        if not self.path.exists():
            return
        if self.path.stat().st_size > MAX_TRACE_BYTES:
            raise UsageError(f"{self.path} is larger than any run's progress", hint="remove it")
        lines = self.path.read_bytes().split(b"\n")
        if lines[0] + b"\n" != self._first:
            raise UsageError(f"{self.path} is the progress of another run", hint="finish that run, or remove the file")
        for line in lines[1:-1]:
            try:
                yield _TRACED.validate_json(line)
            except ValidationError:
                return  # cut short; what comes after it is done again


def forget(out: Path) -> None:
    """Remove what is done of a run whose trace file is there: nothing needs to be remembered."""
    _path_of(out).unlink(missing_ok=True)


def _path_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.progress")


def _line(traced: Traced) -> bytes:
    return _TRACED.dump_json(traced) + b"\n"
