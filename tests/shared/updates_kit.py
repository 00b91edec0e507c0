"""A publisher with real keys, a device that follows it, and what an attacker in between can do."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from packs_kit import pack_folder
from securesystemslib.signer import CryptoSigner

from cloud.packs.publishing import Publisher, RoleKeys
from cloud.packs.publishing_files import PublishingOptions
from cloud.packs.publishing_roles import ROLES
from shared.clock import SystemClock
from shared.errors import PackMissing
from shared.models.packs import PackStore
from shared.updates.repositories import FolderRepository, Progress, Repository
from shared.updates.updater import PackOutcome, PackUpdater, pin_root

PACK = "demo"
DAY = 86_400.0


def weights(seed: int, size: int = 40_000) -> bytes:
    """Bytes that do not compress, like weights."""
    return random.Random(seed).randbytes(size)


OLD = {"model.onnx": weights(1), "dictionary.txt": b"a\nb\n"}
NEW = {"model.onnx": OLD["model.onnx"][:30_000] + weights(2, 10_000), "dictionary.txt": b"a\nb\nc\n"}


class SetClock(SystemClock):
    """Stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class World:
    """A publisher's folder and a device's store.

    Args:
        folder: where everything goes.
        thresholds: signatures a role takes; it has as many keys. One for those not named.
        options: how the repository is kept.
    """

    def __init__(
        self, folder: Path, *, thresholds: dict[str, int] | None = None, options: PublishingOptions | None = None
    ) -> None:
        self.folder = folder
        self.clock = SetClock()
        self.repo = folder / "repo"
        self.keys = {
            role: [CryptoSigner.generate_ed25519() for _ in range((thresholds or {}).get(role, 1))] for role in ROLES
        }
        self.publisher = Publisher(self.repo, clock=self.clock)
        self.publisher.init({role: RoleKeys(keys, len(keys)) for role, keys in self.keys.items()}, options)
        self.store = PackStore(folder / "store")
        pin_root(self.store, (self.repo / "metadata/1.root.json").read_bytes())

    def signers(self, *roles: str) -> dict[str, CryptoSigner]:
        """The keys of some roles; of all when none is named."""
        return {key.public_key.keyid: key for role in roles or ROLES for key in self.keys[role]}

    def pack(self, version: str, files: dict[str, bytes], *, name: str = PACK, encoding: int = 1) -> Path:
        """The folder of a pack."""
        return pack_folder(self.folder / f"{name}-{version}", name, files, version=version, encoding=encoding)

    def publish(self, version: str, files: dict[str, bytes], *, name: str = PACK, encoding: int = 1) -> None:
        """Publish a version with every key."""
        assert self.publisher.add([self.pack(version, files, name=name, encoding=encoding)], self.signers()) == []

    def update(self, *names: str, source: Repository | Path | None = None) -> list[PackOutcome]:
        """What the device does; without names it updates what it has."""
        if source is None or isinstance(source, Path):
            source = FolderRepository(source or self.repo)
        return PackUpdater(PackStore(self.store.root), source, clock=self.clock).update(names or None)

    def copy(self, name: str) -> Path:
        """The repository as it is now, for an attacker to keep or to change."""
        shutil.copytree(self.repo, self.folder / name)
        return self.folder / name

    def installed(self, name: str = PACK) -> str | None:
        """Version of the installed pack, all its hashes checked; None for none."""
        try:
            return PackStore(self.store.root).verify(name).version
        except PackMissing:
            return None


class Recording:
    """A repository that keeps what it was asked for, and may change or end what it gives.

    Args:
        inner: the repository.
        change: makes of a path and its bytes those that are given.
    """

    def __init__(self, inner: Repository, change: Callable[[str, bytes], bytes] = lambda _path, data: data) -> None:
        self.inner = inner
        self.change = change
        self.asked: list[str] = []

    def get(self, path: str, *, limit: int) -> bytes:
        self.asked.append(path)
        return self.change(path, self.inner.get(path, limit=limit))

    def download(self, path: str, target: Path, *, size: int, parts: Path, progress: Progress) -> None:
        self.asked.append(path)
        self.inner.download(path, target, size=size, parts=parts, progress=progress)
        target.write_bytes(self.change(path, target.read_bytes()))
