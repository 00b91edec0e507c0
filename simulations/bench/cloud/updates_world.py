"""Repositories, devices and packs for the bench of updates."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from securesystemslib.signer import CryptoSigner

from cloud.packs.publishing import Publisher, RoleKeys
from cloud.packs.publishing_files import PublishingOptions
from cloud.packs.publishing_roles import ROLES
from shared.clock import Clock, SystemClock
from shared.errors import WaywordError
from shared.models.manifest import (
    MANIFEST_NAME,
    PackManifest,
    Task,
    describe_file,
    dump_manifest,
)
from shared.models.packs import InstalledPack, PackStore
from shared.updates.repositories import FolderRepository, Repository
from shared.updates.updater import PackOutcome, PackUpdater, pin_root

PACK: Final = "bench-pack"


class Shifted(SystemClock):
    """The machine's clock, some seconds ahead."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead

    def wall(self) -> float:
        return super().wall() + self.ahead


class Workshop:
    """A publisher with its keys.

    Args:
        folder: of the repository.
        thresholds: signatures a role takes, which has as many keys; one for those not named.
        options: how it is kept.
    """

    def __init__(
        self,
        folder: Path,
        *,
        thresholds: Mapping[str, int] | None = None,
        options: PublishingOptions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.keys = {
            role: [CryptoSigner.generate_ed25519() for _ in range((thresholds or {}).get(role, 1))] for role in ROLES
        }
        self.publisher = Publisher(folder, clock=self.clock)
        self.publisher.init({role: RoleKeys(keys, len(keys)) for role, keys in self.keys.items()}, options)

    @property
    def folder(self) -> Path:
        """The repository."""
        return self.publisher.files.folder

    @property
    def root(self) -> bytes:
        """What devices are enrolled with."""
        return (self.publisher.files.metadata / "1.root.json").read_bytes()

    def signers(self, *roles: str) -> dict[str, CryptoSigner]:
        """The keys of some roles; of all when none is named."""
        return {key.public_key.keyid: key for role in roles or ROLES for key in self.keys[role]}

    def add(self, *packs: Path) -> None:
        """Publish with every key."""
        if self.publisher.add(packs, self.signers()):
            raise AssertionError("every key was at hand")


class Device:
    """A store that was enrolled."""

    def __init__(self, folder: Path, root: bytes) -> None:
        self.root = folder
        pin_root(PackStore(folder), root)

    def update(self, source: Repository | Path, *names: str, clock: Clock | None = None) -> list[PackOutcome]:
        """As a process that has just started."""
        repository = FolderRepository(source) if isinstance(source, Path) else source
        return PackUpdater(PackStore(self.root), repository, clock=clock or SystemClock()).update(names or None)

    def version(self, name: str = PACK) -> str:
        """Of the installed pack, every hash checked."""
        return PackStore(self.root).verify(name).version

    def copy(self, folder: Path) -> Device:
        """A device in the same state."""
        shutil.copytree(self.root, folder, symlinks=True)
        twin = Device.__new__(Device)
        twin.root = folder
        return twin


def made_pack(folder: Path, version: str, files: Mapping[str, bytes]) -> Path:
    """The folder of a pack with these files."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    manifest = PackManifest(
        name=PACK,
        version=version,
        task=Task.DETECTION,
        languages=(),
        direction=None,
        files=tuple(describe_file(folder / name) for name in files),
        encoding_version=1,
        licence="Apache-2.0",
        source="made by the bench",
        card={},
    )
    (folder / MANIFEST_NAME).write_bytes(dump_manifest(manifest))
    return folder


def derived_pack(pack: InstalledPack, folder: Path, version: str, change: Callable[[Path], object]) -> Path:
    """A copy of an installed pack as another version, with changed files.

    Args:
        pack: the original.
        folder: of the copy.
        version: of the copy.
        change: changes the files in the folder.
    """
    folder.mkdir(parents=True)
    for file in pack.manifest.files:
        shutil.copyfile(pack.path(file.name), folder / file.name)
    change(folder)
    files = tuple(describe_file(folder / file.name) for file in pack.manifest.files)
    manifest = replace(pack.manifest, version=version, files=files)
    (folder / MANIFEST_NAME).write_bytes(dump_manifest(manifest))
    return folder


def retrain(path: Path, share: float, *, seed: int) -> float:
    """Change the last `share` of a model's weight bytes, each weight by noise of a hundredth of its tensor's spread.

    What lies before them, in the order of the file, stays, as when the layers near the input are frozen. Tensors are
    changed whole; returns the share that was.

    Raises:
        WaywordError: its weights are kept in a way that this does not know.
    """
    import onnx  # only this bench changes models

    generator = np.random.default_rng(seed)
    model = onnx.load(str(path))
    weights = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) > 1024]
    if not weights:
        raise WaywordError(f"{path.name} has no weights of the kind that this bench changes")
    total, done = sum(len(tensor.raw_data) for tensor in weights), 0
    for tensor in reversed(weights):
        if done >= share * total:
            break
        done += len(tensor.raw_data)
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            noise = generator.normal(0.0, 0.01 * float(values.std()) + 1e-12, values.shape)
            changed = (values + noise).astype(np.float32)
        else:
            # An integer weight moves by one step, or not at all.
            steps = generator.integers(-1, 2, values.shape)
            bounds = np.iinfo(values.dtype)
            changed = np.clip(values.astype(np.int64) + steps, bounds.min, bounds.max).astype(values.dtype)
        tensor.raw_data = np.ascontiguousarray(changed).tobytes()
    onnx.save(model, str(path))
    return done / total
