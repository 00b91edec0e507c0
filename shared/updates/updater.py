"""Installing what a repository of packs publishes, and nothing else.

The rules, which the tests state one by one:

- Trust begins with the root a device was enrolled with, and follows from it by signatures alone; where the bytes come
  from has no say.
- What is older than what was seen, past its date, or not of one piece is refused.
- A pack is replaced in one step (see `PackStore.install`): a device that is killed or loses power at any moment has
  the old pack or the new one. What such a moment leaves behind is swept by the next start.
- A delta is a way to fetch less, never another way to be right: what it makes is held against the hash of the whole,
  and whatever is wrong with it, the whole archive is fetched. A link that breaks is nothing that is wrong with it.
- One pack that fails leaves the others to be updated.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from tuf.api.metadata import TargetFile

from shared.clock import Clock
from shared.errors import (
    PackCorrupt,
    PackError,
    PackMissing,
    PackUnsupported,
    StorageError,
    UpdateMismatch,
    UpdateTooSlow,
    UpdateUnreachable,
    UpdateUntrusted,
    UsageError,
    WaywordError,
)
from shared.files import replace_file
from shared.limits import MAX_ROOT_BYTES
from shared.models.installer import quiet
from shared.models.manifest import PackManifest
from shared.models.offers import Progress, Stage
from shared.models.packs import InstalledPack, PackStore, storage_errors
from shared.updates.archive import delta_source, unpack
from shared.updates.published import PublishedDelta, PublishedPack, content_id, current_packs, parse_published
from shared.updates.repositories import Repository
from shared.updates.trust import TrustedRepository

_FOLDER: Final = ".updates"
_ROOT: Final = "root.json"
_SPARE_BYTES: Final = 16 * 1024 * 1024
"""Disk that is left alone: a phone has other things to write."""


class UpdateState(StrEnum):
    """What became of one pack."""

    CURRENT = "current"
    NEWER = "newer"
    """There is another version than the installed one; nothing was asked to be done about it."""
    UPDATED = "updated"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PackOutcome:
    """One pack after an update or a check.

    Attributes:
        name: of the pack.
        state: what became of it.
        installed: version that was there before; None for none that works.
        offered: version the repository has.
        fetched: bytes of the delta or archive; what they would be, after a check.
        by_delta: whether a delta was enough.
        problem: why it failed.
    """

    name: str
    state: UpdateState
    installed: str | None
    offered: str
    fetched: int = 0
    by_delta: bool = False
    problem: WaywordError | None = None


def updates_folder(store: PackStore) -> Path:
    """Where a store keeps its root of trust, what it has seen of the repository, and half downloads."""
    return store.root / _FOLDER


def pin_root(store: PackStore, root: bytes, *, replace: bool = False) -> None:
    """Enrol a store: from now on it trusts what follows from this root metadata.

    Args:
        store: the store.
        root: the file that the publisher handed over, on a way that is trusted.
        replace: whether another root may be there already; what was seen under it is forgotten then.

    Raises:
        UpdateUntrusted: another root is pinned, and `replace` is not set.
        UpdateMismatch: it is too large to be one.
        StorageError: the disk refuses.
    """
    if len(root) > MAX_ROOT_BYTES:
        raise UpdateMismatch(f"a root has at most {MAX_ROOT_BYTES} bytes")
    folder = updates_folder(store)
    if pinned_root(store) == root:
        return
    # Alone: an update that is under way writes what it has seen under the old root.
    with store.exclusive():
        known = pinned_root(store)
        if known is not None and known != root and not replace:
            raise UpdateUntrusted(
                f"{store.root} trusts another root already", hint="Say --replace-root if that is what you want"
            )
        with storage_errors(f"keep the root of trust in {folder}", store.root):
            folder.mkdir(parents=True, exist_ok=True)
            # In this order: a new root beside what was seen under the old one would be judged by it.
            if (folder / "metadata").exists():
                shutil.rmtree(folder / "metadata")
            replace_file(folder / _ROOT, root)


def pinned_root(store: PackStore) -> bytes | None:
    """The root a store was enrolled with; None for none.

    Raises:
        StorageError: it cannot be read.
    """
    path = updates_folder(store) / _ROOT
    with storage_errors(f"read {path}", store.root):
        return path.read_bytes() if path.is_file() else None


class PackUpdater:
    """Brings the packs of a store up to what a repository publishes. Rules in the module's text.

    Args:
        store: where packs are installed; enrolled with `pin_root`.
        repository: where bytes come from.
        clock: the date signatures are held against.
    """

    def __init__(self, store: PackStore, repository: Repository, *, clock: Clock) -> None:
        self._store = store
        self._repository = repository
        self._clock = clock
        self._folder = updates_folder(store)

    def check(self, names: Iterable[str] | None = None) -> list[PackOutcome]:
        """What an update would do; nothing is installed.

        Raises:
            As `update`.
        """
        outcomes = []
        with self._store.exclusive(clock=self._clock):
            _, offered = self._offered()
            for pack in self._chosen(offered, names):
                installed = self._usable(pack.name)
                version = None if installed is None else installed.version
                if installed is not None and content_id(installed.manifest) == pack.content:
                    outcomes.append(PackOutcome(pack.name, UpdateState.CURRENT, version, pack.version))
                    continue
                delta = _delta_for(pack, installed)
                size = pack.bytes if delta is None else delta.bytes
                outcomes.append(
                    PackOutcome(pack.name, UpdateState.NEWER, version, pack.version, size, delta is not None)
                )
        return outcomes

    def offered(self) -> list[PublishedPack]:
        """The packs on offer, installed or not.

        Raises:
            As `update`.
        """
        with self._store.exclusive(clock=self._clock):
            return list(self._offered()[1].values())

    def update(self, names: Iterable[str] | None = None, *, progress: Progress = quiet) -> list[PackOutcome]:
        """Install what is published.

        Args:
            names: which packs, installed or not; None for those that are installed.
            progress: told what is going on.

        Returns:
            One outcome for each pack that was looked at; the failure of one is in its outcome.

        Raises:
            UsageError: the repository has no pack of that name.
            UpdateUntrusted, UpdateRollback, UpdateExpired, UpdateMismatch: the repository may not be believed.
            UpdateTooSlow, UpdateUnreachable: it does not answer.
            StorageError: the store cannot be written.
        """
        outcomes: list[PackOutcome] = []
        with self._store.exclusive(clock=self._clock):
            trusted, offered = self._offered()
            for pack in self._chosen(offered, names):
                outcome = self._update(trusted, pack, progress)
                outcomes.append(outcome)
                if isinstance(outcome.problem, UpdateUnreachable | UpdateTooSlow):
                    break  # the others would wait in vain as well
            if all(outcome.problem is None for outcome in outcomes):
                # Nothing is under way any more: half downloads of versions that were overtaken.
                shutil.rmtree(self._folder / "parts", ignore_errors=True)
        return outcomes

    def _offered(self) -> tuple[_Trusted, dict[str, PublishedPack]]:
        root = pinned_root(self._store)
        if root is None:
            raise UpdateUntrusted(
                f"{self._store.root} trusts nobody's updates yet", hint="Give the publisher's root.json with --root"
            )
        with storage_errors("look for updates", self._store.root):
            (self._folder / "parts" / "whole").unlink(missing_ok=True)  # of a process that was killed
            trusted = TrustedRepository(
                self._repository,
                root=root,
                folder=self._folder / "metadata",
                parts=self._folder / "parts",
                wall=self._clock.wall,
            )
            targets = trusted.refresh()
        described = (parse_published(path, target.custom) for path, target in targets.items())
        offered = current_packs(pack for pack in described if pack is not None)
        return _Trusted(trusted, targets), offered

    def _chosen(self, offered: dict[str, PublishedPack], names: Iterable[str] | None) -> list[PublishedPack]:
        if names is None:
            return [offered[name] for name in self._store.names() if name in offered]
        chosen = list(dict.fromkeys(names))
        for name in chosen:
            if name not in offered:
                raise UsageError(f"the repository has no pack {name}", hint=f"It has {', '.join(offered) or 'none'}")
        return [offered[name] for name in chosen]

    def _usable(self, name: str) -> InstalledPack | None:
        try:
            return self._store.verify(name)
        except (PackMissing, PackCorrupt, PackUnsupported):
            return None

    def _update(self, trusted: _Trusted, pack: PublishedPack, progress: Progress) -> PackOutcome:
        version: str | None = None
        try:
            installed = self._usable(pack.name)
            version = None if installed is None else installed.version
            if installed is not None and content_id(installed.manifest) == pack.content:
                progress(pack.name, Stage.PRESENT, installed.manifest.size)
                return PackOutcome(pack.name, UpdateState.CURRENT, version, pack.version)
            pack.check_supported()
            with self._store.scratch() as scratch:
                build = _Build(trusted, pack, installed, scratch, progress)
                with storage_errors(f"update pack {pack.name}", self._store.root):
                    build.check_space(self._store.root)
                new = self._store.install(pack.name, build)
            progress(pack.name, Stage.INSTALLED, new.manifest.size)
        except (PackError, StorageError) as error:
            return PackOutcome(pack.name, UpdateState.FAILED, version, pack.version, problem=error)
        return PackOutcome(pack.name, UpdateState.UPDATED, version, pack.version, build.fetched, build.by_delta)


def _delta_for(pack: PublishedPack, installed: InstalledPack | None) -> PublishedDelta | None:
    """The delta that starts from what is installed, where there is one and it is worth it."""
    if installed is None:
        return None
    content = content_id(installed.manifest)
    return next((delta for delta in pack.deltas if delta.from_content == content and delta.bytes < pack.bytes), None)


@dataclass(frozen=True, slots=True)
class _Trusted:
    """A repository that was judged, and its targets."""

    repository: TrustedRepository
    targets: dict[str, TargetFile]

    def download(self, path: str, target: Path, name: str, progress: Progress) -> int:
        """Fetch a target; returns its size."""
        described = self.targets.get(path)
        if described is None:
            raise UpdateMismatch(f"the repository names {path}, but has not signed it")
        self.repository.download(described, target, partial(progress, name, Stage.DOWNLOADING))
        return described.length


class _Build:
    """Makes the files of a new version, from a delta if that works; see `PackStore.install`."""

    def __init__(
        self,
        trusted: _Trusted,
        pack: PublishedPack,
        installed: InstalledPack | None,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self._trusted = trusted
        self._pack = pack
        self._installed = installed
        self._scratch = scratch
        self._progress = progress
        self.fetched = 0
        self.by_delta = False

    def check_space(self, root: Path) -> None:
        """Raise `StorageError` where the disk has no room for it, before anything is fetched."""
        # Twice the archive: as it comes, and while it is handed over.
        needed = 2 * self._pack.bytes + self._pack.unpacked_bytes + _SPARE_BYTES
        free = shutil.disk_usage(root).free
        if free < needed:
            raise StorageError(
                f"pack {self._pack.name} {self._pack.version} needs {needed / 1e6:.0f} MB while it is installed, "
                f"and {free / 1e6:.0f} MB are free",
                hint="Free some space and try again",
            )

    def __call__(self, folder: Path) -> PackManifest:
        delta = _delta_for(self._pack, self._installed)
        if delta is not None and self._installed is not None:
            try:
                manifest = self._from_delta(delta, self._installed, folder)
            except PackError as error:
                if error.retryable:
                    raise  # the link is to blame: the next try goes on with the delta, which is less to fetch
                # Whatever it was, the whole archive is as good; if that fails too, its reason is the one to report.
                for path in folder.iterdir():
                    path.unlink()
            else:
                self.by_delta = True
                return manifest
        packed = self._scratch / "archive"
        self.fetched += self._trusted.download(self._pack.path, packed, self._pack.name, self._progress)
        return self._unpacked(packed, folder, prefix=None)

    def _from_delta(self, delta: PublishedDelta, installed: InstalledPack, folder: Path) -> PackManifest:
        prefix = delta_source(installed.manifest, installed.root)
        if prefix is None:
            raise UpdateMismatch(f"pack {installed.name} is too large for a delta")
        packed = self._scratch / "delta"
        self.fetched += self._trusted.download(delta.path, packed, self._pack.name, self._progress)
        return self._unpacked(packed, folder, prefix=prefix)

    def _unpacked(self, packed: Path, folder: Path, *, prefix: bytes | None) -> PackManifest:
        self._progress(self._pack.name, Stage.EXTRACTING, self._pack.unpacked_bytes)
        manifest = unpack(
            packed,
            folder,
            size=self._pack.unpacked_bytes,
            sha256=self._pack.unpacked_sha256,
            prefix=prefix,
        )
        packed.unlink()
        if manifest.name != self._pack.name or content_id(manifest) != self._pack.content:
            raise UpdateMismatch(f"the archive of pack {self._pack.name} holds {manifest.name} {manifest.version}")
        return manifest
