"""Judging a repository: python-tuf's client over a `Repository`, with this project's clock, bounds and errors."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from shared.errors import UpdateError, UpdateExpired, UpdateMismatch, UpdateRollback, UpdateUntrusted
from shared.files import fsync
from shared.limits import (
    MAX_ROOT_BYTES,
    MAX_ROOT_ROTATIONS,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
)
from shared.updates.repositories import NotThere, Progress, Repository

METADATA: Final = "metadata"
TARGETS: Final = "targets"
_SEEN: Final = ("timestamp", "snapshot", "targets")
_TEMPORARY: Final = "tmp"  # how python-tuf's temporary files begin, which a kill leaves behind
CONFIG: Final = UpdaterConfig(
    max_root_rotations=MAX_ROOT_ROTATIONS,
    max_delegations=1,
    root_max_length=MAX_ROOT_BYTES,
    timestamp_max_length=MAX_TIMESTAMP_BYTES,
    snapshot_max_length=MAX_SNAPSHOT_BYTES,
    targets_max_length=MAX_TARGETS_BYTES,
)


class TrustedRepository:
    """A repository as far as its signatures vouch for it.

    Args:
        repository: where the bytes come from.
        root: root metadata this device was enrolled with: where all trust begins.
        folder: what was seen before, so that nothing older is taken; written.
        parts: folder of half downloads, on the same disk as the targets of `download`.
        wall: seconds since the epoch; what is past its date by it is refused.

    Raises:
        UpdateError: `root` is none.
        OSError: the folder cannot be written.
    """

    def __init__(
        self, repository: Repository, *, root: bytes, folder: Path, parts: Path, wall: Callable[[], float]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(f"{_TEMPORARY}*"):
            leftover.unlink()
        self._folder = folder
        self._fetcher = _Fetcher(repository, parts)
        with _typed_errors():
            self._updater = _DatedUpdater(
                metadata_dir=str(folder),
                metadata_base_url=METADATA,
                target_base_url=TARGETS,
                fetcher=self._fetcher,
                config=CONFIG,
                bootstrap=root,
            )
        self._updater.set_date(wall())

    def refresh(self) -> dict[str, TargetFile]:
        """Fetch and judge the metadata; returns the targets by path.

        Raises:
            UpdateUntrusted, UpdateRollback, UpdateExpired, UpdateMismatch: it may not be taken.
            UpdateTooSlow, UpdateUnreachable: it does not come.
            OSError: the disk refuses.
        """
        with _typed_errors():
            self._updater.refresh()
            # What `refresh` has just judged and kept.
            targets = Metadata[Targets].from_file(str(self._folder / "targets.json")).signed.targets
        # Or a loss of power would make the device forget what it must not go back behind.
        history = self._folder / "root_history"
        for path in (*history.iterdir(), *(self._folder / f"{name}.json" for name in _SEEN)):
            fsync(path)
        fsync(history)
        fsync(self._folder)
        return dict(targets)

    def download(self, target: TargetFile, path: Path, progress: Progress) -> None:
        """Fetch a target of `refresh` and hold it against its signed length and hash.

        Raises:
            UpdateMismatch: it is not what was signed; nothing of it is kept.
            UpdateTooSlow, UpdateUnreachable: it does not come; what came is kept for the next try.
            OSError: the disk refuses.
        """
        self._fetcher.progress = progress
        with _typed_errors():
            self._updater.download_target(target, str(path))


class _DatedUpdater(Updater):
    """python-tuf's client under this project's clock."""

    def set_date(self, wall: float) -> None:
        # The library reads the machine's clock when it is made and offers no other way; the tests of expiry hold this.
        self._trusted_set.reference_time = datetime.datetime.fromtimestamp(wall, tz=datetime.UTC)


class _Fetcher(FetcherInterface):
    """Carries the library's requests to a `Repository`. Its own errors go through the library as they are."""

    def __init__(self, repository: Repository, parts: Path) -> None:
        self._repository = repository
        self._parts = parts
        self.progress: Progress = _quiet

    def _fetch(self, url: str) -> Iterator[bytes]:
        raise NotImplementedError("this fetcher knows how long a file may be, or fetches nothing")

    def download_bytes(self, url: str, max_length: int) -> bytes:
        try:
            return self._repository.get(url, limit=max_length)
        except NotThere as error:
            if Path(url).name.endswith(f"{Root.type}.json"):
                # How the client learns that its root is the newest.
                raise exceptions.DownloadHTTPError(error.message, 404) from error
            raise

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        self._parts.mkdir(parents=True, exist_ok=True)
        whole = self._parts / "whole"
        self._repository.download(url, whole, size=max_length, parts=self._parts, progress=self.progress)
        try:
            with whole.open("rb") as stream:
                yield stream
        finally:
            whole.unlink(missing_ok=True)  # a file that is not what was signed is not gone on with


def _quiet(_done: int, _total: int) -> None:
    """Tells nobody."""


@contextmanager
def _typed_errors() -> Iterator[None]:
    """The library's reasons, in this project's words."""
    try:
        yield
    except UpdateError:
        raise
    except exceptions.ExpiredMetadataError as error:
        raise UpdateExpired(
            f"the repository of packs is out of date: {error}",
            hint="Whoever publishes it has to refresh it; check this device's date as well",
        ) from error
    except exceptions.BadVersionNumberError as error:
        raise UpdateRollback(f"the repository of packs goes back or does not fit together: {error}") from error
    except exceptions.UnsignedMetadataError as error:
        raise UpdateUntrusted(f"the repository of packs is not signed by who may sign it: {error}") from error
    except (exceptions.LengthOrHashMismatchError, exceptions.DownloadLengthMismatchError) as error:
        raise UpdateMismatch(f"the repository of packs is not what was signed: {error}") from error
    except (exceptions.RepositoryError, exceptions.DownloadError, DeserializationError) as error:
        raise UpdateMismatch(f"the repository of packs is damaged: {error}") from error
