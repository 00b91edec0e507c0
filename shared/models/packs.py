"""Model packs: what a pack is, and the store it is installed in.

A pack is a folder with a ``manifest.json`` and the files it lists. The store keeps each installed pack in a folder of
its own under ``.packs/`` and points at it with a link named after the pack::

    <root>/ocr-tiny-det -> .packs/ocr-tiny-det-6.0-1f0c9a2e
    <root>/.packs/ocr-tiny-det-6.0-1f0c9a2e/{manifest.json,model.onnx}
    <root>/.staging/            half-built packs; whatever an interrupted install left here is swept by the next one
    <root>/.downloads/          half downloads from URLs, which the next install continues
    <root>/.registry/           the last catalogue of each registry, for when there is no network
    <root>/.lock                held by the process that installs or removes

Replacing a link is one atomic rename, so a reader sees the whole old pack or the whole new one, whenever the
installing process dies. Reading waits for no lock and needs no write permission. A pack that a process has got keeps
its folder, also when it is replaced, until nobody holds it any more and somebody installs again: models load their
files when they are first needed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shared.clock import Clock, SystemClock
from shared.errors import PackCorrupt, PackError, PackMissing, PackUnsupported, StorageError, UsageError
from shared.files import fsync
from shared.limits import MAX_MANIFEST_BYTES
from shared.models.manifest import (
    KNOWN_ENCODINGS,
    MANIFEST_NAME,
    PACK_NAME,
    PackFile,
    PackManifest,
    Task,
    check_file,
    check_supported,
    dump_manifest,
    parse_manifest,
)

__all__ = [
    "KNOWN_ENCODINGS",
    "InstalledPack",
    "PackFile",
    "PackManifest",
    "PackStore",
    "Task",
    "default_store_root",
    "storage_errors",
]

STORE_VARIABLE: Final = "WAYWORD_PACKS"
LOCK_TIMEOUT: Final = 600.0
"""Seconds to wait for another process that installs; it is longer than a slow download of every default pack."""
_LOCK_POLL: Final = 0.2  # seconds between two looks at a lock that another process holds


class _Lease:
    """Keeps a pack's folder from being swept for as long as this object lives: a shared lock on the folder."""

    def __init__(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # it is gone, or its disk has no locks: there it is as if nobody held it
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # another process holds nothing


@dataclass(frozen=True)
class InstalledPack:
    """A verified pack on disk.

    Attributes:
        manifest: its manifest.
        root: its folder; of a pack that `PackStore.get` gave it stays as long as the pack is held.
    """

    manifest: PackManifest
    root: Path
    lease: _Lease | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    def path(self, file_name: str) -> Path:
        """Path of one of the pack's files.

        Raises:
            PackUnsupported: the manifest lists no such file.
        """
        if all(file.name != file_name for file in self.manifest.files):
            raise PackUnsupported(
                f"pack {self.name} {self.version} has no file {file_name}", hint=_install_hint(self.name)
            )
        return self.root / file_name

    def setting(self, name: str) -> float:
        """A number of the manifest's `encoding` mapping.

        Raises:
            PackUnsupported: it is absent or no number.
        """
        value = self.manifest.encoding.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PackUnsupported(
                f"pack {self.name} {self.version} does not say its {name}", hint=_install_hint(self.name)
            )
        return float(value)


def default_store_root() -> Path:
    """Folder of the pack store: ``$WAYWORD_PACKS``, else ``wayword/packs`` in the user's data folder."""
    configured = os.environ.get(STORE_VARIABLE)
    if configured:
        return Path(configured).expanduser()
    import platformdirs  # only here: a tier that is told its store needs no search for it

    return Path(platformdirs.user_data_dir("wayword", appauthor=False)) / "packs"


class PackStore:
    """The folder packs are installed in; see the module's text for its layout.

    Args:
        root: the folder; created by the first install.
    """

    def __init__(self, root: Path) -> None:
        # Absolute, so that a later change of the working directory moves nothing.
        self.root = root.absolute()
        self._verified: dict[str, InstalledPack] = {}

    def names(self) -> list[str]:
        """Names of the installed packs, sorted; nothing is verified. Files that lie in the store are no packs."""
        with storage_errors(f"list the pack store {self.root}", self.root):
            if not self.root.is_dir():
                return []
            return sorted(
                entry.name
                for entry in self.root.iterdir()
                if PACK_NAME.fullmatch(entry.name) and (entry.is_symlink() or entry.is_dir())
            )

    def manifest(self, name: str) -> PackManifest:
        """Read an installed pack's manifest without hashing its files.

        Raises:
            PackMissing: it is not installed.
            PackCorrupt: its manifest cannot be read.
        """
        return self._read(name)[0]

    def installed(self) -> list[PackManifest]:
        """Manifests of the installed packs this runtime can use as far as manifests tell, by name; nothing is hashed.

        A pack with a manifest that cannot be read, or that was made for another runtime, is left out, so that it does
        not take the others with it; `problems` says what is wrong with it.

        Raises:
            StorageError: the store cannot be read.
        """
        return self._survey()[0]

    def problems(self) -> dict[str, PackError]:
        """Why packs are left out of `installed`, by name.

        Raises:
            StorageError: the store cannot be read.
        """
        return self._survey()[1]

    def _survey(self) -> tuple[list[PackManifest], dict[str, PackError]]:
        manifests: list[PackManifest] = []
        problems: dict[str, PackError] = {}
        for name in self.names():
            try:
                manifest = self.manifest(name)
                check_supported(manifest)
            except PackError as error:
                problems[name] = error
            else:
                manifests.append(manifest)
        return manifests, problems

    def get(self, name: str) -> InstalledPack:
        """An installed pack whose files are what its manifest says; each is hashed once per process.

        Raises:
            PackMissing: it is not installed.
            PackCorrupt: a file is missing or its hash is wrong.
            PackUnsupported: this runtime does not know its encoding version.
            StorageError: the store cannot be read.
        """
        while True:
            manifest, folder = self._read(name)
            known = self._verified.get(name)
            if known is not None and known.root != folder:
                known = None
            if known is not None and known.lease is not None:
                return known
            lease = _Lease(folder)
            if self._read(name)[1] == folder:
                break  # else it was replaced before the lease was there
        if known is None:
            self._check(name, manifest, folder)
        pack = self._verified[name] = InstalledPack(manifest, folder, lease)
        return pack

    def verify(self, name: str) -> InstalledPack:
        """As `get`, but every file is hashed again, whether or not it was before, and its folder is not held: hold
        `exclusive` around what follows."""
        manifest, folder = self._read(name)
        self._check(name, manifest, folder)
        return InstalledPack(manifest, folder)

    def _check(self, name: str, manifest: PackManifest, folder: Path) -> None:
        check_supported(manifest)
        for file in manifest.files:
            check_file(folder / file.name, file, owner=f"pack {name}", hint=_install_hint(name, "reinstall"))

    def install(self, name: str, build: Callable[[Path], PackManifest]) -> InstalledPack:
        """Build a pack in a staging folder, verify it, and put it in place of the old one in one step.

        Hold `exclusive` around this. Whatever fails, the old pack stays and nothing of the new one does.

        Args:
            name: name of the pack.
            build: writes the pack's files into the empty folder it is given and returns their manifest.

        Raises:
            PackCorrupt: what was built is not what its manifest says, or is another pack.
            PackUnsupported: this runtime does not know its encoding version.
            StorageError: the disk refuses.
            WaywordError: whatever `build` raises.
        """
        staging = self._staging / f"{name}-{secrets.token_hex(4)}"
        with storage_errors(f"install pack {name}", self.root):
            staging.mkdir(parents=True)
            try:
                manifest = build(staging)
                self._check_built(name, manifest, staging)
                (staging / MANIFEST_NAME).write_bytes(dump_manifest(manifest))
                self._swap_in(name, manifest, staging)
            finally:
                shutil.rmtree(staging, ignore_errors=True)  # already renamed away when all went well
            self._verified.pop(name, None)  # with its lease
            self._sweep_packs()
        # Without a lease: who installs does not read.
        pack = self._verified[name] = InstalledPack(manifest, (self.root / name).resolve())
        return pack

    def remove(self, name: str) -> None:
        """Remove an installed pack.

        Raises:
            PackMissing: it is not installed.
            StorageError: the disk refuses.
        """
        if name not in self.names():
            raise _missing(name, self.root)
        with self.exclusive(), storage_errors(f"remove pack {name}", self.root):
            link = self.root / name
            if link.is_symlink():
                link.unlink(missing_ok=True)
            else:  # put there by hand
                shutil.rmtree(link)
            self._verified.pop(name, None)
            self._sweep_packs()

    @contextmanager
    def exclusive(self, *, clock: Clock | None = None, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Keep other processes from installing or removing; sweeps what an interrupted one left behind.

        Raises:
            StorageError: the store cannot be written, or another process held it for `timeout` seconds.
        """
        clock = clock or SystemClock()
        with storage_errors(f"write the pack store {self.root}", self.root):
            self._packs.mkdir(parents=True, exist_ok=True)
            self._staging.mkdir(exist_ok=True)
            descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            deadline = clock.monotonic() + timeout
            while not _try_lock(descriptor):
                if clock.monotonic() >= deadline:
                    raise StorageError(f"another process has been installing packs into {self.root} for too long")
                threading.Event().wait(_LOCK_POLL)
            with storage_errors(f"clean the pack store {self.root}", self.root):
                shutil.rmtree(self._staging)
                self._staging.mkdir()
                self._sweep_packs()
            yield
        finally:
            os.close(descriptor)  # closing gives the lock up, and so does dying

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for downloads on the store's disk, gone afterwards; hold `exclusive` around it.

        Raises:
            StorageError: the disk refuses.
        """
        folder = self._staging / f"scratch-{secrets.token_hex(4)}"
        with storage_errors(f"write the pack store {self.root}", self.root):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def downloads(self) -> Path:
        """Folder of half downloads, kept so that the next install can go on with them."""
        return self.root / ".downloads"

    @property
    def _packs(self) -> Path:
        return self.root / ".packs"

    @property
    def _staging(self) -> Path:
        return self.root / ".staging"

    def _read(self, name: str) -> tuple[PackManifest, Path]:
        if not PACK_NAME.fullmatch(name):
            raise UsageError(f"{name!r} is no pack name", hint="Names look like ocr-tiny-det")
        with storage_errors(f"read pack {name}", self.root):
            folder = (self.root / name).resolve()
            if not folder.is_dir():
                raise _missing(name, self.root)
            path = folder / MANIFEST_NAME
            if not (self.root / name).is_symlink():  # we only make links: somebody put a folder there
                hint = f"Move {self.root / name} away unless it is to be a pack"
            else:
                hint = _install_hint(name, "reinstall")
            if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
                raise PackCorrupt(f"pack {name} has no usable {MANIFEST_NAME}", hint=hint)
            try:
                manifest = parse_manifest(path.read_bytes(), origin=f"pack {name}")
            except PackCorrupt as error:
                raise PackCorrupt(error.message, hint=hint) from error
        if manifest.name != name:
            raise PackCorrupt(f"the folder of pack {name} holds pack {manifest.name}", hint=hint)
        return manifest, folder

    def _check_built(self, name: str, manifest: PackManifest, folder: Path) -> None:
        if manifest.name != name:
            raise PackCorrupt(f"the source of pack {name} holds pack {manifest.name}")
        check_supported(manifest)
        unlisted = {path.name for path in folder.iterdir()} - {file.name for file in manifest.files}
        if unlisted:
            raise PackCorrupt(f"pack {name} has files its manifest does not list: {', '.join(sorted(unlisted))}")
        for file in manifest.files:
            check_file(folder / file.name, file, owner=f"pack {name}", hint="Its source is damaged; try again")

    def _swap_in(self, name: str, manifest: PackManifest, staging: Path) -> None:
        if (self.root / name).exists() and not (self.root / name).is_symlink():
            raise StorageError(
                f"{self.root / name} was put there by hand", hint=f"Move it away, then {_install_hint(name)}"
            )
        for path in staging.iterdir():
            fsync(path)
        fsync(staging)
        version = re.sub(r"[^A-Za-z0-9.]", "_", manifest.version)
        final = self._packs / f"{name}-{version}-{secrets.token_hex(4)}"
        staging.rename(final)
        fsync(self._packs)
        link = self._staging / f"{name}-{secrets.token_hex(4)}.link"
        link.symlink_to(Path(self._packs.name) / final.name)
        link.replace(self.root / name)
        fsync(self.root)

    def _sweep_packs(self) -> None:
        """Remove pack folders that no link points at and nobody holds; call with the lock held."""
        linked = {entry.resolve() for entry in self.root.iterdir() if entry.is_symlink()}
        for folder in self._packs.iterdir():
            if folder.resolve() not in linked:
                _remove_unheld(folder)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_unheld(folder: Path) -> None:
    """Remove a folder that nobody has a lease of; what cannot be removed now is tried again by the next sweep."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _try_lock(descriptor):
                shutil.rmtree(folder)
        finally:
            os.close(descriptor)


def _install_hint(name: str, verb: str = "run") -> str:
    command = f"wayword-phone packs install {name}"
    return f"Reinstall it, run: {command}" if verb == "reinstall" else f"run: {command}"


def _missing(name: str, root: Path) -> PackMissing:
    return PackMissing(f"pack {name} is not installed in {root}", hint=_install_hint(name))


@contextmanager
def storage_errors(action: str, root: Path) -> Iterator[None]:
    """Give the operating system's refusals their typed reason."""
    try:
        yield
    except OSError as error:
        hint = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Free some space and try again"
        elif error.errno == errno.EFBIG:
            hint = "Raise the limit on file sizes (ulimit -f) and try again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = f"Make {root} writable, or choose another folder with --packs or ${STORE_VARIABLE}"
        raise StorageError(f"cannot {action}: {error.strerror or error}", hint=hint) from error
