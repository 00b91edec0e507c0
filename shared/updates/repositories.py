"""Where a repository of packs is read from: a folder, an https server, or a service that answers with ranges.

None of them is believed: every byte is held against signed metadata afterwards. What they owe is bounds. No file may
come longer than asked for, and none may take longer than its size allows: `GRACE` seconds and the time at the
`SLOWEST_RATE`, so that a server that sends a byte a minute holds an update up for minutes, not for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from shared.clock import Clock
from shared.errors import PackCorrupt, PackSourceUnreachable, UpdateMismatch, UpdateTooSlow, UpdateUnreachable
from shared.limits import MAX_FETCH_BYTES
from shared.models.download import GRACE, LONGEST, SLOWEST_RATE, FileNotServed, download, fetch
from shared.models.sources import check_url

Progress = Callable[[int, int], None]
"""Told the bytes on disk, and how many there will be."""
ATTEMPTS: Final = 3
"""Tries of one range; a repository that is away longer ends this update, and the next one goes on from there."""
_COPY_CHUNK: Final = 1 << 20


class NotThere(UpdateUnreachable):
    """The repository answers, but has no such file."""

    retryable = False


class Repository(Protocol):
    """A place that holds ``metadata/`` and ``targets/``."""

    def get(self, path: str, *, limit: int) -> bytes:
        """A small file.

        Args:
            path: relative to the repository, such as "metadata/timestamp.json".
            limit: most bytes it may have.

        Raises:
            NotThere: there is no such file.
            UpdateMismatch: it is longer than `limit`.
            UpdateTooSlow: it takes longer than it may.
            UpdateUnreachable: the repository cannot be reached.
        """
        ...

    def download(self, path: str, target: Path, *, size: int, parts: Path, progress: Progress) -> None:
        """A large file, going on where an earlier try stopped.

        Args:
            path: relative to the repository.
            target: where it goes.
            size: most bytes it may have.
            parts: folder of half downloads, on the same disk as `target`.
            progress: told how far it is; may raise to end it.

        Raises:
            As `get`; what came is kept in `parts`.
            OSError: the disk refuses.
        """
        ...


@dataclass(frozen=True)
class FolderRepository:
    """A repository in a folder: a memory card, a share, or what a phone handed over."""

    folder: Path

    def get(self, path: str, *, limit: int) -> bytes:
        """See `Repository.get`."""
        with self._opened(path).open("rb") as stream:
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise UpdateMismatch(f"{path} has more than the {limit} bytes it may have")
        return data

    def download(self, path: str, target: Path, *, size: int, parts: Path, progress: Progress) -> None:
        """See `Repository.download`; a folder is near, so nothing is kept."""
        left = size
        with self._opened(path).open("rb") as stream, target.open("wb") as output:
            while chunk := stream.read(min(_COPY_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:  # whatever size the file system said it has
                    raise UpdateMismatch(f"{path} has more than the {size} bytes it may have")
                output.write(chunk)
                progress(size - left, size)

    def _opened(self, path: str) -> Path:
        if not (self.folder / "metadata").is_dir():
            raise UpdateUnreachable(f"{self.folder} is no repository of packs", hint="It has a folder metadata/ in it")
        origin = self.folder / path
        if not origin.is_file():  # a pipe or a device would be read for ever
            raise NotThere(f"{self.folder} has no {path}")
        return origin


@dataclass(frozen=True)
class HttpsRepository:
    """A repository that any https server serves as files; plain http is taken only from this machine.

    Raises:
        UsageError: the URL is neither.
    """

    url: str

    def __post_init__(self) -> None:
        check_url(self.url)

    def get(self, path: str, *, limit: int) -> bytes:
        """See `Repository.get`. Not inside a running event loop."""
        try:
            return fetch(self._url(path), limit=limit).data
        except (PackSourceUnreachable, PackCorrupt) as error:
            raise _typed(error) from error

    def download(self, path: str, target: Path, *, size: int, parts: Path, progress: Progress) -> None:
        """See `Repository.download`. Not inside a running event loop."""
        try:
            download(self._url(path), target, parts, limit=size, progress=progress)
        except (PackSourceUnreachable, PackCorrupt) as error:
            raise _typed(error) from error

    def _url(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{path}"


def _typed(error: PackSourceUnreachable | PackCorrupt) -> UpdateMismatch | UpdateTooSlow | UpdateUnreachable:
    if isinstance(error, PackCorrupt):
        return UpdateMismatch(error.message)
    if isinstance(error, FileNotServed):
        return NotThere(error.message)
    kind = UpdateTooSlow if isinstance(error.__cause__, TimeoutError) else UpdateUnreachable
    return kind(error.message, hint=error.hint)


class FetchRange(Protocol):
    """One range of a file of the repository, asked for once."""

    def __call__(self, path: str, offset: int, length: int, seconds: float) -> tuple[bytes, int]:
        """At most `length` bytes from `offset` on, within `seconds`, and the size of the whole file.

        Raises:
            As `Repository.get`.
        """
        ...


class RangeRepository:
    """A repository behind a call that answers with ranges, such as the cloud's ``Packs.Fetch``.

    Args:
        fetch: makes the call.
        clock: of the deadlines.
    """

    def __init__(self, fetch: FetchRange, *, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock

    def get(self, path: str, *, limit: int) -> bytes:
        """See `Repository.get`."""
        data = bytearray()
        self._stream(path, 0, limit, lambda chunk: data.extend(chunk))
        return bytes(data)

    def download(self, path: str, target: Path, *, size: int, parts: Path, progress: Progress) -> None:
        """See `Repository.download`."""
        # A target's name begins with its hash, so a part can be of no other file.
        part = parts / f"{path.rpartition('/')[2]}.part"
        parts.mkdir(parents=True, exist_ok=True)
        done = part.stat().st_size if part.is_file() else 0
        if done > size:
            part.unlink()
            done = 0
        with part.open("ab") as output:

            def keep(chunk: bytes) -> None:
                nonlocal done
                output.write(chunk)
                output.flush()  # a process that is killed keeps what it has
                done += len(chunk)
                progress(done, size)

            self._stream(path, done, size, keep)
        part.replace(target)

    def _stream(self, path: str, offset: int, limit: int, keep: Callable[[bytes], None]) -> None:
        """Fetch from `offset` to the end of the file."""
        deadline = self._clock.monotonic() + min(LONGEST, GRACE + limit / SLOWEST_RATE)
        total = None
        while total is None or offset < total:
            length = max(min(limit - offset, MAX_FETCH_BYTES), 1)
            chunk, whole = self._range(path, offset, length, deadline)
            if whole > limit or offset + len(chunk) > whole or len(chunk) > length:
                raise UpdateMismatch(f"{path} has more than the {limit} bytes it may have")
            if (total is not None and whole != total) or (not chunk and offset < whole):
                raise UpdateMismatch(f"{path} changed while it was fetched")
            total = whole
            offset += len(chunk)
            keep(chunk)

    def _range(self, path: str, offset: int, length: int, deadline: float) -> tuple[bytes, int]:
        for attempt in range(ATTEMPTS):
            seconds = deadline - self._clock.monotonic()
            if seconds <= 0:
                raise UpdateTooSlow(f"{path} comes too slowly", hint="The next try goes on from here")
            try:
                return self._fetch(path, offset, length, seconds)
            except NotThere:
                raise
            except UpdateUnreachable:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")
