"""The link tests, or any command, on real BlueZ in a virtual machine.

::

    python -m simulations.radio.vm                                  the link tests
    python -m simulations.radio.vm -k bulk -x                       the link tests, with arguments for pytest
    python -m simulations.radio.vm -- wayword-sim bench link        any command instead

The exit code is the command's; 0, and one line that begins with "skipped:", where the machine cannot be had.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared import cli
from shared.errors import StorageError, UsageError
from simulations.radio.vm import machine
from simulations.radio.vm.errors import MachineUnavailable
from simulations.radio.vm.parts import default_cache, prepare
from simulations.radio.vm.suite import pytest_command

PROGRAM: Final = "radio-vm"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command body.

    Raises:
        UsageError: an argument is wrong.
        StorageError: the folder of results cannot be written.
        MachineUnavailable: with ``--require``, something is missing.
        MachineFailed: it did not boot, or not end in time.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    split = given.index("--") if "--" in given else len(given)
    command = given[split + 1 :]
    options, for_pytest = _parser().parse_known_args(given[:split])
    if not (options.deadline > 0 and math.isfinite(options.deadline)):
        raise UsageError(f"--deadline {options.deadline:g} is no time to run in")
    if command and for_pytest:
        raise UsageError(f"{' '.join(for_pytest)} would be for pytest, and a command is given")
    work = Path.cwd()
    results = options.results.absolute()
    try:
        parts = prepare(options.cache or default_cache(), _say)
    except MachineUnavailable as error:
        if options.require:
            raise
        hint = f" ({error.hint})" if error.hint else ""
        print(f"skipped: {error.message}{hint}")
        return 0
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write to {results}: {error.strerror}") from error
    _say("booting")
    with (results / "console.log").open("w", encoding="utf-8") as log:

        def on_line(line: str) -> None:
            print(line, flush=True)
            log.write(line + "\n")

        outcome = machine.run(
            parts,
            command or pytest_command(for_pytest, work),
            results=results,
            work=work,
            options=machine.MachineOptions(
                deadline_s=options.deadline, accelerator=machine.Accelerator(options.accelerator)
            ),
            on_line=on_line,
        )
    _say(f"booted in {outcome.boot_s:.0f} s, ran {outcome.run_s:.0f} s, exit code {outcome.exit_code}; see {results}")
    facts = {"exit_code": outcome.exit_code, "boot_s": round(outcome.boot_s, 1), "run_s": round(outcome.run_s, 1)}
    with contextlib.suppress(OSError):
        (results / "run.json").write_text(json.dumps({**facts, "kernel": parts.kernel.name}) + "\n", encoding="utf-8")
    return outcome.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulations.radio.vm",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # what is not ours is pytest's
    )
    parser.add_argument(
        "--deadline",
        type=float,
        default=machine.DEFAULT_DEADLINE_S,
        metavar="SECONDS",
        help=f"the machine is killed after this time (default {machine.DEFAULT_DEADLINE_S:g})",
    )
    parser.add_argument(
        "--accelerator",
        choices=[choice.value for choice in machine.Accelerator],
        default="tcg",
        help="tcg (default) needs no hardware",
    )
    parser.add_argument("--results", type=Path, default=Path("build/radio-vm"), help="folder for reports and logs")
    parser.add_argument("--cache", type=Path, default=None, help="folder for downloaded parts")
    parser.add_argument("--require", action="store_true", help="fail where the machine cannot be had")
    return parser


def _say(line: str) -> None:
    print(f"{PROGRAM}: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(PROGRAM, main))
