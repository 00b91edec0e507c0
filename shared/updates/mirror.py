"""Handing a repository on: a folder with what a device without internet needs, every signature as it was made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tuf.api.metadata import Metadata, Snapshot, Timestamp

from shared.clock import Clock
from shared.errors import UpdateUntrusted, UsageError
from shared.models.installer import quiet
from shared.models.offers import Progress, Stage
from shared.models.packs import PackStore, storage_errors
from shared.updates.published import PublishedPack, current_packs, parse_published
from shared.updates.repositories import Repository
from shared.updates.trust import METADATA, TARGETS, TrustedRepository
from shared.updates.updater import pinned_root, updates_folder


def mirror(
    store: PackStore,
    repository: Repository,
    folder: Path,
    names: Sequence[str],
    *,
    clock: Clock,
    progress: Progress = quiet,
) -> list[PublishedPack]:
    """Write packs of a repository into a folder, which is then a repository itself.

    It has the signatures of the original and not one of its own, so that whoever reads it trusts it no more and no
    less; it is past its date when the original's timestamp is.

    Args:
        store: whose root of trust the repository is judged by.
        repository: the original.
        folder: where it goes.
        names: packs to take along, each whole and with its deltas.
        clock: of dates and deadlines.
        progress: told what is going on.

    Raises:
        UsageError: the repository has no such pack.
        UpdateError: it may not be believed, or does not answer.
        StorageError: the disk refuses.
    """
    root = pinned_root(store)
    if root is None:
        raise UpdateUntrusted(f"{store.root} trusts nobody's updates yet", hint="Give the publisher's root.json")
    with store.exclusive(clock=clock), storage_errors(f"write {folder}", folder):
        seen = updates_folder(store) / "metadata"
        parts = folder / ".parts"
        (folder / METADATA).mkdir(parents=True, exist_ok=True)
        trusted = TrustedRepository(repository, root=root, folder=seen, parts=parts, wall=clock.wall)
        targets = trusted.refresh()
        described = (parse_published(path, target.custom) for path, target in targets.items())
        offered = current_packs(pack for pack in described if pack is not None)
        missing = [name for name in names if name not in offered]
        if missing:
            raise UsageError(f"the repository has no pack {missing[0]}", hint=f"It has {', '.join(offered) or 'none'}")
        for name in names:
            pack = offered[name]
            for path in (pack.path, *(delta.path for delta in pack.deltas)):
                target = targets[path]
                place = folder / TARGETS / target.get_prefixed_paths()[0]
                trusted.download(target, place, partial(progress, name, Stage.DOWNLOADING))
        timestamp = Metadata[Timestamp].from_file(str(seen / "timestamp.json")).signed
        snapshot = Metadata[Snapshot].from_file(str(seen / "snapshot.json")).signed
        copies = [(path, path.name) for path in sorted((seen / "root_history").glob("*.root.json"))]
        copies += [
            (seen / "targets.json", f"{snapshot.meta['targets.json'].version}.targets.json"),
            (seen / "snapshot.json", f"{timestamp.snapshot_meta.version}.snapshot.json"),
            (seen / "timestamp.json", "timestamp.json"),  # last: it makes the rest count
        ]
        for origin, name in copies:
            part = folder / METADATA / ".part"
            shutil.copyfile(origin, part)
            part.replace(folder / METADATA / name)
        shutil.rmtree(parts, ignore_errors=True)
    return [offered[name] for name in names]
