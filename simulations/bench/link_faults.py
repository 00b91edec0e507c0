"""Seeded faults for the link under virtual time: cuts, deaths, silence, range, late ATT MTU, damaged values.

Both ends are the product's own sessions and drivers; the radio between them is `simulations.radio`'s model of rate,
interval, delay and missed events. Every seed draws traffic and faults; `simulations.faults.checks` says what must hold.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

from shared.errors import StorageError, UsageError
from simulations.faults.replay import judge
from simulations.faults.schedule import cut_behind, draw
from simulations.faults.summary import Summary, Tally, tables

DEFAULT_SEEDS = "1..1000"
SWEEP_VALUES = 60
"""Values a 20 kB strip and its answers take, and a few more."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `link-faults` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "link-faults", help="a thousand seeded fault schedules for the link, under virtual time", description=__doc__
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=_seeds, metavar="A..B", help=f"default: {DEFAULT_SEEDS}")
    which.add_argument("--seed", type=int, metavar="N", help="play one and show its schedule")
    parser.add_argument("--trace", action="store_true", help="with --seed: show every event")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench link-faults`."""
    if arguments.seed is not None:
        return replay(arguments.seed, trace=arguments.trace)
    if arguments.trace:
        raise UsageError("--trace shows one run", hint="use it with --seed N")
    tally = Tally()
    for seed in arguments.seeds or _seeds(DEFAULT_SEEDS):
        verdict = judge(seed)
        tally.add(verdict)
        if verdict.violations:
            print(verdict, file=sys.stderr, flush=True)
    sweep = Tally()
    for values in range(1, SWEEP_VALUES + 1):
        sweep.add(judge(values, draw=cut_behind))
    summary, swept = tally.summary(), sweep.summary()
    print(tables(summary))
    print(
        f"\nA 20 kB strip cut behind each of its first {SWEEP_VALUES} values: {len(swept.failing)} failures; "
        f"sent again p50 / most {swept.resume.p50:.0f} / {swept.resume.largest} bytes, "
        f"{swept.resume.share_of_window:.2f} windows."
    )
    if sweep.failures:
        print("\n".join(sweep.failures), file=sys.stderr)
    if arguments.json is not None:
        _write(arguments.json, summary, swept, [*tally.failures, *sweep.failures])
    return 1 if summary.failing or swept.failing else 0


def replay(seed: int, *, trace: bool) -> int:
    """Play one seed and show what happened."""
    print(draw(seed))
    verdict = judge(seed)
    if verdict.run is not None:
        if trace:
            print(*verdict.run.trace, sep="\n")
        print(f"{len(verdict.run.trace)} events, digest {verdict.run.trace.digest}")
    print(verdict)
    return 1 if verdict.violations else 0


def _write(path: Path, summary: Summary, swept: Summary, failures: list[str]) -> None:
    figures = {"seeds": asdict(summary), "cut at every value": asdict(swept), "failures": failures}
    try:
        path.write_text(json.dumps(figures, indent=1) + "\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def _seeds(text: str) -> range:
    match = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no range of seeds such as {DEFAULT_SEEDS}")
    return range(int(match[1]), int(match[2]) + 1)
