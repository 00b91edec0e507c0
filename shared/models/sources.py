"""Where whole packs come from besides the catalogue: a folder, or an https URL.

Both hold packs as the store does: a ``manifest.json`` beside the files it lists. A folder or an archive may be one
pack, or hold several in folders of their own.
"""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from shared.errors import PackCorrupt, PackSourceUnreachable, UsageError
from shared.limits import MAX_MANIFEST_BYTES
from shared.models.download import download
from shared.models.manifest import MANIFEST_NAME, PackFile, PackManifest, check_file, parse_manifest

_COPY_CHUNK: Final = 1 << 20
_TRY_AGAIN: Final = "The source is damaged or was cut off; try again"


class Stage(StrEnum):
    """What an install is doing."""

    PRESENT = "already installed"
    REPLACING = "replacing a broken or different one"
    DOWNLOADING = "downloading"
    EXTRACTING = "extracting"
    CONVERTING = "converting"
    INSTALLED = "installed"


Progress: TypeAlias = Callable[[str, Stage, int], None]
"""Called with a pack's or a download's name, its stage, and the bytes done in that stage."""


@dataclass(frozen=True)
class OfferedPack:
    """A pack found at a source; `folder` holds its files."""

    manifest: PackManifest
    folder: Path

    def copy_to(self, target: Path) -> PackManifest:
        """Copy the listed files into `target`, checking them; returns the manifest.

        Raises:
            PackCorrupt: a file is absent or is not what the manifest says.
            OSError: the disk refuses.
        """
        for file in self.manifest.files:
            origin = self.folder / file.name
            check_file(origin, file, owner=f"pack {self.manifest.name} in {self.folder}", hint=_TRY_AGAIN)
            shutil.copyfile(origin, target / file.name)
        return self.manifest


class PackSource(Protocol):
    """A place that holds packs with their manifests."""

    def offers(self, scratch: Path, downloads: Path, progress: Progress) -> list[OfferedPack]:
        """Find the packs of this source, downloading them if need be.

        Args:
            scratch: folder for temporary files, gone after the install.
            downloads: folder for half downloads, kept so that the next try goes on with them.
            progress: told about the bytes downloaded.

        Raises:
            PackSourceUnreachable: the source cannot be reached or holds no pack.
            PackCorrupt: a manifest or an archive is wrong.
            OSError: the disk refuses.
        """
        ...


@dataclass(frozen=True)
class FolderSource:
    """A folder that is a pack, or holds packs in folders of their own."""

    folder: Path

    def offers(self, scratch: Path, downloads: Path, progress: Progress) -> list[OfferedPack]:
        """See `PackSource.offers`; nothing is downloaded."""
        if not self.folder.is_dir():
            raise PackSourceUnreachable(f"no folder {self.folder}", hint="Give a folder with a manifest.json")
        candidates = [self.folder, *sorted(path for path in self.folder.iterdir() if path.is_dir())]
        found = [folder for folder in candidates if (folder / MANIFEST_NAME).is_file()]
        if not found:
            raise PackSourceUnreachable(
                f"{self.folder} holds no pack", hint=f"A pack is a folder with a {MANIFEST_NAME}"
            )
        return [OfferedPack(_read_manifest(folder / MANIFEST_NAME), folder) for folder in found]


@dataclass(frozen=True)
class UrlSource:
    """An https URL of a ``.zip`` archive of packs, or of a folder that serves ``manifest.json`` and its files.

    An archive's own hash may be pinned as pip does it, with ``#sha256=...`` at the end of the URL. Plain http is
    taken only from this machine.
    """

    url: str

    def offers(self, scratch: Path, downloads: Path, progress: Progress) -> list[OfferedPack]:
        """See `PackSource.offers`."""
        parts = urlsplit(self.url)
        if parts.path.endswith(".zip"):
            archive = download(
                self._plain(), scratch / "packs.zip", downloads, progress=_reporting(progress, parts.path)
            )
            if parts.fragment:
                self._check_archive(archive)
            with archive_errors(self._plain()):
                _unzip_packs(archive, scratch / "packs")
            return FolderSource(scratch / "packs").offers(scratch, downloads, progress)
        folder = scratch / "pack"
        folder.mkdir()
        base = self._plain().removesuffix(MANIFEST_NAME).rstrip("/")
        manifest_path = download(f"{base}/{MANIFEST_NAME}", folder / MANIFEST_NAME, downloads, limit=MAX_MANIFEST_BYTES)
        manifest = _read_manifest(manifest_path)
        for file in manifest.files:
            download(
                f"{base}/{file.name}",
                folder / file.name,
                downloads,
                limit=file.size,
                progress=_reporting(progress, file.name),
            )
        return [OfferedPack(manifest, folder)]

    def _plain(self) -> str:
        return urlsplit(self.url)._replace(fragment="").geturl()

    def _check_archive(self, archive: Path) -> None:
        algorithm, _, digest = urlsplit(self.url).fragment.partition("=")
        if algorithm != "sha256" or not digest:
            raise UsageError(f"cannot use #{algorithm} of the URL", hint="Pin an archive with #sha256=<hex digest>")
        expected = PackFile(name=archive.name, sha256=digest.lower(), size=archive.stat().st_size)
        check_file(archive, expected, owner=self._plain(), hint=_TRY_AGAIN)


def source_of(text: str) -> PackSource:
    """The source a user named: a URL, or else a folder.

    Raises:
        UsageError: a URL that is neither https nor of this machine.
    """
    parts = urlsplit(text)
    if "://" not in text:
        return FolderSource(Path(text).expanduser())
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        return UrlSource(text)
    raise UsageError(f"packs are not taken from {parts.scheme}://{parts.netloc}", hint="Use https or a folder")


@contextmanager
def archive_errors(name: str) -> Iterator[None]:
    """Turn what `zipfile` says about a damaged archive into `PackCorrupt`."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise PackCorrupt(f"{name} is damaged: {error}", hint=_TRY_AGAIN) from error


def extract_file(archive: zipfile.ZipFile, path: str, expected: PackFile, folder: Path, *, owner: str) -> None:
    """Copy one file out of an archive to ``folder/expected.name`` and check its size and SHA-256.

    Raises:
        PackCorrupt: it is absent or is not what was expected.
        zipfile.BadZipFile: the archive is damaged; see `archive_errors`.
        OSError: the disk refuses.
    """
    try:
        info = archive.getinfo(path)
    except KeyError as error:
        raise PackCorrupt(f"{owner} holds no {path}", hint=_TRY_AGAIN) from error
    if info.file_size != expected.size:
        raise PackCorrupt(f"{path} of {owner} has {info.file_size} bytes instead of {expected.size}", hint=_TRY_AGAIN)
    target = folder / expected.name
    with archive.open(info) as stream, target.open("wb") as output:
        shutil.copyfileobj(stream, output, _COPY_CHUNK)
    check_file(target, expected, owner=owner, hint=_TRY_AGAIN)


def _unzip_packs(path: Path, target: Path) -> None:
    """Unpack the packs of an archive: only files a manifest lists, each into the folder of its pack."""
    with zipfile.ZipFile(path) as archive:
        for index, info in enumerate(i for i in archive.infolist() if PurePosixPath(i.filename).name == MANIFEST_NAME):
            if info.file_size > MAX_MANIFEST_BYTES:
                raise PackCorrupt(f"{info.filename} in {path.name} is too large")
            data = archive.read(info)
            manifest = parse_manifest(data, origin=info.filename)
            folder = target / str(index)  # a name of ours: names in an archive may point anywhere
            folder.mkdir(parents=True)
            (folder / MANIFEST_NAME).write_bytes(data)
            for file in manifest.files:
                member = str(PurePosixPath(info.filename).parent / file.name)
                extract_file(archive, member, file, folder, owner=f"pack {manifest.name}")
        target.mkdir(exist_ok=True)


def _read_manifest(path: Path) -> PackManifest:
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise PackCorrupt(f"{path} is too large for a manifest")
    return parse_manifest(path.read_bytes(), origin=str(path.parent))


def _reporting(progress: Progress, path: str) -> Callable[[int], None]:
    name = PurePosixPath(path).name
    return lambda done: progress(name, Stage.DOWNLOADING, done)
