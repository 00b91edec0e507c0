"""The attacks that The Update Framework names, tried on a device that talks to a real service over a real socket.

Whoever attacks has the repository's folder, the wire, and the keys a row says; the device has version 1 of a pack and
the root it was enrolled with. An attack fails when the device refuses with the reason a row expects and still runs
what it had.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Timestamp

from cloud.packs.publishing import Publisher, RoleKeys
from phone.settings import PhoneSettings
from phone.updates_source import repository_of
from shared.errors import (
    UpdateError,
    UpdateExpired,
    UpdateMismatch,
    UpdateRollback,
    UpdateTooSlow,
    UpdateUntrusted,
)
from shared.models import download as downloading
from shared.models.packs import PackStore
from shared.updates import repositories
from shared.updates.updater import PackUpdater
from simulations.bench.cloud.updates_relay import Relay
from simulations.bench.cloud.updates_world import PACK, Device, Shifted, Workshop, made_pack

DAY: Final = 86_400.0
SLOW_BYTES_PER_S: Final = 300.0
GRACE_S: Final = 4.0
"""Stands in for the product's grace of a minute where the server is slow, so that the bench ends."""
ENDLESS_BYTES: Final = 200_000_000
OLD: Final = "1"


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack.

    Attributes:
        name: as the specification calls it, and how it is tried.
        run: changes the served folder; returns what the device's clock is ahead by.
        expected: the reason the device gives.
    """

    name: str
    run: Callable[[Scene], float]
    expected: type[UpdateError]


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of an attack.

    Attributes:
        attack: it.
        got: name of the reason; "installed" or "nothing" where there was none.
        version: the device runs afterwards.
        passed: bytes that reached the device.
    """

    attack: Attack
    got: str
    version: str
    passed: int

    @property
    def failed(self) -> bool:
        """Whether it got nowhere."""
        return self.got == self.attack.expected.__name__ and self.version == OLD


@dataclass
class Scene:
    """What an attacker can reach.

    Attributes:
        served: the folder the service hands out, holding version 2, for the attacker to change.
        before: the repository before version 2 was published.
        workshop: the genuine publisher; an attacker uses only the keys its row says.
        relay: the wire.
        device: for attacks that take two steps.
        scratch: an empty folder.
    """

    served: Path
    before: Path
    workshop: Workshop
    relay: Relay
    device: Device
    source: Callable[[], list[str]]
    scratch: Path

    @property
    def metadata(self) -> Path:
        return self.served / "metadata"

    def serve(self, folder: Path) -> None:
        """Hand out another repository from now on."""
        for name in ("metadata", "targets"):
            shutil.rmtree(self.served / name, ignore_errors=True)
            shutil.copytree(folder / name, self.served / name)

    def timestamp(self, version: int, *, snapshot: int | None = None) -> None:
        """Sign with the stolen timestamp key that something is the newest."""
        metadata = Metadata[Timestamp].from_file(str(self.metadata / "timestamp.json"))
        metadata.signed.version = version
        if snapshot is not None:
            metadata.signed.snapshot_meta = MetaFile(snapshot)
        metadata.sign(self.workshop.keys["timestamp"][0])
        metadata.to_file(str(self.metadata / "timestamp.json"))


def _archive_replaced(scene: Scene) -> float:
    for path in (scene.served / "targets" / PACK / "2").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    return 0.0


def _strangers_keys(scene: Scene) -> float:
    keys = {role: RoleKeys([CryptoSigner.generate_ed25519()]) for role in scene.workshop.keys}
    publisher = Publisher(scene.scratch / "evil", clock=scene.workshop.clock)
    publisher.init(keys)
    signers = {key.public_key.keyid: key for each in keys.values() for key in each.signers}
    publisher.add([made_pack(scene.scratch / "pack", "9", {"model.onnx": b"evil" * 1000})], signers)
    scene.serve(scene.scratch / "evil")
    return 0.0


def _rollback(scene: Scene) -> float:
    scene.source()  # the device sees that version 2 is out, but has no time to take it
    scene.serve(scene.before)
    return 0.0


def _rollback_with_timestamp_key(scene: Scene) -> float:
    scene.source()
    scene.serve(scene.before)
    scene.timestamp(1000)
    return 0.0


def _freeze(scene: Scene) -> float:
    scene.serve(scene.before)
    return 8 * DAY


def _endless_metadata(scene: Scene) -> float:
    with (scene.metadata / "timestamp.json").open("r+b") as file:
        file.truncate(ENDLESS_BYTES)
    return 0.0


def _endless_target(scene: Scene) -> float:
    for path in (scene.served / "targets" / PACK / "2").iterdir():
        with path.open("r+b") as file:
            file.truncate(ENDLESS_BYTES)
    return 0.0


def _mix_snapshot(scene: Scene) -> float:
    shutil.copyfile(scene.before / "metadata/2.snapshot.json", scene.metadata / "3.snapshot.json")
    return 0.0


def _mix_targets(scene: Scene) -> float:
    shutil.copyfile(scene.before / "metadata/2.targets.json", scene.metadata / "3.targets.json")
    return 0.0


def _below_threshold(scene: Scene) -> float:
    """One of the two targets keys, and both online ones."""
    targets = Publisher(scene.served, clock=scene.workshop.clock).files.published_targets()
    targets.signed.version = 50
    targets.sign(scene.workshop.keys["targets"][0])
    targets.to_file(str(scene.metadata / "50.targets.json"))
    snapshot = Metadata[Snapshot].from_file(str(scene.metadata / "3.snapshot.json"))
    snapshot.signed.version = 50
    snapshot.signed.meta["targets.json"] = MetaFile(50)
    snapshot.sign(scene.workshop.keys["snapshot"][0])
    snapshot.to_file(str(scene.metadata / "50.snapshot.json"))
    scene.timestamp(50, snapshot=50)
    return 0.0


def _slow(scene: Scene) -> float:
    scene.relay.rate = SLOW_BYTES_PER_S
    return 0.0


def _root_of_their_own(scene: Scene) -> float:
    root = Metadata[Root].from_file(str(scene.metadata / "1.root.json"))
    key = CryptoSigner.generate_ed25519()
    for keyid in list(root.signed.get_delegated_role("root").keyids):
        root.signed.revoke_key(keyid, "root")
    root.signed.add_key(key.public_key, "root")
    root.signed.roles["root"].threshold = 1
    root.signed.version = 2
    root.sign(key)
    root.to_file(str(scene.metadata / "2.root.json"))
    return 0.0


def _root_below_threshold(scene: Scene) -> float:
    """One of the two root keys signs the attacker's timestamp key in."""
    root = Metadata[Root].from_file(str(scene.metadata / "1.root.json"))
    root.signed.add_key(CryptoSigner.generate_ed25519().public_key, "timestamp")
    root.signed.version = 2
    root.sign(scene.workshop.keys["root"][0])
    root.to_file(str(scene.metadata / "2.root.json"))
    return 0.0


def _root_skips(scene: Scene) -> float:
    root = Metadata[Root].from_file(str(scene.metadata / "1.root.json"))
    root.signed.version = 3
    for key in scene.workshop.keys["root"]:
        root.sign(key, append=True)
    root.to_file(str(scene.metadata / "2.root.json"))
    return 0.0


ATTACKS: Final = (
    Attack("arbitrary software: the archive and delta replaced", _archive_replaced, UpdateMismatch),
    Attack("wrong keys: everything signed by a stranger", _strangers_keys, UpdateUntrusted),
    Attack("rollback: yesterday's repository", _rollback, UpdateRollback),
    Attack("rollback with the timestamp key stolen", _rollback_with_timestamp_key, UpdateRollback),
    Attack("indefinite freeze: nothing new for eight days", _freeze, UpdateExpired),
    Attack("endless data: a timestamp of 200 MB", _endless_metadata, UpdateMismatch),
    Attack("endless data: an archive of 200 MB", _endless_target, UpdateMismatch),
    Attack("mix-and-match: an older snapshot", _mix_snapshot, UpdateMismatch),
    Attack("mix-and-match: older targets", _mix_targets, UpdateMismatch),
    Attack("one of two targets keys and both online keys stolen", _below_threshold, UpdateUntrusted),
    Attack("slow retrieval: 300 bytes a second", _slow, UpdateTooSlow),
    Attack("wrong root chain: a root signed only by itself", _root_of_their_own, UpdateUntrusted),
    Attack("wrong root chain: one of two root keys stolen", _root_below_threshold, UpdateUntrusted),
    Attack("wrong root chain: a version left out", _root_skips, UpdateRollback),
)


def try_all(folder: Path, served: Path, port: int, progress: Callable[[str], None]) -> tuple[list[Tried], bool]:
    """Try each attack against a service that hands out `served`, and recover from a fast-forward in the end.

    Args:
        folder: for everything else.
        served: the folder that the service was started with; replaced for each attack.
        port: of the service.
        progress: told what is tried.

    Returns:
        What came of each, and whether a device recovered from a fast-forward.
    """
    data = bytes(range(256)) * 1000
    clock = Shifted()
    workshop = Workshop(folder / "genuine", thresholds={"root": 2, "targets": 2}, clock=clock)
    workshop.add(made_pack(folder / "pack-1", OLD, {"model.onnx": data}))
    device = Device(folder / "device", workshop.root)
    device.update(workshop.folder, PACK)
    shutil.copytree(workshop.folder, folder / "before")
    workshop.add(made_pack(folder / "pack-2", "2", {"model.onnx": data + b"better" * 100}))
    tried = []
    for number, attack in enumerate(ATTACKS):
        progress(f"attack: {attack.name}")
        with Relay(port) as relay:
            scratch = folder / f"scratch-{number}"
            scratch.mkdir()
            twin = device.copy(folder / f"device-{number}")
            scene = Scene(served, folder / "before", workshop, relay, twin, list, scratch)
            scene.serve(workshop.folder)
            scene.source = lambda twin=twin, relay=relay: _seen(twin, relay)  # type: ignore[misc]
            ahead = attack.run(scene)
            relay.passed = 0
            got = _update(twin, relay, Shifted(ahead), grace=GRACE_S if attack.run is _slow else None)
            tried.append(Tried(attack, got, twin.version(), relay.passed))
    progress("fast-forward, and new keys")
    with Relay(port) as relay:
        recovered = _fast_forward(folder, served, workshop, device.copy(folder / "device-forward"), relay)
    return tried, recovered


def _update(device: Device, relay: Relay, clock: Shifted, *, grace: float | None = None) -> str:
    """One update over the wire, as a phone makes it; returns its reason."""
    with ExitStack() as stack:
        if grace is not None:
            stack.callback(setattr, repositories, "GRACE", downloading.GRACE)
            setattr(repositories, "GRACE", grace)  # noqa: B010 - a constant to everybody else
        try:
            settings = PhoneSettings.load(None, cloud=relay.address)
            repository = stack.enter_context(repository_of("cloud", settings, clock=clock))
            outcomes = device.update(repository, clock=clock)
        except UpdateError as error:
            return type(error).__name__
    for outcome in outcomes:
        if outcome.problem is not None:
            return type(outcome.problem).__name__
    return "installed" if any(outcome.state == "updated" for outcome in outcomes) else "nothing"


def _seen(device: Device, relay: Relay) -> list[str]:
    """Let the device look at what is published, and take nothing."""
    settings = PhoneSettings.load(None, cloud=relay.address)
    clock = Shifted()
    with repository_of("cloud", settings, clock=clock) as repository:
        outcomes = PackUpdater(PackStore(device.root), repository, clock=clock).check()
    return [outcome.offered for outcome in outcomes]


def _fast_forward(folder: Path, served: Path, workshop: Workshop, device: Device, relay: Relay) -> bool:
    """Online keys are stolen and used to run versions up; new keys put it right."""
    scene = Scene(served, folder / "before", workshop, relay, device, list, folder)
    scene.serve(scene.before)
    snapshot = Metadata[Snapshot].from_file(str(scene.metadata / "2.snapshot.json"))
    snapshot.signed.version = 1_000_000
    snapshot.sign(workshop.keys["snapshot"][0])
    snapshot.to_file(str(scene.metadata / "1000000.snapshot.json"))
    scene.timestamp(1_000_000, snapshot=1_000_000)
    stuck = _update(device, relay, Shifted())
    scene.serve(workshop.folder)
    held_up = _update(device, relay, Shifted())
    for role in ("snapshot", "timestamp"):
        new = [CryptoSigner.generate_ed25519()]
        workshop.publisher.rotate(role, workshop.signers(), add=new)
        workshop.keys[role] = new
    workshop.publisher.refresh(workshop.signers())
    scene.serve(workshop.folder)
    freed = _update(device, relay, Shifted())
    return (stuck, held_up, freed) == ("nothing", UpdateRollback.__name__, "installed") and device.version() == "2"
