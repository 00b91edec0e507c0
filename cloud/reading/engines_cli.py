"""The command `wayword-cloud engines`: which scripts are read by what on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from cloud.settings import CloudSettings
from shared.clock import Clock


def add_engines_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], *, clock: Clock, say: Callable[[str], None]
) -> None:
    """Add `engines` to the command line.

    Args:
        commands: of `wayword-cloud`.
        clock: measures what is asked of Tesseract.
        say: told the table, line by line.
    """
    parser = commands.add_parser("engines", help="say which scripts are read by what on this machine")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's own)")
    parser.add_argument("--config", type=Path, metavar="F", help="TOML file of settings")
    parser.set_defaults(body=lambda options: _body(options, clock=clock, say=say))


def _body(options: argparse.Namespace, *, clock: Clock, say: Callable[[str], None]) -> int:
    # Imported here, because models' runtimes take a second that a wrong option should not have to wait for.
    from cloud.reading.ensemble_loading import engines_table

    overrides = {} if options.packs is None else {"packs": options.packs}
    for line in engines_table(CloudSettings.load(options.config, **overrides), clock=clock):
        say(line)
    return 0
