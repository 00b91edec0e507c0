"""The files of a published translation model: what their names say, and how they are unpacked and read."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Final

from shared.errors import PackCorrupt, PackUnsupported
from shared.limits import MAX_MANIFEST_BYTES, MAX_REFERENCE_LINES, MAX_UPSTREAM_MODEL_BYTES
from shared.models.language_tags import split_pair

_NAME: Final = re.compile(
    r"(?:(?P<model>model)|(?P<lex>lex)(?:\.\d{1,4}){0,3}|(?P<vocab>(?:src|trg)?vocab))"
    r"\.(?P<pair>[A-Za-z]{2,3}[A-Za-z0-9_-]{2,20})"
    r"(?(model)(?:\.[a-z0-9]{1,16}){0,3}\.bin|(?(lex)\.s2t\.bin|\.spm))"
    r"(?P<packed>\.gz|\.zst)?"
)
_SIDE: Final = re.compile(r"vocab\.(?P<tag>[A-Za-z]{2,3})\.spm(?P<packed>\.gz|\.zst)?")
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,31}")
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_CHUNK: Final = 1 << 20


class FileKind(StrEnum):
    """One of the files of a published model; the values are those of Firefox's registry."""

    MODEL = "model"
    SHORTLIST = "lex"
    VOCABULARY = "vocab"
    SOURCE_VOCABULARY = "srcvocab"
    TARGET_VOCABULARY = "trgvocab"


@dataclass(frozen=True)
class NativeName:
    """What the name of a published file says.

    Attributes:
        name: the name.
        kind: which of a model's files it is.
        pair: the two language tags as the file spells them.
        packed: whether it is compressed.
    """

    name: str
    kind: FileKind
    pair: str
    packed: bool

    @property
    def plain(self) -> str:
        """The name without the ending of a compression."""
        return self.name.rpartition(".")[0] if self.packed else self.name


def parse_name(name: str) -> NativeName | None:
    """What a file name says; None for a file that belongs to no published model."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    kind = FileKind(match["model"] or match["lex"] or match["vocab"])
    return NativeName(name, kind, match["pair"], match["packed"] is not None)


def group_names(names: Iterable[str]) -> dict[str, dict[FileKind, NativeName]]:
    """The models among the names of a folder, by pair: those that have a network. Plain files go before packed ones."""
    names = sorted(names)
    groups: dict[str, dict[FileKind, NativeName]] = {}
    for name in names:
        parsed = parse_name(name)
        if parsed is not None:
            known = groups.setdefault(parsed.pair, {}).get(parsed.kind)
            if known is None or known.packed:
                groups[parsed.pair][parsed.kind] = parsed
    models = {pair: files for pair, files in groups.items() if FileKind.MODEL in files}
    for pair, files in models.items():
        files.update(_sides(pair, files, names))
    return models


def _sides(pair: str, files: Mapping[FileKind, NativeName], names: Iterable[str]) -> dict[FileKind, NativeName]:
    """The vocabularies of a pair that are named by one language each, where it has no others."""
    if any(kind not in (FileKind.MODEL, FileKind.SHORTLIST) for kind in files):
        return {}
    found: dict[str, NativeName] = {}
    for name in sorted(names, reverse=True):  # a plain name after its packed one
        match = _SIDE.fullmatch(name)
        if match is not None:
            found[match["tag"]] = NativeName(name, FileKind.VOCABULARY, pair, match["packed"] is not None)
    try:
        source, target = split_pair(pair)
    except PackUnsupported:
        return {}  # whoever wants this model is told so
    if source not in found or target not in found:
        return {}
    return {FileKind.SOURCE_VOCABULARY: found[source], FileKind.TARGET_VOCABULARY: found[target]}


def canonical_name(kind: FileKind, pair: str) -> str:
    """The name Firefox publishes such a file under."""
    if kind is FileKind.MODEL:
        return f"model.{pair}.intgemm.alphas.bin"
    return f"lex.50.50.{pair}.s2t.bin" if kind is FileKind.SHORTLIST else f"{kind.value}.{pair}.spm"


def is_version(text: object) -> bool:
    """Whether something may be the version of a pack."""
    return isinstance(text, str) and _VERSION.fullmatch(text) is not None


def unpack(packed: Path, target: Path, *, limit: int = MAX_UPSTREAM_MODEL_BYTES) -> None:
    """Copy a file, unpacking it where it is packed with gzip or Zstandard, whatever its name says.

    Raises:
        PackCorrupt: it is cut off, damaged, or longer than `limit` when unpacked.
        OSError: it cannot be read or written.
    """
    with packed.open("rb") as stream, target.open("wb") as output:
        head = stream.read(len(_ZSTD))
        stream.seek(0)
        if head == _ZSTD:
            plain = _unzstd(stream, packed.name)
        elif head[: len(_GZIP)] == _GZIP:
            plain = _gunzip(stream, packed.name)
        else:
            plain = iter(lambda: stream.read(_CHUNK), b"")
        size = 0
        for data in plain:
            size += len(data)
            if size > limit:
                raise PackCorrupt(f"{packed.name} is longer than {limit} bytes when unpacked")
            output.write(data)


def _gunzip(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The content of a gzip file, which may have several members, in pieces of at most `_CHUNK` bytes."""
    unpacker = zlib.decompressobj(wbits=31)
    rest = b""
    while True:
        data = rest or stream.read(_CHUNK)
        if not data and not unpacker.eof:
            raise PackCorrupt(f"{name} is cut off")
        if unpacker.eof:
            if not data:
                return
            unpacker = zlib.decompressobj(wbits=31)
        try:
            plain = unpacker.decompress(data, _CHUNK)
        except zlib.error as error:
            raise PackCorrupt(f"{name} is damaged: {error}") from error
        rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        yield plain


def _unzstd(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The same for a Zstandard file, which may have several frames."""
    # Imported here: most models are packed with gzip.
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    # A frame may ask for a window of 2 GiB; 128 MiB is what every decoder must grant (RFC 8878, section 3.1.1.1.2).
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 27}
    unpacker = zstd.ZstdDecompressor(options=options)
    rest = b""
    while True:
        data = rest
        if not rest and (unpacker.eof or unpacker.needs_input):
            data = stream.read(_CHUNK)
            if not data and not unpacker.eof:
                raise PackCorrupt(f"{name} is cut off")
        if unpacker.eof:
            if not data:
                return
            unpacker = zstd.ZstdDecompressor(options=options)
        try:
            plain = unpacker.decompress(data, _CHUNK)
        except zstd.ZstdError as error:
            raise PackCorrupt(f"{name} is damaged: {error}") from error
        rest = unpacker.unused_data if unpacker.eof else b""
        yield plain


def read_references(path: Path) -> list[tuple[str, str]]:
    """The pairs of a ``reference.tsv``: source, tab, expected translation; empty lines and those with a # are left out.

    Raises:
        PackCorrupt: it is too long, no text, or a line has no tab.
        OSError: it cannot be read.
    """
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise PackCorrupt(f"{path.name} is too large")
    try:
        lines = path.read_bytes().decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise PackCorrupt(f"{path.name} is not UTF-8") from error
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        source, tab, expected = line.partition("\t")
        if not tab or not source.strip() or not expected.strip():
            raise PackCorrupt(f"line {number} of {path.name} is no pair of texts with a tab between them")
        pairs.append((source.strip(), expected.strip()))
    if len(pairs) > MAX_REFERENCE_LINES:
        raise PackCorrupt(f"{path.name} has {len(pairs)} pairs, more than {MAX_REFERENCE_LINES}")
    return pairs
