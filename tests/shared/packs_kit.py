"""Small packs, wheels and recipes for the tests of the pack store."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shared.models.catalogue import Recipe
from shared.models.manifest import MANIFEST_NAME, PackFile, PackManifest, Task, dump_manifest
from shared.models.wheels import Member, WheelSource

WHEEL = "wayword_fake_pack-1.0-py3-none-any.whl"
REQUIREMENT = "wayword-fake-pack==1.0"


def file_of(name: str, data: bytes) -> PackFile:
    return PackFile(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def manifest_of(name: str, files: Mapping[str, bytes], *, version: str = "1") -> PackManifest:
    return PackManifest(
        name=name,
        version=version,
        task=Task.DETECTION,
        languages=(),
        direction=None,
        files=tuple(file_of(file, data) for file, data in files.items()),
        encoding_version=1,
        licence="Apache-2.0",
        source="made in a test",
        card={"known_failures": ["detects nothing"]},
        encoding={"binarise": 0.2},
    )


def pack_folder(folder: Path, name: str, files: Mapping[str, bytes], *, version: str = "1", encoding: int = 1) -> Path:
    """A folder with a manifest and its files, as `--from FOLDER` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    manifest = replace(manifest_of(name, files, version=version), encoding_version=encoding)
    (folder / MANIFEST_NAME).write_bytes(dump_manifest(manifest))
    return folder


def fake_wheel(folder: Path, members: Mapping[str, bytes]) -> Path:
    """A wheel whose module refuses to be imported, with these data files."""
    folder.mkdir(parents=True, exist_ok=True)
    info = "wayword_fake_pack-1.0.dist-info"
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("wayword_fake_pack/__init__.py", "raise SystemExit('a wheel of packs was imported')")
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: wayword-fake-pack\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def recipe_of(name: str, members: Mapping[str, bytes], *, version: str = "1") -> Recipe:
    """A catalogue entry for files of `fake_wheel`, pinned to these bytes."""
    return Recipe(
        name=name,
        version=version,
        task=Task.DETECTION,
        languages=(),
        source=WheelSource(
            REQUIREMENT,
            tuple(Member(path, file_of(path.rpartition("/")[2], data)) for path, data in members.items()),
        ),
        licence="Apache-2.0",
        card={},
        encoding={"binarise": 0.2},
    )


def visible(root: Path) -> list[str]:
    """What a user sees in the store, staging leftovers included."""
    leftovers = [f".staging/{path.name}" for path in (root / ".staging").glob("*")]
    return sorted([path.name for path in root.iterdir() if not path.name.startswith(".")] + leftovers)
