"""What a repository of packs says about each of them: the part of its signed metadata that is ours.

A repository is one of The Update Framework (TUF): see `docs/updates.md`. Its targets are, for each version of a pack::

    <name>/<version>/pack.tar.zst          the whole pack, with its manifest
    <name>/<version>/manifest.json         the manifest alone, for people
    <name>/<version>/from-<id>.zst         what turns an older version's files into that archive, unpacked

and the description below is the `custom` field of the first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from shared.errors import PackUnsupported, UpdateMismatch
from shared.limits import MAX_PUBLISHED_PACKS, MAX_UNPACKED_BYTES
from shared.models.manifest import KNOWN_ENCODINGS, PACK_NAME, PackManifest, Task

CUSTOM_KEY: Final = "wayword"
"""Where our description stands in a target's `custom`."""
ARCHIVE_NAME: Final = "pack.tar.zst"
TARGET_PATH: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}/[A-Za-z0-9][A-Za-z0-9._-]{0,63}/[a-z0-9][a-z0-9.-]{0,63}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PublishedDelta:
    """A delta from one older version.

    Attributes:
        path: target it is.
        from_version: version of the pack it starts from, for people.
        from_content: `content_id` of the pack it starts from.
        bytes: its size.
    """

    path: str
    from_version: str
    from_content: str
    bytes: int


@dataclass(frozen=True, slots=True)
class PublishedPack:
    """One version of a pack on offer.

    Attributes:
        path: target of its archive.
        name, version, task, languages, direction, encoding_version: as in its manifest.
        release: a number that grows with every publication; the version with the highest is the one to install.
        content: `content_id` of its manifest.
        bytes: size of its archive.
        unpacked_bytes, unpacked_sha256: of the archive without its compression, which is what a delta makes.
        deltas: from older versions.
    """

    path: str
    name: str
    version: str
    task: Task
    languages: tuple[str, ...]
    direction: tuple[str, str] | None
    encoding_version: int
    release: int
    content: str
    bytes: int
    unpacked_bytes: int
    unpacked_sha256: str
    deltas: tuple[PublishedDelta, ...] = ()

    def check_supported(self) -> None:
        """Raise `PackUnsupported` where this runtime is known not to feed the pack: before it is downloaded."""
        if self.encoding_version not in KNOWN_ENCODINGS[self.task]:
            raise PackUnsupported(
                f"pack {self.name} {self.version} uses {self.task} encoding {self.encoding_version}",
                hint="Update wayword",
            )


_PACK: Final = TypeAdapter(PublishedPack)


def content_id(manifest: PackManifest) -> str:
    """What a pack is, in 64 hex digits: SHA-256 over its name, version and files with their hashes and sizes.

    Two packs with the same id have the same files; the text of their manifests may differ in what older versions of
    wayword did not write.
    """
    lines = [f"{manifest.name} {manifest.version}\n"]
    lines += [f"{file.name} {file.size} {file.sha256}\n" for file in manifest.files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def target_folder(name: str, version: str) -> str:
    """Folder of a version's targets, such as "ocr-tiny-det/6.0".

    Raises:
        UpdateMismatch: the version cannot be part of a path.
    """
    folder = f"{name}/{version}"
    if not TARGET_PATH.fullmatch(f"{folder}/{ARCHIVE_NAME}"):
        raise UpdateMismatch(f"{version!r} of pack {name} cannot be published: use letters, digits, dots and dashes")
    return folder


def dump_published(pack: PublishedPack) -> Mapping[str, object]:
    """The description as it stands in signed metadata."""
    described: Mapping[str, object] = {CUSTOM_KEY: _PACK.dump_python(pack, mode="json", exclude={"path"})}
    return described


def parse_published(path: str, custom: object) -> PublishedPack | None:
    """The description of a target; None for one that is no pack's archive.

    Raises:
        UpdateMismatch: it is signed, but is no description.
    """
    described = custom.get(CUSTOM_KEY) if isinstance(custom, Mapping) else None
    if described is None:
        return None
    if not isinstance(described, Mapping):
        raise UpdateMismatch(f"the repository's description of {path[:200]} is wrong")
    try:
        pack = _PACK.validate_python({**described, "path": path})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UpdateMismatch(
            f"the repository's description of {path[:200]} is wrong: {where}: {first['msg']}"
        ) from error
    paths = [path, *(delta.path for delta in pack.deltas)]
    if not PACK_NAME.fullmatch(pack.name) or any(
        not TARGET_PATH.fullmatch(each) or not each.startswith(f"{pack.name}/") for each in paths
    ):
        raise UpdateMismatch(f"the repository's description of {path[:200]} names what is not its own")
    if not _HASH.fullmatch(pack.unpacked_sha256) or not 0 < pack.unpacked_bytes <= MAX_UNPACKED_BYTES:
        raise UpdateMismatch(f"the repository's description of {path[:200]} is wrong: unpacked size or hash")
    return pack


def current_packs(described: Iterable[PublishedPack]) -> dict[str, PublishedPack]:
    """The version of each pack that is to be installed, by name, sorted.

    Raises:
        UpdateMismatch: there are more packs than may be.
    """
    current: dict[str, PublishedPack] = {}
    for pack in described:
        known = current.get(pack.name)
        if known is None or pack.release > known.release:
            current[pack.name] = pack
    if len(current) > MAX_PUBLISHED_PACKS:
        raise UpdateMismatch(f"the repository has more than {MAX_PUBLISHED_PACKS} packs")
    return dict(sorted(current.items()))
