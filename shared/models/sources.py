"""Where packs come from besides the catalogue: a folder, an https URL, or a registry of published models.

Folders and URLs hold packs as the store does, a ``manifest.json`` beside the files it lists, or translation models as
they are published (see `native`). A folder or an archive may be one pack, or hold several in folders of their own.
"""

from __future__ import annotations

import html
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from shared.errors import PackCorrupt, PackSourceUnreachable, UsageError
from shared.limits import MAX_MANIFEST_BYTES, MAX_UPSTREAM_MODEL_BYTES
from shared.models import native
from shared.models.download import FileNotServed, download, fetch, is_loopback
from shared.models.language_tags import direction_of
from shared.models.manifest import MANIFEST_NAME, PackFile, PackManifest, check_file, parse_manifest
from shared.models.native_files import FileKind, canonical_name, group_names
from shared.models.offers import Offer, PackSource, Progress, Stage

__all__ = [
    "FolderSource",
    "OfferedPack",
    "PackSource",
    "Progress",
    "Stage",
    "UrlSource",
    "archive_errors",
    "extract_file",
    "source_of",
]

_COPY_CHUNK: Final = 1 << 20
_TRY_AGAIN: Final = "The source is damaged or was cut off; try again"
_LINK: Final = re.compile(r"""href\s*=\s*["']?([^"'\s>]{1,200})""", re.IGNORECASE)
_LICENCE_NAME: Final = "LICENSE"


@dataclass(frozen=True)
class OfferedPack:
    """A pack found at a source; `folder` holds its files."""

    manifest: PackManifest
    folder: Path

    @property
    def name(self) -> str:
        """See `Offer.name`."""
        return self.manifest.name

    def same(self, installed: PackManifest) -> bool:
        """See `Offer.same`."""
        return installed == self.manifest

    def build(self, folder: Path, progress: Progress) -> PackManifest:
        """Copy the listed files, checking them; see `Offer.build`."""
        progress(self.name, Stage.EXTRACTING, self.manifest.size)
        for file in self.manifest.files:
            origin = self.folder / file.name
            check_file(origin, file, owner=f"pack {self.manifest.name} in {self.folder}", hint=_TRY_AGAIN)
            shutil.copyfile(origin, folder / file.name)
        return self.manifest


@dataclass(frozen=True)
class FolderSource:
    """A folder that is a pack or a published model, or holds such in folders of their own."""

    folder: Path

    def offers(
        self, names: Sequence[str] | None, scratch: Path, downloads: Path, progress: Progress
    ) -> Sequence[Offer]:
        """See `PackSource.offers`; nothing is downloaded."""
        if not self.folder.is_dir():
            raise PackSourceUnreachable(f"no folder {self.folder}", hint=f"Give a folder with a {MANIFEST_NAME}")
        found: list[Offer] = []
        for folder in [self.folder, *sorted(path for path in self.folder.iterdir() if path.is_dir())]:
            if (folder / MANIFEST_NAME).is_file():
                found.append(OfferedPack(_read_manifest(folder / MANIFEST_NAME), folder))
            else:
                found += native.folder_offers(folder, scratch / f"unpacked-{len(found)}")
        if not found:
            raise PackSourceUnreachable(
                f"{self.folder} holds no pack",
                hint=f"A pack is a folder with a {MANIFEST_NAME}, or with a published model.<pair>.intgemm.alphas.bin",
            )
        return found


@dataclass(frozen=True)
class UrlSource:
    """An https URL of a ``.zip`` archive of packs, or of a folder that serves a pack's or a published model's files.

    A folder of a published model is known by its index page, or by the names that go with the pack that is asked for.
    An archive's own hash may be pinned as pip does it, with ``#sha256=...`` at the end of the URL. Plain http is taken
    only from this machine.
    """

    url: str

    def offers(
        self, names: Sequence[str] | None, scratch: Path, downloads: Path, progress: Progress
    ) -> Sequence[Offer]:
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
            return FolderSource(scratch / "packs").offers(names, scratch, downloads, progress)
        folder = scratch / "pack"
        folder.mkdir()
        base = self._plain().removesuffix(MANIFEST_NAME).rstrip("/")
        try:
            answer = fetch(f"{base}/{MANIFEST_NAME}", limit=MAX_MANIFEST_BYTES)
        except FileNotServed as error:
            return self._published_model(base, names, error, scratch, downloads, progress)
        manifest = parse_manifest(answer.data, origin=base)
        for file in manifest.files:
            download(
                f"{base}/{file.name}",
                folder / file.name,
                downloads,
                limit=file.size,
                progress=_reporting(progress, file.name),
            )
        return [OfferedPack(manifest, folder)]

    def _published_model(
        self,
        base: str,
        names: Sequence[str] | None,
        no_manifest: FileNotServed,
        scratch: Path,
        downloads: Path,
        progress: Progress,
    ) -> Sequence[Offer]:
        """Download a model that is served under the names it was published with."""
        folder = scratch / "published"
        folder.mkdir()

        def get(name: str) -> None:
            download(
                f"{base}/{name}",
                folder / name,
                downloads,
                limit=MAX_UPSTREAM_MODEL_BYTES,
                progress=_reporting(progress, name),
            )

        listed = _index(base)
        groups = group_names(listed)
        for files in groups.values():
            for file in files.values():
                get(file.name)
        if not groups:
            for name in names or ():
                _probe("".join(direction_of(name)), get)
        beside = (native.REFERENCE_NAME, native.METADATA_NAME, _LICENCE_NAME)
        for name in beside:
            if not listed or name in listed:
                _if_served(name, get)
        offers = native.folder_offers(folder, scratch / "unpacked")
        if not offers:
            raise PackSourceUnreachable(
                f"{base} holds no pack: it serves no {MANIFEST_NAME} and no published model that can be found",
                hint="Name the pack, such as mt-es-en, or give the URL of a folder with an index page",
            ) from no_manifest
        return [_downloaded_from(offer, base) for offer in offers]

    def _plain(self) -> str:
        return urlsplit(self.url)._replace(fragment="").geturl()

    def _check_archive(self, archive: Path) -> None:
        algorithm, _, digest = urlsplit(self.url).fragment.partition("=")
        if algorithm != "sha256" or not digest:
            raise UsageError(f"cannot use #{algorithm} of the URL", hint="Pin an archive with #sha256=<hex digest>")
        expected = PackFile(name=archive.name, sha256=digest.lower(), size=archive.stat().st_size)
        check_file(archive, expected, owner=self._plain(), hint=_TRY_AGAIN)


def _downloaded_from(offer: native.NativeOffer, base: str) -> native.NativeOffer:
    """The offer of a model that was downloaded from `base`."""
    description = replace(offer.description, origin=f"published model from {base}")
    return replace(offer, description=description)


def source_of(text: str) -> PackSource:
    """The source a user named: a URL, or else a folder.

    Raises:
        UsageError: a URL that is neither https nor of this machine.
    """
    if "://" not in text:
        return FolderSource(Path(text).expanduser())
    check_url(text)
    return UrlSource(text)


def is_catalogue(text: str) -> bool:
    """Whether a user named a registry's catalogue: a URL that ends in ``/records`` or ``.json`` (but no manifest)."""
    path = text.partition("?")[0].partition("#")[0]
    return "://" in text and path.endswith(("/records", ".json")) and not path.endswith(f"/{MANIFEST_NAME}")


def check_url(text: str) -> None:
    """Refuse what may not be downloaded from.

    Raises:
        UsageError: it is neither https nor http of this machine.
    """
    try:
        parts = urlsplit(text)
        here = is_loopback(text)
    except ValueError as error:
        raise UsageError(f"{text} is no URL: {error}") from error
    if parts.scheme != "https" and not (parts.scheme == "http" and here):
        raise UsageError(f"packs are not taken from {parts.scheme}://{parts.netloc}", hint="Use https or a folder")


def _index(base: str) -> list[str]:
    """File names a folder's index page links to; empty where the server shows none."""
    try:
        page = fetch(f"{base}/", limit=MAX_MANIFEST_BYTES).data.decode("utf-8", errors="replace")
    except PackSourceUnreachable:
        return []  # many servers show no folder; the files may still be there
    links = (unquote(html.unescape(link)).removeprefix("./") for link in _LINK.findall(page))
    return list(dict.fromkeys(link for link in links if "/" not in link))


def _probe(pair: str, get: Callable[[str], None]) -> None:
    """Download the files of a pair under the names they usually have, packed or not."""
    for kind in FileKind:
        plain = canonical_name(kind, pair)
        if not _if_served(f"{plain}.gz", get):
            _if_served(plain, get)


def _if_served(name: str, get: Callable[[str], None]) -> bool:
    try:
        get(name)
    except FileNotServed:
        return False
    return True


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


def _reporting(progress: Progress, path: str) -> Callable[[int, int], None]:
    name = PurePosixPath(path).name
    return lambda done, total: progress(name, Stage.DOWNLOADING, done, total)
