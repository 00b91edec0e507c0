"""``wayword-phone packs update`` and ``packs mirror``: signed updates, for this phone and for its glasses."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from phone.settings import PhoneSettings
from shared.errors import UsageError
from shared.models.offers import Progress
from shared.models.packs import PackStore, default_store_root
from shared.updates.options import add_trust_arguments, add_update_arguments


def add_update_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands to ``wayword-phone packs``; run them with `run_updates`."""
    update = commands.add_parser(
        "update",
        help="install newer versions of packs, as their publisher signed them",
        description="Install what a signed repository publishes: see docs/updates.md. Whatever goes wrong, the packs "
        "that are installed stay.",
    )
    mirror = commands.add_parser(
        "mirror",
        help="write a folder from which the glasses can update",
        description="Write packs of the repository into a folder, with their signatures, for devices without internet.",
    )
    mirror.add_argument("folder", type=Path, metavar="FOLDER")
    mirror.add_argument("names", nargs="+", metavar="NAME", help="packs to take along, such as ocr-tiny-det")
    add_update_arguments(update)
    for command in (update, mirror):
        command.add_argument(
            "--from",
            dest="source",
            metavar="FOLDER|URL|cloud",
            help="the repository (default: the setting updates)",
        )
        add_trust_arguments(command)
        command.add_argument("--cloud", metavar="HOST:PORT", help="the cloud, for --from cloud")
        command.add_argument("--config", type=Path, metavar="F", help="TOML file of settings")


def run_updates(options: argparse.Namespace, progress: Progress) -> int:
    """Run ``packs update`` or ``packs mirror``; returns the exit code.

    Raises:
        WaywordError: what stops it, or what stopped one of the packs.
    """
    # Here, so that no other command waits for what checks signatures.
    from phone.updates_source import repository_of
    from shared.clock import SystemClock
    from shared.updates.command import read_root, run_update
    from shared.updates.mirror import mirror
    from shared.updates.updater import pin_root, pinned_root

    given = {"packs": options.packs, "updates": options.source, "cloud": options.cloud}
    settings = PhoneSettings.load(options.config, **{name: value for name, value in given.items() if value is not None})
    if settings.updates is None:
        raise UsageError("nobody has said where updates come from", hint="Give --from, or set updates")
    clock = SystemClock()
    store = PackStore(settings.packs or default_store_root())
    root = options.root or (settings.updates_root if pinned_root(store) is None else None)
    with repository_of(settings.updates, settings, clock=clock) as repository:
        if options.packs_command == "mirror":
            if root is not None:
                pin_root(store, read_root(root), replace=options.replace_root)
            packs = mirror(store, repository, options.folder, options.names, clock=clock, progress=progress)
            _say(f"{len(packs)} packs in {options.folder}")
            return 0
        run_update(
            store,
            repository,
            names=options.names,
            check=options.check,
            clock=clock,
            say=_say,
            root=root,
            replace_root=options.replace_root,
            progress=progress,
        )
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
