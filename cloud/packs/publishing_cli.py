"""``wayword-cloud packs``: publish packs so that phones and glasses can tell what is genuine."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.clock import SystemClock
from shared.errors import StorageError, UsageError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    from cloud.packs.publishing import Publisher, Waiting

_MEGABYTE: Final = 1e6
_ROLES: Final = ("root", "targets", "snapshot", "timestamp")
_MAX_PASSPHRASE_BYTES: Final = 1023
"""OpenSSL encrypts no key with a longer one."""
_EXPIRES_HELP: Final = "days for which signatures vouch, such as root=365,targets=365,snapshot=30,timestamp=7"

# The commands import what they need: `serve` signs nothing.


def add_packs_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the ``packs`` command to ``wayword-cloud``; it sets `body`."""
    packs = subparsers.add_parser(
        "packs", help="publish packs, signed", description="Publish packs in a signed repository. See docs/updates.md."
    )
    commands = packs.add_subparsers(dest="packs_command", required=True, metavar="COMMAND")
    init = commands.add_parser("init", help="make an empty repository, and its keys")
    add = commands.add_parser("add", help="publish packs, or new versions of them")
    remove = commands.add_parser("remove", help="take a pack off offer, or one version of it")
    sign = commands.add_parser("sign", help="add signatures to what waits for them")
    refresh = commands.add_parser("refresh", help="vouch again that what is published is the newest")
    rotate = commands.add_parser("rotate", help="replace keys of a role by a new root, or renew the root")
    listing = commands.add_parser("list", help="show what is published, and by which keys")
    for command in (init, add, remove, sign, refresh, rotate, listing):
        command.add_argument("repository", type=Path, metavar="REPO", help="folder of the repository")
    init.add_argument("--root-keys", type=int, default=3, metavar="N", help="root keys to make (default: 3)")
    init.add_argument(
        "--root-threshold", type=int, default=2, metavar="K", help="of which so many must sign (default: 2)"
    )
    init.add_argument("--targets-keys", type=int, default=1, metavar="N", help="default: 1")
    init.add_argument("--targets-threshold", type=int, default=1, metavar="K", help="default: 1")
    init.add_argument("--expires", metavar="ROLE=DAYS,...", help=_EXPIRES_HELP)
    init.add_argument("--deltas", type=int, metavar="N", help="older versions to make deltas from (default: 3)")
    init.add_argument("--keep", type=int, metavar="N", help="versions of a pack on offer (default: 3)")
    refresh.add_argument("--if-due", action="store_true", help="only when less than half of the time is left")
    rotate.add_argument("role", choices=_ROLES, help="whose keys change")
    rotate.add_argument("--new", type=int, default=1, metavar="N", help="keys to make (default: 1; 0 renews the root)")
    rotate.add_argument("--drop", action="append", metavar="KEYID", help="keys it loses (default: all it has)")
    rotate.add_argument("--threshold", type=int, metavar="K", help="signatures it takes (default: as before)")
    rotate.add_argument("--new-keys", type=Path, metavar="DIR", help="where the new keys go (default: first --keys)")
    add.add_argument("packs", type=Path, nargs="+", metavar="PACK", help="folder with a manifest.json")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("version", nargs="?", metavar="VERSION", help="default: all of them")
    for command in (init, add, remove, sign, refresh, rotate):
        command.add_argument(
            "--keys",
            type=Path,
            action="append",
            required=True,
            metavar="DIR",
            help="folder with keys, searched one level deep; may be given several times",
        )
        command.add_argument(
            "--passphrase-file", type=Path, metavar="F", help="passphrase of encrypted keys: its first line"
        )
    packs.set_defaults(body=run_packs)


def run_packs(options: argparse.Namespace) -> int:
    """Run the command that was parsed with `add_packs_parser`; returns the exit code.

    Raises:
        WaywordError: whatever stops it.
    """
    from cloud.packs.publishing import Publisher, due
    from cloud.packs.publishing_keys import load_keys

    clock = SystemClock()
    publisher = Publisher(options.repository, clock=clock)
    if options.packs_command == "list":
        return _list(publisher)
    passphrase = _passphrase(options.passphrase_file)
    if options.packs_command == "init":
        return _init(publisher, options, passphrase)
    if options.packs_command == "refresh" and options.if_due and not due(publisher.files, wall=clock.wall()):
        _say("not due yet")
        return 0
    signers = load_keys(_key_folders(options.keys), passphrase=passphrase)
    match options.packs_command:
        case "add":
            waiting = publisher.add(options.packs, signers)
        case "remove":
            waiting = publisher.remove(options.name, options.version, signers)
        case "sign":
            waiting = publisher.sign(signers)
        case "refresh":
            waiting = publisher.refresh(signers)
        case _:
            new = _new_keys(options.new_keys or options.keys[0], options.role, options.new, passphrase)
            waiting = publisher.rotate(options.role, signers, add=new, drop=options.drop, threshold=options.threshold)
    return _tell(waiting, options.repository)


def _init(publisher: Publisher, options: argparse.Namespace, passphrase: bytes | None) -> int:
    from pydantic import ValidationError

    from cloud.packs.publishing import RoleKeys
    from cloud.packs.publishing_files import PublishingOptions
    from shared.settings import explain

    given = {name: value for name in ("deltas", "keep") if (value := getattr(options, name)) is not None}
    try:
        kept = PublishingOptions.model_validate({**given, "expires": _expires(options.expires)})
    except ValidationError as error:
        raise UsageError(explain(error)) from error
    if publisher.files.exists():
        raise UsageError(f"{options.repository} is a repository already")
    counts = {"root": options.root_keys, "targets": options.targets_keys, "snapshot": 1, "timestamp": 1}
    thresholds = {"root": options.root_threshold, "targets": options.targets_threshold, "snapshot": 1, "timestamp": 1}
    for role in _ROLES:
        if not 1 <= thresholds[role] <= counts[role] <= 16:
            raise UsageError(f"{role} cannot have {counts[role]} keys of which {thresholds[role]} sign")
    folder = options.keys[0]
    keys = {role: RoleKeys(_new_keys(folder, role, counts[role], passphrase), thresholds[role]) for role in _ROLES}
    publisher.init(keys, kept)
    _say(f"{options.repository} is ready; its keys are in {folder}")
    _say(f"devices are enrolled with {publisher.files.metadata / '1.root.json'}")
    _say(f"take {folder / 'root'} offline now, and {folder / 'targets'} when nothing is to be published")
    return 0


def _new_keys(folder: Path, role: str, count: int, passphrase: bytes | None) -> list[CryptoSigner]:
    from cloud.packs.publishing_keys import SUFFIX, make_key

    # Whatever signs by itself every few days cannot be asked for a passphrase.
    online = role in ("snapshot", "timestamp")
    place = folder / ("online" if online else role)
    taken = {path.name.removesuffix(SUFFIX) for path in place.glob(f"{role}-*{SUFFIX}")}
    # Some may have been taken offline, so their number says nothing about their names.
    free = (name for number in itertools.count(1) if (name := f"{role}-{number}") not in taken)
    return [make_key(place, next(free), passphrase=None if online else passphrase) for _ in range(count)]


def _key_folders(folders: Sequence[Path]) -> list[Path]:
    """The folders and those in them."""
    found: list[Path] = []
    for folder in folders:
        found.append(folder)
        if folder.is_dir():
            found += sorted(path for path in folder.iterdir() if path.is_dir())
    return found


def _expires(text: str | None) -> dict[str, object]:
    parts = dict(part.partition("=")[::2] for part in text.split(",")) if text else {}
    return dict(parts)


def _passphrase(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            line = file.readline(_MAX_PASSPHRASE_BYTES + 2).strip()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if not line:
        raise UsageError(f"{path} holds no passphrase")
    if len(line) > _MAX_PASSPHRASE_BYTES:
        raise UsageError(f"the passphrase in {path} is longer than {_MAX_PASSPHRASE_BYTES} bytes")
    return line


def _tell(waiting: Sequence[Waiting], repository: Path) -> int:
    for each in waiting:
        _say(f"{each.what} waits for {each.missing} more signature{'s' * (each.missing != 1)} of {each.role}")
    if waiting:
        _say(f"with such keys at hand, run: wayword-cloud packs sign {repository} --keys DIR")
    else:
        _say("published")
    return 0


def _list(publisher: Publisher) -> int:
    from cloud.packs.publishing_files import packs_of
    from shared.updates.published import current_packs

    files = publisher.files
    root = files.root().signed
    packs = packs_of(files.published_targets().signed)
    newest = current_packs(packs)
    _table(
        [
            ("NAME", "VERSION", "", "MB", "DELTAS FROM"),
            *(
                (
                    pack.name,
                    pack.version,
                    "newest" if newest[pack.name] == pack else "",
                    f"{pack.bytes / _MEGABYTE:.2f}",
                    ", ".join(f"{each.from_version} ({each.bytes / pack.bytes:.2f})" for each in pack.deltas),
                )
                for pack in sorted(packs, key=lambda pack: (pack.name, -pack.release))
            ),
        ]
    )
    signed = {
        "root": root,
        "targets": files.published_targets().signed,
        "snapshot": files.snapshot().signed,
        "timestamp": files.timestamp().signed,
    }
    now = datetime.fromtimestamp(SystemClock().wall(), tz=UTC)
    rows = [("ROLE", "VERSION", "EXPIRES", "TAKES", "KEYS")]
    for role in _ROLES:
        keys = root.get_delegated_role(role)
        expires = signed[role].expires
        shown = f"{expires:%Y-%m-%d}{' (PAST)' if expires <= now else ''}"
        ids = " ".join(keyid[:8] for keyid in keys.keyids)
        rows.append((role, str(signed[role].version), shown, str(keys.threshold), ids))
    _table(rows)
    return 0


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
