"""What a pack says about itself, and how a file is held against it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from shared.errors import PackCorrupt, PackUnsupported, StorageError
from shared.limits import MAX_PACK_FILE_BYTES, MAX_PACK_FILES
from shared.models.bergamot.layout import FORMAT_VERSION

MANIFEST_NAME: Final = "manifest.json"
PACK_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HASH_CHUNK: Final = 1 << 20


class Task(StrEnum):
    """What a pack's model does."""

    DETECTION = "detection"
    RECOGNITION = "recognition"
    ORIENTATION = "orientation"
    TRANSLATION = "translation"
    CASCADE = "cascade"
    """Judges readings: see `metamodel`."""


KNOWN_ENCODINGS: Final[Mapping[Task, frozenset[int]]] = {task: frozenset({1}) for task in Task}
"""Encoding versions this runtime can feed; a pack with any other is refused."""


@dataclass(frozen=True)
class PackFile:
    """One file: its plain name, lower-case hex SHA-256 and size in bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class PackManifest:
    """What a pack says about itself; the JSON of ``manifest.json`` has the same fields.

    Attributes:
        name: lower-case letters, digits and hyphens.
        version: version of the model, shown in readings.
        task: what the model does.
        languages: ISO 639-1 codes it serves; for recognition, the languages whose script it reads.
        direction: (source, target) of a translation pack, None otherwise.
        files: every file of the pack but the manifest.
        encoding_version: version of the feature encoding the model was trained with.
        licence: SPDX expression, or a sentence where none is established.
        source: where the files came from, for people.
        card: model card: measured numbers and known failures.
        encoding: parameters of the feature encoding and the decoding, read by the runtime.
        sources: the upstream files this pack was made from, where they differ from `files`.
    """

    name: str
    version: str
    task: Task
    languages: tuple[str, ...]
    direction: tuple[str, str] | None
    files: tuple[PackFile, ...]
    encoding_version: int
    licence: str
    source: str
    card: Mapping[str, object]
    encoding: Mapping[str, object] = field(default_factory=dict)
    sources: tuple[PackFile, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


_MANIFEST: Final[TypeAdapter[PackManifest]] = TypeAdapter(PackManifest)


def parse_manifest(data: bytes, *, origin: str) -> PackManifest:
    """Read the JSON of a manifest.

    Args:
        data: the file's bytes.
        origin: where they came from, for the message.

    Raises:
        PackCorrupt: no JSON, a field is missing or of the wrong type, or a name could leave the pack's folder.
    """
    try:
        manifest = _MANIFEST.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise PackCorrupt(f"manifest of {origin} is wrong: {where}: {first['msg']}") from error
    if not PACK_NAME.fullmatch(manifest.name):
        raise PackCorrupt(f"manifest of {origin} is wrong: {manifest.name!r} is no pack name")
    names = [file.name for file in manifest.files]
    if not 0 < len(names) <= MAX_PACK_FILES or len(set(names)) != len(names):
        raise PackCorrupt(f"manifest of {origin} is wrong: it must list 1 to {MAX_PACK_FILES} different files")
    for file in manifest.files:
        if not _FILE_NAME.fullmatch(file.name) or file.name == MANIFEST_NAME:
            raise PackCorrupt(f"manifest of {origin} is wrong: {file.name!r} is no plain file name")
        if not 0 <= file.size <= MAX_PACK_FILE_BYTES:
            raise PackCorrupt(f"manifest of {origin} is wrong: {file.name} has {file.size} bytes")
    return manifest


def dump_manifest(manifest: PackManifest) -> bytes:
    """The JSON of a manifest; equal manifests give equal bytes."""
    return _MANIFEST.dump_json(manifest, indent=2) + b"\n"


def check_supported(manifest: PackManifest) -> None:
    """Raise `PackUnsupported` unless this runtime knows the manifest's encoding version and, if it says so, the format
    it was converted for."""
    known = KNOWN_ENCODINGS[manifest.task]
    if manifest.encoding_version not in known:
        raise PackUnsupported(
            f"pack {manifest.name} {manifest.version} uses {manifest.task} encoding {manifest.encoding_version}; "
            f"this version of wayword knows {', '.join(map(str, sorted(known)))}",
            hint="Update wayword, or install an older version of the pack",
        )
    conversion = manifest.encoding.get("conversion")
    if manifest.task is Task.TRANSLATION and conversion is not None and conversion != FORMAT_VERSION:
        raise PackUnsupported(
            f"pack {manifest.name} {manifest.version} was converted for format {conversion}, this version of wayword "
            f"knows {FORMAT_VERSION}",
            hint=f"run: wayword-phone packs install {manifest.name}",
        )


def describe_file(path: Path) -> PackFile:
    """Hash and measure a file.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while chunk := stream.read(_HASH_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return PackFile(name=path.name, sha256=digest.hexdigest(), size=size)


def check_file(path: Path, expected: PackFile, *, owner: str, hint: str) -> None:
    """Compare a file with what a manifest or a catalogue says of it.

    Args:
        path: the file to check.
        expected: its size and hash.
        owner: pack or source it belongs to, for the message.
        hint: what the user can do about a mismatch.

    Raises:
        PackCorrupt: it is absent, or its size or hash differ.
        StorageError: it cannot be read.
    """
    try:
        size = path.stat().st_size
        if size != expected.size:
            raise PackCorrupt(f"{expected.name} of {owner} has {size} bytes instead of {expected.size}", hint=hint)
        actual = describe_file(path)
    except FileNotFoundError as error:
        raise PackCorrupt(f"{expected.name} of {owner} is missing", hint=hint) from error
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if actual.sha256 != expected.sha256:
        raise PackCorrupt(f"{expected.name} of {owner} has the wrong SHA-256", hint=hint)
