"""`wayword-sim bench link`: what the glasses-phone link carries, how soon, and what it says of itself.

Both ends are the product's own, on Bumble and on bleak; the radio between them is emulated in processes of its own.
Parts: *carry* (goodput and control, every profile, both directions), *prediction* (do the link's forecasts hold),
*path* (a sign from the link to the display, in parts), *pairing* (every way it can end, with what the users read).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from shared.errors import InputError, StorageError, UsageError
from shared.models.packs import PackStore, default_store_root
from simulations import pairing_matrix
from simulations.bench.link import goodput, path, prediction, tables
from simulations.bench.link.goodput import LinkFigures
from simulations.pairing_stage import Row
from simulations.radio import LinkProfile
from simulations.radio.profile import PROFILE_HELP
from simulations.radio.stack import RadioStack

RATES: Final = (25, 40, 60, 100)
INTERVALS: Final = (15, 30, 50)
DEFAULT_PROFILES: Final = tuple(f"{rate}kBps/{interval}ms" for rate in RATES for interval in INTERVALS)
PARTS: Final = ("carry", "prediction", "path", "pairing")
PATH_PROFILE: Final = "40kBps/30ms"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `link` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "link", help="goodput, latency, forecasts and pairing of the Bluetooth link", description=__doc__
    )
    parser.add_argument(
        "profiles",
        nargs="*",
        metavar="PROFILE",
        help=f"for carry and path; {PROFILE_HELP} (default: {RATES} kBps by {INTERVALS} ms)",
    )
    parser.add_argument(
        "--parts", default=",".join(PARTS), metavar="LIST", help=f"any of {', '.join(PARTS)} (default: all)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, metavar="S", help="of strips, per profile and direction (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of sizes and times (default: 1)")
    parser.add_argument("--pictures", type=Path, nargs="+", default=[], metavar="FILE", help="what path looks at")
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store (default: the user's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure nothing: print the carry part of earlier --json files side by side",
    )
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench link`.

    Raises:
        UsageError: a part or a profile is unknown.
        InputError: a file to compare cannot be read.
        RadioError, LinkError: the radio or the link cannot start.
    """
    if arguments.compare:
        for line in tables.side_by_side([_load(file) for file in arguments.compare]):
            print(line)
        return 0
    parts = arguments.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        raise UsageError(f"there is no part {sorted(unknown)[0]!r}", hint=f"use {', '.join(PARTS)}")
    profiles = [LinkProfile.parse(text) for text in arguments.profiles or DEFAULT_PROFILES]
    report: dict[str, Any] = {
        "stack": RadioStack.configured().value,
        "machine": tables.machine(),
        "seed": arguments.seed,
    }
    print(f"{tables.machine()}; Bluetooth stack of the phone: {report['stack']}")
    if "carry" in parts:
        _carry(profiles, arguments, report)
    if "prediction" in parts:
        _prediction(arguments, report)
    if "path" in parts:
        chosen = profiles if arguments.profiles else [LinkProfile.parse(PATH_PROFILE)]
        _path(chosen, arguments, report)
    if "pairing" in parts:
        _pairing(report)
    if arguments.json is not None:
        try:
            arguments.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"cannot write {arguments.json}: {error.strerror}") from error
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(title: str, lines: Sequence[str]) -> None:
    print(f"\n## {title}\n")
    for line in lines:
        print(line)
    sys.stdout.flush()


def _carry(profiles: Sequence[LinkProfile], arguments: argparse.Namespace, report: dict[str, Any]) -> None:
    _say("carry: unshaped, to know what the ends themselves take")
    unshaped = asyncio.run(goodput.measure(LinkProfile.parse("unshaped"), seconds=2.0, seed=arguments.seed))
    processing = float(np.percentile([s for one in unshaped for s in one.idle_s], 50))
    figures: list[LinkFigures] = []
    for number, profile in enumerate(profiles, 1):
        _say(f"carry: {number}/{len(profiles)} {profile}")
        figures += asyncio.run(goodput.measure(profile, seconds=arguments.seconds, seed=arguments.seed))
    report["processing_s"] = processing
    report["carry"] = [asdict(one) for one in [*figures, *unshaped]]
    _show("What the link carries", tables.carry([*figures, *unshaped], processing))


def _prediction(arguments: argparse.Namespace, report: dict[str, Any]) -> None:
    figures = []
    for name in prediction.SCENARIOS:
        _say(f"prediction: {name}")
        figures.append(asyncio.run(prediction.measure(name, seconds=5 * arguments.seconds, seed=arguments.seed)))
    report["prediction"] = [asdict(one) for one in figures]
    _show("Whether its forecasts hold", tables.prediction(figures))


def _path(profiles: Sequence[LinkProfile], arguments: argparse.Namespace, report: dict[str, Any]) -> None:
    store = PackStore(arguments.packs or default_store_root())
    report["path"] = {}
    for profile in profiles:
        _say(f"path: {profile}")
        figures = asyncio.run(path.measure(profile, store, arguments.pictures, _say))
        if not figures.get("together"):
            raise InputError("no sign was answered", hint="give --pictures with signs on them")
        report["path"][str(profile)] = dict(figures)
        lines = tables.path(str(profile), path.summary(figures), len(figures["together"]))
        _show("From a strip handed over to its reading shown", lines)


def _pairing(report: dict[str, Any]) -> None:
    for library in ("bumble", "bleak"):  # what they complain of is what the rows are about
        logging.getLogger(library).setLevel(logging.CRITICAL)
    rows = []
    for name, play in pairing_matrix.ROWS.items():
        _say(f"pairing: {name}")
        rows.append(asyncio.run(_play(play)))
    report["pairing"] = [asdict(row) for row in rows]
    _show("Every way pairing can end", tables.pairing(rows))


async def _play(play: Any) -> Row:
    row: Row = await play()
    return row


def _load(file: Path) -> tuple[str, list[LinkFigures]]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        return str(report["stack"]), [LinkFigures(**one) for one in report["carry"]]
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} holds no figures of this bench", hint="write one with --json") from error
