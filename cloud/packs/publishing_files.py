"""The folder of a repository of packs: what lies where, and how it changes so that no reader sees half of a change.

::

    metadata/1.root.json, 2.root.json ...      every root there was: devices follow them one by one
    metadata/<n>.targets.json, <n>.snapshot.json, timestamp.json
    targets/<pack>/<version>/<sha256>.<file>
    .draft/{root,targets}.json                 what still lacks signatures
    .publishing.json                           how long signatures last, how many versions are kept
    .lock                                      held by whoever changes the repository

Files get names that were never used before, and ``timestamp.json`` is renamed over the old one last. A reader that
began before goes on with the old files, which stay for `KEPT_GENERATIONS` publications.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from shared.errors import StorageError, UpdateMismatch, UsageError
from shared.files import replace_file
from shared.limits import MAX_TARGETS_BYTES
from shared.updates.published import PublishedPack, parse_published

T = TypeVar("T", Root, Timestamp, Snapshot, Targets)

KEPT_GENERATIONS: Final = 8
"""Publications whose files stay for readers that began before: with one a day, as many days for a slow download."""
_NUMBERED: Final = re.compile(r"([1-9][0-9]{0,8})\.(root|targets|snapshot)\.json")
_PUBLIC: Final = 0o644


class Expiry(BaseModel):
    """Days for which a signature of each role vouches. The longer, the longer a device can be kept from updates
    without noticing; the shorter, the sooner a publisher on holiday stops all of them. Values are judgements."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    root: int = Field(default=365, ge=1, le=3650)
    targets: int = Field(default=365, ge=1, le=3650)
    snapshot: int = Field(default=30, ge=1, le=3650)
    timestamp: int = Field(default=7, ge=1, le=3650)


class PublishingOptions(BaseModel):
    """How a repository is kept; stands in ``.publishing.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expires: Expiry = Expiry()
    deltas: int = Field(default=3, ge=0, le=16)
    """Older versions from which deltas are made."""
    keep: int = Field(default=3, ge=1, le=16)
    """Versions of a pack that stay on offer, the newest included."""


@dataclass(frozen=True)
class RepositoryFiles:
    """The folder of a repository."""

    folder: Path

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    @property
    def targets(self) -> Path:
        return self.folder / "targets"

    @property
    def drafts(self) -> Path:
        return self.folder / ".draft"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep others from changing the repository meanwhile.

        Raises:
            UsageError: somebody else is changing it.
            StorageError: the disk refuses.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(f"cannot write the repository {self.folder}: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(f"somebody else is changing the repository {self.folder}") from error
            try:
                for leftover in [*self.drafts.glob("build-*"), *self.metadata.glob(".*")]:
                    _remove(leftover)  # of a process that was killed
                yield
            except OSError as error:
                raise StorageError(f"cannot write the repository {self.folder}: {error.strerror or error}") from error
        finally:
            os.close(descriptor)

    def options(self) -> PublishingOptions:
        """How it is kept.

        Raises:
            UsageError: the file is damaged.
            StorageError: it cannot be read.
        """
        path = self.folder / ".publishing.json"
        try:
            return PublishingOptions.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return PublishingOptions()
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        except ValidationError as error:
            raise UsageError(f"{path} is damaged: {error.errors()[0]['msg']}") from error

    def write_options(self, options: PublishingOptions) -> None:
        """Keep them."""
        write_public(self.folder / ".publishing.json", options.model_dump_json(indent=2).encode() + b"\n")

    def exists(self) -> bool:
        """Whether there is a repository."""
        return (self.metadata / "timestamp.json").is_file()

    def root(self) -> Metadata[Root]:
        """The newest root.

        Raises:
            UsageError: there is no repository here.
            UpdateMismatch: the file is damaged.
        """
        versions = self._versions("root")
        if not versions:
            raise UsageError(f"{self.folder} is no repository of packs", hint="Make one with: wayword-cloud packs init")
        return self._read(Root, f"{versions[-1]}.root.json")

    def timestamp(self) -> Metadata[Timestamp]:
        """What readers begin with; raises as `root`."""
        if not self.exists():
            raise UsageError(f"{self.folder} is no repository of packs", hint="Make one with: wayword-cloud packs init")
        return self._read(Timestamp, "timestamp.json")

    def snapshot(self) -> Metadata[Snapshot]:
        """The one the timestamp names; raises as `root`."""
        return self._read(Snapshot, f"{self.timestamp().signed.snapshot_meta.version}.snapshot.json")

    def published_targets(self) -> Metadata[Targets]:
        """The ones the snapshot names; raises as `root`."""
        return self._read(Targets, f"{self.snapshot().signed.meta['targets.json'].version}.targets.json")

    def draft(self, kind: type[T]) -> Metadata[T] | None:
        """What waits for signatures; None for nothing.

        Raises:
            UpdateMismatch: the file is damaged.
        """
        path = self.drafts / f"{kind.type}.json"
        return self._parsed(kind, path) if path.is_file() else None

    def write_draft(self, metadata: Metadata[T]) -> None:
        """Keep what waits for signatures."""
        self.drafts.mkdir(exist_ok=True)
        write_public(self.drafts / f"{metadata.signed.type}.json", metadata.to_bytes())

    def drop_draft(self, kind: type[Root] | type[Targets]) -> None:
        """Forget it: it was published, or overtaken."""
        (self.drafts / f"{kind.type}.json").unlink(missing_ok=True)

    def prune(self) -> None:
        """Remove what no reader that began lately can ask for."""
        for role in ("targets", "snapshot"):
            for version in self._versions(role)[:-KEPT_GENERATIONS]:
                (self.metadata / f"{version}.{role}.json").unlink(missing_ok=True)
        wanted: set[Path] = set()
        generations = [self._read(Targets, f"{version}.targets.json") for version in self._versions("targets")]
        draft = self.draft(Targets)
        for metadata in [*generations, *([draft] if draft is not None else [])]:
            for target in metadata.signed.targets.values():
                wanted.update(self.targets / path for path in target.get_prefixed_paths())
        for path in sorted(self.targets.rglob("*"), reverse=True):
            if path.is_dir():
                with contextlib.suppress(OSError):  # it is not empty
                    path.rmdir()
            elif path not in wanted:
                path.unlink()

    def _versions(self, role: str) -> list[int]:
        if not self.metadata.is_dir():
            return []
        found = (_NUMBERED.fullmatch(path.name) for path in self.metadata.iterdir())
        return sorted(int(match[1]) for match in found if match and match[2] == role)

    def _read(self, kind: type[T], name: str) -> Metadata[T]:
        return self._parsed(kind, self.metadata / name)

    def _parsed(self, kind: type[T], path: Path) -> Metadata[T]:
        try:
            if path.stat().st_size > MAX_TARGETS_BYTES:
                raise UpdateMismatch(f"{path} is larger than {MAX_TARGETS_BYTES} bytes")
            metadata = Metadata[T].from_bytes(path.read_bytes())
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        except DeserializationError as error:
            raise UpdateMismatch(f"{path} is damaged: {error}") from error
        if not isinstance(metadata.signed, kind):
            raise UpdateMismatch(f"{path} is no {kind.type}")
        return metadata


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def packs_of(targets: Targets) -> list[PublishedPack]:
    """The packs some metadata offers, oldest release first.

    Raises:
        UpdateMismatch: a description is wrong.
    """
    described = (parse_published(path, target.custom) for path, target in targets.targets.items())
    return sorted((pack for pack in described if pack is not None), key=lambda pack: pack.release)


def write_public(path: Path, data: bytes) -> None:
    """Write a file that everybody may read, in one step.

    Raises:
        OSError: the disk refuses; an old file is as it was.
    """
    replace_file(path, data, mode=_PUBLIC)
