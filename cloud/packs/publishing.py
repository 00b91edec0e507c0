"""Publishing packs so that devices can tell what is genuine: a repository of The Update Framework (TUF).

Four roles sign: *root* says whose keys count for what, *targets* which packs there are, *snapshot* which metadata
belongs together, *timestamp* that this is the newest. Root and targets keys can lie in a drawer; the other two are at
hand, sign often and for short, and whoever steals them can at worst hold updates back.

Every change is drafted, signed, and published once it has the signatures it needs, in whatever order and on whatever
machines they come. Specification: https://theupdateframework.github.io/specification/latest/
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp

from cloud.packs.publishing_files import Expiry, PublishingOptions, RepositoryFiles, packs_of, write_public
from cloud.packs.publishing_packs import build_targets, read_pack
from cloud.packs.publishing_roles import (
    ROLES,
    Signers,
    found_keys,
    keyids_of,
    missing_keys,
    missing_signatures,
    set_keys,
    sign,
    verified,
)
from shared.clock import Clock
from shared.errors import UsageError
from shared.limits import MAX_PUBLISHED_PACKS
from shared.updates.published import target_folder

ONLINE: Final = ("snapshot", "timestamp")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A change that is not published yet.

    Attributes:
        what: it, for people.
        role: whose signatures it lacks.
        missing: how many.
    """

    what: str
    role: str
    missing: int


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """The keys of one role at the start.

    Attributes:
        signers: theirs.
        threshold: signatures it takes.
    """

    signers: Sequence[CryptoSigner]
    threshold: int = 1


class Publisher:
    """A repository and what can be done to it.

    Args:
        folder: the repository.
        clock: dates of expiry.
    """

    def __init__(self, folder: Path, *, clock: Clock) -> None:
        self.files = RepositoryFiles(folder)
        self._clock = clock

    def init(self, keys: Mapping[str, RoleKeys], options: PublishingOptions | None = None) -> None:
        """Make an empty repository.

        Args:
            keys: of each of `ROLES`.
            options: how it is kept.

        Raises:
            UsageError: there is a repository already, or the keys of a role are fewer than its threshold.
            StorageError: the disk refuses.
        """
        options = options or PublishingOptions()
        with self.files.changing():
            if self.files.exists():
                raise UsageError(f"{self.files.folder} is a repository already")
            root = Root(version=1, expires=self._expires("root", options.expires), consistent_snapshot=True)
            for role in ROLES:
                set_keys(root, role, [signer.public_key for signer in keys[role].signers], keys[role].threshold)
            self.files.metadata.mkdir(exist_ok=True)
            self.files.targets.mkdir(exist_ok=True)
            self.files.write_options(options)
            signers = {signer.public_key.keyid: signer for each in keys.values() for signer in each.signers}
            targets = Metadata(Targets(version=1, expires=self._expires("targets", options.expires)))
            first = Metadata(root)
            sign(first, root.get_delegated_role("root").keyids, signers)
            sign(targets, root.get_delegated_role("targets").keyids, signers)
            self._write(first, targets, None, signers, roots=[root])

    def add(self, folders: Sequence[Path], signers: Signers) -> list[Waiting]:
        """Publish packs. The version added last is the one devices install, whatever its name.

        Args:
            folders: of packs, each with its manifest.
            signers: keys at hand.

        Returns:
            What still lacks signatures; nothing when it is published.

        Raises:
            UsageError: a folder is no pack, or its version is published already.
            PackCorrupt: a file is not what its manifest says.
            UpdateMismatch: its version cannot be published.
            StorageError: the disk refuses.
        """
        options = self.files.options()
        with self.files.changing():
            draft = self._draft_targets()
            for folder in folders:
                manifest = read_pack(folder)
                packs = packs_of(draft.signed)
                base = target_folder(manifest.name, manifest.version)
                if any(pack.path.startswith(f"{base}/") for pack in packs):
                    raise UsageError(
                        f"{manifest.name} {manifest.version} is published already",
                        hint="Give the changed pack another version, or remove this one first",
                    )
                if len({pack.name for pack in packs} | {manifest.name}) > MAX_PUBLISHED_PACKS:
                    raise UsageError(f"a repository has at most {MAX_PUBLISHED_PACKS} packs")
                older = [pack for pack in reversed(packs) if pack.name == manifest.name]
                release = max((pack.release for pack in packs), default=0) + 1
                built = build_targets(self.files, folder, manifest, older[: options.deltas], release=release)
                draft.signed.targets |= {target.path: target for target in built}
                for pack in older[options.keep - 1 :]:
                    _drop(draft.signed, pack.path)
            self._keep_draft(draft)
            return self._settle(signers)

    def remove(self, name: str, version: str | None, signers: Signers) -> list[Waiting]:
        """Take a pack off offer, or one version of it: devices that have it go back to the one published before.

        Raises:
            UsageError: there is none.
            StorageError: the disk refuses.
        """
        with self.files.changing():
            draft = self._draft_targets()
            found = [
                pack
                for pack in packs_of(draft.signed)
                if pack.name == name and (version is None or pack.version == version)
            ]
            if not found:
                raise UsageError(f"the repository has no {' '.join(filter(None, (name, version)))}")
            for pack in found:
                _drop(draft.signed, pack.path)
            self._keep_draft(draft)
            return self._settle(signers)

    def sign(self, signers: Signers) -> list[Waiting]:
        """Add signatures to what waits for them, and publish what has enough; returns as `add`."""
        with self.files.changing():
            return self._settle(signers)

    def refresh(self, signers: Signers) -> list[Waiting]:
        """Vouch again that what is published is the newest; also publishes what has its signatures. As `add`.

        Raises:
            UsageError: an online key is missing.
        """
        with self.files.changing():
            return self._settle(signers, renew=True)

    def rotate(
        self,
        role: str,
        signers: Signers,
        *,
        add: Sequence[CryptoSigner],
        drop: Sequence[str] | None = None,
        threshold: int | None = None,
    ) -> list[Waiting]:
        """Change the keys of a role by a new root; also the way to renew the root itself, with nothing added.

        Args:
            role: of `ROLES`.
            signers: keys at hand.
            add: its new keys.
            drop: ids of the keys it loses, or the beginning of each; None for all it has, where any are added.
            threshold: signatures it takes from now on; None for as many as before.

        Returns:
            As `add`: a new root needs signatures of the old root keys, and of the new ones.

        Raises:
            UsageError: no such role or key, or fewer keys would be left than it takes.
            StorageError: the disk refuses.
        """
        if role not in ROLES:
            raise UsageError(f"there is no role {role}", hint=f"Roles are {', '.join(ROLES)}")
        with self.files.changing():
            draft = self.files.draft(Root)
            if draft is None:
                draft = copy.deepcopy(self.files.root())
                draft.signed.version += 1
            root = draft.signed
            root.expires = self._expires("root", self.files.options().expires)
            known = root.get_delegated_role(role)
            leaving = found_keys(known.keyids, drop) if drop is not None else (list(known.keyids) if add else [])
            kept = [root.keys[keyid] for keyid in known.keyids if keyid not in leaving]
            new = [signer.public_key for signer in add]
            set_keys(root, role, [*kept, *new], threshold or known.threshold)
            draft.signatures.clear()
            self.files.write_draft(draft)
            return self._settle({**signers, **{signer.public_key.keyid: signer for signer in add}})

    def _draft_targets(self) -> Metadata[Targets]:
        draft = self.files.draft(Targets)
        if draft is None:
            draft = copy.deepcopy(self.files.published_targets())
            draft.signed.version += 1
        draft.signed.expires = self._expires("targets", self.files.options().expires)
        return draft

    def _keep_draft(self, draft: Metadata[Targets]) -> None:
        draft.signatures.clear()  # they were for what it said before
        self.files.write_draft(draft)

    def _settle(self, signers: Signers, *, renew: bool = False) -> list[Waiting]:
        """Sign drafts with the keys at hand, and publish what is complete."""
        waiting: list[Waiting] = []
        old = self.files.root()
        self._drop_published(old.signed.version)
        root, new_root = old, self.files.draft(Root)
        if new_root is not None:
            keyids = [*old.signed.get_delegated_role("root").keyids, *new_root.signed.get_delegated_role("root").keyids]
            sign(new_root, keyids, signers)
            self.files.write_draft(new_root)
            result = new_root.signed.get_root_verification_result(
                old.signed, new_root.signed_bytes, new_root.signatures
            )
            if result:
                root = new_root
            else:
                missing = max(result.first.missing, result.second.missing)
                waiting.append(Waiting(f"root {new_root.signed.version}", "root", missing))
        roots = [old.signed] if root is old else [old.signed, root.signed]
        targets = self.files.draft(Targets)
        if targets is None and not verified(roots[-1], self.files.published_targets()):
            targets = self._draft_targets()  # its keys have changed
            targets.signatures.clear()
        if targets is not None:
            sign(targets, keyids_of(roots, "targets"), signers)
            self.files.write_draft(targets)
            if not verified(roots[-1], targets):
                missing = missing_signatures(roots[-1], targets)
                waiting.append(Waiting(f"targets {targets.signed.version}", "targets", missing))
                if root is not old:
                    return waiting  # a new root without targets it can vouch for would leave readers with nothing
                targets = None
        if root is old and targets is None and not renew and self._vouched_by(root.signed):
            return waiting  # else a publication was killed between its root and what the new keys sign
        if root is not old and targets is None and not renew and self._vouched_by(root.signed):
            write_public(self.files.metadata / f"{root.signed.version}.root.json", root.to_bytes())
            self.files.drop_draft(Root)
            return waiting
        lacking = [role for role in ONLINE if missing_keys(roots[-1], role, signers)]
        if lacking:
            if renew and not waiting and targets is None:
                raise UsageError(f"the {lacking[0]} key is missing", hint="Give its folder with --keys")
            missing = missing_keys(roots[-1], lacking[0], signers)
            return [*waiting, Waiting("what is signed already", lacking[0], missing)]
        self._write(None if root is old else root, targets, self.files.snapshot(), signers, roots=roots)
        return waiting

    def _vouched_by(self, root: Root) -> bool:
        """Whether what is published would count under a new root as it is."""
        files = self.files
        return (
            verified(root, files.timestamp())
            and verified(root, files.snapshot())
            and verified(root, files.published_targets())
        )

    def _drop_published(self, root_version: int) -> None:
        """Forget drafts that a publication, killed before it had done so itself, has made good."""
        root, targets = self.files.draft(Root), self.files.draft(Targets)
        if root is not None and root.signed.version <= root_version:
            self.files.drop_draft(Root)
        if targets is not None and targets.signed.version <= self.files.published_targets().signed.version:
            self.files.drop_draft(Targets)

    def _write(
        self,
        root: Metadata[Root] | None,
        targets: Metadata[Targets] | None,
        before: Metadata[Snapshot] | None,
        signers: Signers,
        *,
        roots: Sequence[Root],
    ) -> None:
        """Publish in an order in which readers always find a whole: see `publishing_files`."""
        expires = self.files.options().expires
        metadata = self.files.metadata
        if targets is not None:
            data = targets.to_bytes()
            write_public(metadata / f"{targets.signed.version}.targets.json", data)
            described = MetaFile.from_data(targets.signed.version, data, ["sha256"])
        else:
            assert before is not None  # the first publication has targets
            described = before.signed.meta["targets.json"]
        snapshot = Metadata(
            Snapshot(
                version=1 if before is None else before.signed.version + 1,
                expires=self._expires("snapshot", expires),
                meta={"targets.json": described},
            )
        )
        # With the old keys too, while a root is replaced: readers may still go by the old root, or by the new one.
        sign(snapshot, keyids_of(roots, "snapshot"), signers)
        data = snapshot.to_bytes()
        write_public(metadata / f"{snapshot.signed.version}.snapshot.json", data)
        timestamp = Metadata(
            Timestamp(
                version=self.files.timestamp().signed.version + 1 if self.files.exists() else 1,
                expires=self._expires("timestamp", expires),
                snapshot_meta=MetaFile.from_data(snapshot.signed.version, data, ["sha256"]),
            )
        )
        sign(timestamp, keyids_of(roots, "timestamp"), signers)
        new = [] if root is None else [(f"{root.signed.version}.root.json", root.to_bytes())]
        last = [("timestamp.json", timestamp.to_bytes())]
        current = targets or self.files.published_targets()
        both = all(verified(each, timestamp) and verified(each, snapshot) and verified(each, current) for each in roots)
        # Where old keys are lost, the root comes first: readers who meet the moment between are refused once.
        for name, content in [*last, *new] if both and self.files.exists() else [*new, *last]:
            write_public(metadata / name, content)
        if root is not None:
            self.files.drop_draft(Root)
        if targets is not None:
            self.files.drop_draft(Targets)
        self.files.prune()

    def _expires(self, role: str, expiry: Expiry) -> datetime.datetime:
        days: int = getattr(expiry, role)
        now = datetime.datetime.fromtimestamp(self._clock.wall(), tz=datetime.UTC).replace(microsecond=0)
        return now + datetime.timedelta(days=days)


def due(files: RepositoryFiles, *, wall: float) -> bool:
    """Whether what the online keys sign should be renewed: less than half of its time is left.

    Raises:
        WaywordError: there is no repository, or it cannot be read.
    """
    expires = files.options().expires
    for signed, days in (
        (files.timestamp().signed, expires.timestamp),
        (files.snapshot().signed, expires.snapshot),
    ):
        left = signed.expires - datetime.datetime.fromtimestamp(wall, tz=datetime.UTC)
        if left < datetime.timedelta(days=days) / 2:
            return True
    return False


def _drop(targets: Targets, archive: str) -> None:
    """Forget every target of one version."""
    folder = archive.rpartition("/")[0]
    for path in [path for path in targets.targets if path.startswith(f"{folder}/")]:
        del targets.targets[path]
