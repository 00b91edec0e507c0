"""``wayword-glasses packs update --from FOLDER``: signed updates out of a folder that the phone hands over."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from glasses.arguments import PROGRAM
from glasses.settings import GlassesSettings
from shared.clock import SystemClock
from shared.models.packs import PackStore, default_store_root


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: those after ``packs``.

    Raises:
        WaywordError: what stops it, or what stopped one of the packs.
    """
    from shared.updates.command import run_update
    from shared.updates.options import add_trust_arguments, add_update_arguments
    from shared.updates.repositories import FolderRepository

    parser = argparse.ArgumentParser(prog=f"{PROGRAM} packs", description="The glasses' model packs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    update = commands.add_parser(
        "update",
        help="install newer versions of packs, as their publisher signed them",
        description="The glasses have no internet: `wayword-phone packs mirror FOLDER ocr-tiny-det` makes the folder.",
    )
    add_update_arguments(update)
    add_trust_arguments(update)
    update.add_argument("--from", dest="source", type=Path, required=True, metavar="FOLDER", help="the repository")
    update.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    options = parser.parse_args(arguments)
    settings = GlassesSettings.load(options.config, **({} if options.packs is None else {"packs": options.packs}))
    run_update(
        PackStore(settings.packs or default_store_root()),
        FolderRepository(options.source),
        names=options.names,
        check=options.check,
        clock=SystemClock(),
        say=_say,
        root=options.root,
        replace_root=options.replace_root,
    )
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
