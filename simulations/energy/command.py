"""`wayword-sim constants`: every uncertain number of the simulator, with its range and its source, as Markdown."""

from __future__ import annotations

import argparse
import re
from typing import Final

from shared.errors import UsageError
from simulations.energy.constants import Constant
from simulations.energy.devices import runs_table
from simulations.energy.registry import CONSTANTS, latin_hypercube, nominal

RANGE_DRAWS: Final = 200
"""Sets drawn for a range."""
RANGE_SEED: Final = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `constants` to `wayword-sim`."""
    parser = subparsers.add_parser(
        "constants", help="numbers of the simulator with their ranges and sources", description=__doc__
    )
    parser.add_argument(
        "subject", nargs="*", metavar="SUBJECT", help="only names that begin so, such as lte or glasses-xr"
    )
    parser.add_argument(
        "--runs",
        type=_pipeline,
        action="append",
        metavar="NAME=MS",
        help="print instead how many readings of MS milliseconds on the trace machine a charge pays for; repeatable",
    )
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim constants`."""
    if arguments.runs:
        print(runs_markdown(dict(arguments.runs)))
        return 0
    chosen = [
        constant
        for name, constant in CONSTANTS.items()
        if not arguments.subject or any(name.startswith(subject) for subject in arguments.subject)
    ]
    if not chosen:
        raise UsageError(
            f"no constant begins with {' or '.join(arguments.subject)}", hint="wayword-sim constants lists all"
        )
    print(constants_markdown(chosen))
    return 0


def constants_markdown(constants: list[Constant]) -> str:
    """A table, one constant a line."""
    lines = ["| name | value | range | unit | drawn | standing | source |", "|---|---:|---|---|---|---|---|"]
    for constant in constants:
        source = f"{constant.source}; {constant.note}" if constant.note else constant.source
        cells = (
            constant.name,
            f"{constant.value:g}",
            f"{constant.low:g} to {constant.high:g}",
            constant.unit,
            constant.spread,
            constant.standing,
            source.replace("|", "\\|"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def runs_markdown(milliseconds: dict[str, float]) -> str:
    """The table "OCR runs per charge": nominal, and the range in which eight of ten draws lie."""
    rows = runs_table(milliseconds, nominal(), latin_hypercube(RANGE_SEED, RANGE_DRAWS))
    lines = [f"| device | {' | '.join(milliseconds)} |", "|---|" + "---:|" * len(milliseconds)]
    for row in rows:
        cells = (_runs(*row.runs[name]) for name in milliseconds)
        lines.append(f"| {row.device} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _runs(middle: float, low: float, high: float) -> str:
    return "none" if not middle else f"{_thousands(middle)} ({_thousands(low)} to {_thousands(high)})"


def _thousands(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}"


def _pipeline(text: str) -> tuple[str, float]:
    match = re.fullmatch(r"([\w+ -]+)=(\d+(?:\.\d+)?)", text)
    if match is None or not float(match[2]) > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=MS, such as tiny=189")
    return match[1], float(match[2])
