"""Packs as one file: a tar that is the same for the same pack, compressed with zstd, and deltas between two of them.

A delta is a zstd frame made with the older pack's files, one after the other as its manifest lists them, as prefix
("patch-from", zstd(1)); it decompresses to the newer pack's tar. The manifest is no part of the prefix: its text
depends on the version of wayword that wrote it, the files do not.

Sources: zstd frames, prefix and window: RFC 8878 and the zstd manual; tar: POSIX ustar.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from shared.errors import PackCorrupt, UpdateMismatch
from shared.limits import MAX_DELTA_PACK_BYTES, MAX_MANIFEST_BYTES
from shared.models.manifest import MANIFEST_NAME, PackManifest, dump_manifest, parse_manifest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LEVEL: Final = 9
"""Of compression. A judgement: higher levels take much longer, and weights hardly compress at any."""
_CHUNK: Final = 1 << 20
_MAX_WINDOW_LOG: Final = 27
"""Window of a frame: 2^27 bytes reach over an old and a new pack of `MAX_DELTA_PACK_BYTES` each."""
_SMALLEST_PREFIX: Final = 8  # zstd takes no shorter one
_C: Final = zstd.CompressionParameter
_D: Final = zstd.DecompressionParameter


def write_tar(manifest: PackManifest, folder: Path, output: IO[bytes]) -> None:
    """Write a pack as a tar: its manifest, then its files in the manifest's order, without dates and owners.

    Raises:
        OSError: a file cannot be read, or the output not written.
    """
    with tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        text = dump_manifest(manifest)
        archive.addfile(_member(MANIFEST_NAME, len(text)), io.BytesIO(text))
        for file in manifest.files:
            with (folder / file.name).open("rb") as stream:
                archive.addfile(_member(file.name, file.size), stream)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, 0
    return member


def compress_file(source: Path, target: Path) -> None:
    """Compress a file.

    Raises:
        OSError: the disk refuses.
    """
    options: dict[int, int] = {_C.compression_level: LEVEL, _C.checksum_flag: 1, _C.content_size_flag: 1}
    _compress(source, target, zstd.ZstdCompressor(options=options))


def make_delta(old: bytes, new: Path, delta: Path) -> None:
    """Write what turns `old` (see `delta_source`) into the file `new`.

    Raises:
        OSError: the disk refuses.
    """
    window = min(max((len(old) + new.stat().st_size).bit_length(), 10), _MAX_WINDOW_LOG)
    options: dict[int, int] = {
        _C.compression_level: LEVEL,
        _C.window_log: window,
        _C.enable_long_distance_matching: 1,
        _C.checksum_flag: 1,
        _C.content_size_flag: 1,
    }
    _compress(new, delta, zstd.ZstdCompressor(options=options, zstd_dict=zstd.ZstdDict(old, is_raw=True).as_prefix))


def _compress(source: Path, target: Path, compressor: zstd.ZstdCompressor) -> None:
    # With the size known beforehand the reader needs no larger buffer than the content.
    compressor.set_pledged_input_size(source.stat().st_size)
    with source.open("rb") as stream, target.open("wb") as output:
        while chunk := stream.read(_CHUNK):
            output.write(compressor.compress(chunk))
        output.write(compressor.flush())


def delta_source(manifest: PackManifest, folder: Path) -> bytes | None:
    """What deltas from a pack start from: its files one after the other; None for a pack too large or too small.

    Raises:
        OSError: a file cannot be read.
    """
    if not _SMALLEST_PREFIX <= manifest.size <= MAX_DELTA_PACK_BYTES:
        return None
    return b"".join((folder / file.name).read_bytes() for file in manifest.files)


def unpack(packed: Path, folder: Path, *, size: int, sha256: str, prefix: bytes | None = None) -> PackManifest:
    """Unpack an archive or a delta into an empty folder; returns the pack's manifest, which is not written.

    Nothing of it may be used before this returns: only then is the whole known to be what was signed.

    Args:
        packed: the archive, or the delta.
        folder: where the files go.
        size: bytes of the tar.
        sha256: of the tar, lower-case hex.
        prefix: what a delta starts from; None for an archive.

    Raises:
        UpdateMismatch: it is not what was signed.
        PackCorrupt: it is what was signed, but is no pack.
        OSError: the disk refuses.
    """
    with packed.open("rb") as stream:
        tar = _Unpacked(stream, prefix, size)
        try:
            manifest = _extract(tar, folder)
        except (tarfile.TarError, EOFError, ValueError) as error:
            tar.drain()  # whoever sent something else is to be told that first
            tar.check(sha256)
            raise PackCorrupt(f"{packed.name} holds no pack: {error}") from error
        except PackCorrupt:
            tar.drain()
            tar.check(sha256)
            raise
        tar.drain()
        tar.check(sha256)
    return manifest


def _extract(tar: _Unpacked, folder: Path) -> PackManifest:
    with tarfile.open(fileobj=tar, mode="r|") as archive:
        members = iter(archive)
        head = next(members, None)
        if head is None or head.name != MANIFEST_NAME or not _is_plain(head) or head.size > MAX_MANIFEST_BYTES:
            raise PackCorrupt(f"an archive of a pack begins with its {MANIFEST_NAME}")
        manifest = parse_manifest(_read(archive, head), origin="an archive")
        # Only names and sizes the manifest lists are written, whatever else the tar says: links, owners, paths.
        for file in manifest.files:
            member = next(members, None)
            if member is None or member.name != file.name or not _is_plain(member) or member.size != file.size:
                raise PackCorrupt(f"pack {manifest.name} lacks {file.name}")
            source = archive.extractfile(member)
            assert source is not None  # it is a regular file
            with (folder / file.name).open("wb") as output:
                while chunk := source.read(_CHUNK):
                    output.write(chunk)
        if next(members, None) is not None:
            raise PackCorrupt(f"pack {manifest.name} has files its manifest does not list")
    return manifest


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether it is a file with all of its bytes in the tar: the holes of a sparse one take no space in it."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    assert stream is not None  # it is a regular file
    return stream.read()


class _Unpacked(io.RawIOBase):
    """The tar inside a frame: hashed as it is read, and never longer than it was signed to be."""

    def __init__(self, stream: IO[bytes], prefix: bytes | None, size: int) -> None:
        super().__init__()
        self._chunks = _decompressed(stream, prefix)
        self._size = size
        self._pending = memoryview(b"")
        self._digest = hashlib.sha256()
        self._done = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        if not self._pending:
            self._pending = memoryview(next(self._chunks, b""))
        count = min(len(view), len(self._pending))
        view[:count] = self._pending[:count]
        self._digest.update(self._pending[:count])
        self._pending = self._pending[count:]
        self._done += count
        if self._done > self._size:
            raise UpdateMismatch(f"an archive unpacks to more than the {self._size} bytes that were signed")
        return count

    def drain(self) -> None:
        """Read what is left."""
        buffer = bytearray(_CHUNK)
        while self.readinto(buffer):
            pass

    def check(self, sha256: str) -> None:
        """Raise `UpdateMismatch` unless everything that was read is what was signed."""
        if self._done != self._size or self._digest.hexdigest() != sha256:
            raise UpdateMismatch("an archive does not unpack to what was signed")


def _decompressed(stream: IO[bytes], prefix: bytes | None) -> Iterator[bytes]:
    """The content of one frame, in chunks of bounded size.

    Raises:
        UpdateMismatch: it is damaged, or more than one frame.
    """
    dictionary = None if prefix is None else zstd.ZstdDict(prefix, is_raw=True).as_prefix
    decompressor = zstd.ZstdDecompressor(zstd_dict=dictionary, options={_D.window_log_max: _MAX_WINDOW_LOG})
    try:
        while not decompressor.eof:
            data = stream.read(_CHUNK) if decompressor.needs_input else b""
            if decompressor.needs_input and not data:
                raise UpdateMismatch("an archive is cut off")
            if chunk := decompressor.decompress(data, _CHUNK):
                yield chunk
    except zstd.ZstdError as error:
        raise UpdateMismatch(f"an archive is damaged: {error}") from error
    if decompressor.unused_data or stream.read(1):
        raise UpdateMismatch("an archive has something after its end")
