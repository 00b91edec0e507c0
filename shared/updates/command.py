"""What the ``packs update`` commands of phone and glasses share: what they do, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from shared.clock import Clock
from shared.errors import StorageError, UpdateMismatch
from shared.limits import MAX_ROOT_BYTES
from shared.models.installer import quiet
from shared.models.offers import Progress
from shared.models.packs import PackStore
from shared.updates.repositories import Repository
from shared.updates.updater import PackOutcome, PackUpdater, UpdateState, pin_root

_MEGABYTE: Final = 1e6


def read_root(path: Path) -> bytes:
    """A file of root metadata.

    Raises:
        UpdateMismatch: it is too large to be one.
        StorageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_ROOT_BYTES:
        raise UpdateMismatch(f"{path} is too large for a root")
    return data


def run_update(
    store: PackStore,
    repository: Repository,
    *,
    names: Sequence[str],
    check: bool,
    clock: Clock,
    say: Callable[[str], None],
    root: Path | None = None,
    replace_root: bool = False,
    progress: Progress = quiet,
) -> list[PackOutcome]:
    """Check or update, and say what came of each pack.

    Args:
        store: where packs are installed.
        repository: where they come from.
        names: which; none for all that are installed.
        check: whether nothing is installed.
        clock: of dates and deadlines.
        say: told one line for each pack.
        root: file to pin first; None where one is pinned.
        replace_root: see `pin_root`.
        progress: told what is going on.

    Raises:
        WaywordError: what stops it; after the others were seen to, what stopped one pack.
    """
    if root is not None:
        pin_root(store, read_root(root), replace=replace_root)
    updater = PackUpdater(store, repository, clock=clock)
    chosen = names or None
    outcomes = updater.check(chosen) if check else updater.update(chosen, progress=progress)
    for outcome in outcomes:
        say(describe(outcome))
    if check and not names:
        looked_at = {outcome.name for outcome in outcomes}
        for pack in updater.offered():
            if pack.name not in looked_at:
                say(f"{pack.name} {pack.version}: not installed, {pack.bytes / _MEGABYTE:.2f} MB")
    elif not outcomes:
        say("none of the installed packs is published there")
    for outcome in outcomes:
        if outcome.problem is not None:
            raise outcome.problem
    return outcomes


def describe(outcome: PackOutcome) -> str:
    """One pack in one line, for people."""
    installed = outcome.installed or "nothing"
    fetched = f"{outcome.fetched / _MEGABYTE:.2f} MB{' as a delta' if outcome.by_delta else ''}"
    match outcome.state:
        case UpdateState.CURRENT:
            return f"{outcome.name} {outcome.offered}: current"
        case UpdateState.NEWER:
            return f"{outcome.name} {outcome.offered}: instead of {installed}, {fetched}"
        case UpdateState.UPDATED:
            return f"{outcome.name} {outcome.offered}: installed instead of {installed}, {fetched}"
    reason = outcome.problem.message if outcome.problem is not None else ""
    kept = f"{outcome.installed} stays" if outcome.installed else "nothing is installed"
    return f"{outcome.name} {outcome.offered}: failed, {kept}: {reason}"
