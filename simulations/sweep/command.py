"""Designs compared by experiment: seven ways to share the work between glasses, phone and cloud, in a tourist's day.

The product's own code runs under virtual time (daemon, policy, link, ledger, cloud service), its models replaced by
their traces; glasses, phones, networks and the wearer are simulated, with constants that carry source and range. DIR
gets results.json and a page made from it, report.html: the same seed, traces and options give the same bytes, however
many processes work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from phone.cascade.policies import POLICY_NAMES
from phone.cascade.privacy import CloudUse
from phone.settings import RecogniserChoice
from shared.errors import UsageError
from simulations.energy.devices import GLASSES, PHONES
from simulations.networks.presets import BLE_PROFILES, PROFILES
from simulations.sweep.appendix import appendix
from simulations.sweep.arms import OF_DAY, Design
from simulations.sweep.builtin import load_traces
from simulations.sweep.document import parse_sweep, read_sweep
from simulations.sweep.grid import Done, Grid, run_grid
from simulations.sweep.page import write_page
from simulations.sweep.policies import ORACLE
from simulations.sweep.results import results_of, rounded, write_results
from simulations.sweep.swings import MAX_SWINGS, chosen, swing_runs
from simulations.sweep.table import table
from simulations.world.destinations import DESTINATIONS

T = TypeVar("T", bound=str)

MAX_JOBS = 256
MAX_SEED = 2**63 - 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `sweep` to the command line."""
    parser = subparsers.add_parser("sweep", help="compare designs of the system in simulated days", description=__doc__)
    default = Grid()
    parser.add_argument("--traces", type=Path, metavar="FILE", help="trace file (default: the one that ships)")
    _listed(parser, "designs", tuple(Design), default.designs)
    _listed(parser, "networks", (OF_DAY, *PROFILES), default.networks, note=f"{OF_DAY}: as the wearer's day has it")
    _listed(parser, "phones", PHONES, default.phones)
    _listed(parser, "glasses", GLASSES, default.glasses)
    _listed(parser, "cities", tuple(DESTINATIONS), default.cities)
    _listed(parser, "policies", (*POLICY_NAMES, ORACLE), default.policies, note="of the hybrid")
    parser.add_argument(
        "--privacy", choices=[use.value for use in CloudUse], default=CloudUse.ALLOW.value, help="the wearer's switch"
    )
    parser.add_argument(
        "--link",
        choices=list(BLE_PROFILES),
        default=default.link,
        help="between glasses and phone (default: %(default)s)",
    )
    parser.add_argument(
        "--recogniser",
        choices=[choice.value for choice in RecogniserChoice],
        default=RecogniserChoice.AUTO.value,
        help="the phone's (default: auto: the small one unless the battery is low)",
    )
    parser.add_argument("--days", type=int, default=1, metavar="N", help="of each run (default: %(default)s)")
    parser.add_argument("--hours", type=float, metavar="H", help="only the first hours of the day, for a quick look")
    parser.add_argument(
        "--samples", type=int, default=0, metavar="K", help="sets of constants beside the nominal one (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="default: %(default)s")
    parser.add_argument("--jobs", type=int, default=1, metavar="J", help="processes (default: %(default)s)")
    parser.add_argument(
        "--swing",
        type=int,
        default=0,
        metavar="N",
        help="then move each of the N constants that seem to matter most to its bounds, one at a time; a large N: all "
        "that can matter (default: 0)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where results.json and report.html go (default: only the table)"
    )
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="run nothing: draw report.html anew from results.json"
    )
    parser.add_argument("--time", action="store_true", help="print the CPU seconds of a simulated day of each design")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim sweep`."""
    if arguments.page is not None:
        if arguments.out is None:
            raise UsageError("--page needs a folder to write to", hint="--out DIR")
        print(write_page(arguments.out, read_sweep(arguments.page)))
        return 0
    if not 1 <= arguments.jobs <= MAX_JOBS:
        raise UsageError(f"--jobs must be 1 to {MAX_JOBS}")
    if not 0 <= arguments.swing <= MAX_SWINGS:
        raise UsageError(f"--swing must be 0 to {MAX_SWINGS}")
    if not 0 <= arguments.seed <= MAX_SEED:
        raise UsageError(f"--seed must be 0 to {MAX_SEED}")
    grid = Grid(
        designs=tuple(Design(name) for name in arguments.designs),
        networks=arguments.networks,
        phones=arguments.phones,
        glasses=arguments.glasses,
        cities=arguments.cities,
        policies=arguments.policies,
        privacy=CloudUse(arguments.privacy),
        link=arguments.link,
        recogniser=RecogniserChoice(arguments.recogniser),
        days=arguments.days,
        hours=arguments.hours,
        samples=arguments.samples,
        seed=arguments.seed,
    )
    grid.check()
    header, traces = load_traces(arguments.traces)
    done = run_grid(traces, grid, jobs=arguments.jobs, on_done=_progress)
    document = results_of(header, traces, grid, done)
    print(table(document))
    if arguments.time:
        print("\n" + times(done))
    if arguments.out is not None:
        document |= appendix(traces, seed=grid.seed)
        if arguments.swing:
            names = chosen(parse_sweep(rounded(document)), arguments.swing)
            document["swings"] = swing_runs(traces, grid, names, jobs=arguments.jobs)
        print(f"\n{write_results(arguments.out, document)}")
        print(write_page(arguments.out, document))
    return 0


def times(done: Sequence[Done]) -> str:
    """CPU seconds that a simulated day takes here, by design."""
    lines = ["CPU seconds per simulated day on this machine:"]
    for design in dict.fromkeys(one.arm.design for one in done):
        runs = [one for one in done if one.arm.design is design and one.why_not is None]
        if runs:
            per_day = sum(one.cpu_seconds for one in runs) / sum(one.days for one in runs)
            lines.append(f"  {design:<13} {per_day:6.2f}")
    return "\n".join(lines)


def _progress(number: int, total: int, one: Done) -> None:
    """One line, written over itself on a terminal and left out elsewhere."""
    if sys.stderr.isatty():
        end = "\n" if number == total else ""
        print(f"\r{number} of {total} runs: {one.arm}, sample {one.sample}\x1b[K", end=end, file=sys.stderr, flush=True)


def _listed(
    parser: argparse.ArgumentParser, name: str, known: Sequence[str], default: Sequence[str], *, note: str = ""
) -> None:
    note = f"; {note}" if note else ""
    parser.add_argument(
        f"--{name}",
        type=_some_of(name, known),
        default=tuple(str(one) for one in default),
        metavar="A,B",
        help=f"of {', '.join(known)}, or all{note} (default: {','.join(default)})",
    )


def _some_of(name: str, known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def some(text: str) -> tuple[str, ...]:
        if text.strip() == "all":
            return tuple(str(one) for one in known)
        chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
        unknown = [one for one in chosen if one not in known]
        if unknown or not chosen:
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown) or 'nothing'} is not among the {name}: {', '.join(known)}"
            )
        return chosen

    return some
