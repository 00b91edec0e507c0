"""Turning the folder of a pack into targets of a repository: its archive, its manifest, and deltas from older ones."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tuf.api.metadata import TargetFile

from cloud.packs.publishing_files import RepositoryFiles
from shared.errors import PackCorrupt, StorageError, UsageError
from shared.files import fsync
from shared.limits import MAX_DELTA_PACK_BYTES, MAX_MANIFEST_BYTES
from shared.models.manifest import MANIFEST_NAME, PackManifest, check_file, describe_file, dump_manifest, parse_manifest
from shared.updates.archive import compress_file, delta_source, make_delta, unpack, write_tar
from shared.updates.published import (
    ARCHIVE_NAME,
    PublishedDelta,
    PublishedPack,
    content_id,
    dump_published,
    target_folder,
)

WORTHWHILE: Final = 0.9
"""A delta larger than this share of the archive is not published: a judgement."""
_ID_DIGITS: Final = 16


def read_pack(folder: Path) -> PackManifest:
    """The manifest of a pack's folder, with every file held against it.

    Raises:
        UsageError: it is no pack.
        PackCorrupt: a file is not what the manifest says.
        StorageError: it cannot be read.
    """
    path = folder / MANIFEST_NAME
    try:
        if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
            raise UsageError(f"{folder} is no pack", hint=f"A pack is a folder with a {MANIFEST_NAME}")
        manifest = parse_manifest(path.read_bytes(), origin=str(folder))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    for file in manifest.files:
        check_file(folder / file.name, file, owner=f"pack {manifest.name} in {folder}", hint="")
    return manifest


def build_targets(
    files: RepositoryFiles, folder: Path, manifest: PackManifest, older: Sequence[PublishedPack], *, release: int
) -> list[TargetFile]:
    """Write the targets of one version; nothing points at them before their metadata is published.

    Args:
        files: the repository.
        folder: of the pack.
        manifest: of the pack, as `read_pack` gave it.
        older: versions from which deltas are made.
        release: see `PublishedPack`.

    Raises:
        UpdateMismatch: the version cannot be part of a path, or an older archive is damaged.
        OSError: the disk refuses.
    """
    base = target_folder(manifest.name, manifest.version)
    files.drafts.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=files.drafts, prefix="build-") as name:
        building = Path(name)
        tar, packed, text = building / "pack.tar", building / ARCHIVE_NAME, building / MANIFEST_NAME
        with tar.open("wb") as output:
            write_tar(manifest, folder, output)
        compress_file(tar, packed)
        text.write_bytes(dump_manifest(manifest))
        whole = describe_file(tar)
        deltas: list[PublishedDelta] = []
        targets = [_place(files, f"{base}/{MANIFEST_NAME}", text)]
        for pack in older if whole.size <= MAX_DELTA_PACK_BYTES else ():
            delta = building / "delta"
            if not _make_delta(files, pack, tar, delta, building) or (
                delta.stat().st_size > WORTHWHILE * packed.stat().st_size
            ):
                continue
            described = PublishedDelta(
                path=f"{base}/from-{pack.content[:_ID_DIGITS]}.zst",
                from_version=pack.version,
                from_content=pack.content,
                bytes=delta.stat().st_size,
            )
            deltas.append(described)
            targets.append(_place(files, described.path, delta))
        published = PublishedPack(
            path=f"{base}/{ARCHIVE_NAME}",
            name=manifest.name,
            version=manifest.version,
            task=manifest.task,
            languages=manifest.languages,
            direction=manifest.direction,
            encoding_version=manifest.encoding_version,
            release=release,
            content=content_id(manifest),
            bytes=packed.stat().st_size,
            unpacked_bytes=whole.size,
            unpacked_sha256=whole.sha256,
            deltas=tuple(deltas),
        )
        archive = _place(files, published.path, packed)
        archive.unrecognized_fields["custom"] = dump_published(published)
        return [archive, *targets]


def published_manifest(files: RepositoryFiles, target: TargetFile) -> bytes:
    """The text of a published manifest, held against its signed hash.

    Raises:
        PackCorrupt: it is not what was signed.
        StorageError: it cannot be read.
    """
    path = files.targets / target.get_prefixed_paths()[0]
    try:
        with path.open("rb") as stream:
            data = stream.read(target.length + 1)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != target.hashes["sha256"]:
        raise PackCorrupt(f"{path.name} is not what was signed")
    return data


def _make_delta(files: RepositoryFiles, pack: PublishedPack, tar: Path, delta: Path, building: Path) -> bool:
    """Make a delta from an older published version; False where there can be none."""
    if pack.unpacked_bytes > MAX_DELTA_PACK_BYTES:
        return False
    # Its hash is part of the name; the tar's own is checked by `unpack`.
    archive = next((files.targets / pack.path).parent.glob(f"*.{ARCHIVE_NAME}"), None)
    if archive is None:
        return False
    with tempfile.TemporaryDirectory(dir=building) as name:
        folder = Path(name)
        manifest = unpack(archive, folder, size=pack.unpacked_bytes, sha256=pack.unpacked_sha256)
        old = delta_source(manifest, folder)
    if old is None:
        return False
    make_delta(old, tar, delta)
    return True


def _place(files: RepositoryFiles, path: str, origin: Path) -> TargetFile:
    """Move a built file to where readers look for the target, under a name with its hash."""
    target = TargetFile.from_file(path, str(origin), ["sha256"])
    place = files.targets / target.get_prefixed_paths()[0]
    place.parent.mkdir(parents=True, exist_ok=True)
    origin.chmod(0o644)
    fsync(origin)
    origin.replace(place)
    fsync(place.parent)
    return target
