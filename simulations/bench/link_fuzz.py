"""Fuzzes the link's codec and sessions: executions, what they reached, and the memory they took.

Three targets (`simulations.fuzz`): one value decoded, one session against a hostile peer, two sessions with a hostile
middle. The random engine needs nothing more than the product; Atheris, guided by coverage, needs `pip install -e
'.[fuzz]'`. An input that breaks a promise is written to a file, and how to run it again is printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from shared.errors import InputError, StorageError, UsageError
from simulations.fuzz.material import Observed, Violation
from simulations.fuzz.random_engine import MAX_TRACED_BYTES, Report, run
from simulations.fuzz.session import MAX_BUFFERED_BYTES
from simulations.fuzz.soak import Soak, soak
from simulations.fuzz.targets import TARGETS

DEFAULT_EXECUTIONS: Final = 20_000
SOAK_STEPS: Final = 20_000
_KIB: Final = 1024
_SEED_INPUTS: Final = 64
"""Drawn at random for Atheris to begin with: from nothing it takes long to come to longer programs."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `link-fuzz` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "link-fuzz", help="hostile bytes for the link's codec and sessions", description=__doc__
    )
    parser.add_argument("--engine", choices=("random", "atheris"), default="random", help="default: random")
    parser.add_argument("--target", choices=tuple(TARGETS), help="one target alone; default: all")
    parser.add_argument(
        "--executions", type=int, metavar="N", help=f"of all targets together; default: {DEFAULT_EXECUTIONS}, or no end"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="for all targets together; default: no limit")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the random engine; default: 1")
    parser.add_argument("--crashes", type=Path, default=Path(), metavar="DIR", help="where failing inputs go")
    parser.add_argument("--corpus", type=Path, metavar="DIR", help="of atheris, kept from run to run")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run one input of --target again")
    parser.add_argument(
        "--soak",
        type=int,
        default=SOAK_STEPS,
        metavar="N",
        help=f"steps of one long life; default: {SOAK_STEPS}, 0: none",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench link-fuzz`."""
    names = [arguments.target] if arguments.target else list(TARGETS)
    if arguments.replay is not None:
        if arguments.target is None:
            raise UsageError("--replay runs an input of one target", hint="add --target NAME")
        return replay(arguments.target, arguments.replay)
    if not arguments.crashes.is_dir():
        raise UsageError(f"{arguments.crashes} is no folder", hint="--crashes takes one that exists")
    if arguments.engine == "atheris":
        return _atheris(names, arguments)
    executions = arguments.executions or (DEFAULT_EXECUTIONS if arguments.seconds is None else None)
    shares = sum(TARGETS[name].share for name in names)
    reports = [
        run(
            TARGETS[name],
            seed=arguments.seed,
            executions=sys.maxsize if executions is None else max(1, round(executions * TARGETS[name].share / shares)),
            seconds=None if arguments.seconds is None else arguments.seconds / len(names),
            crashes=arguments.crashes,
        )
        for name in names
    ]
    long_life, outlived = None, True
    if "session" in names and arguments.soak:
        try:
            long_life = soak(seed=arguments.seed, steps=arguments.soak)
        except Violation:
            outlived = False
            traceback.print_exc()
    print(table(reports, long_life))
    crashes = [crash for report in reports for crash in report.crashes]
    for crash in crashes:
        print(f"\n{crash.error}\n{crash.trace}{_how_to_replay(crash.target, crash.path)}", file=sys.stderr)
    _write(
        arguments.json,
        {
            "engine": "random",
            "seed": arguments.seed,
            "targets": [_figures(report) for report in reports],
            "soak": None
            if long_life is None
            else {
                "steps": long_life.steps,
                "held_bytes": long_life.held_bytes,
                "step_us": long_life.step_us,
                "observed": long_life.observed.figures(),
            },
        },
    )
    return 0 if outlived and not crashes else 1


def replay(name: str, path: Path) -> int:
    """Run one input and show what it raises."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    try:
        TARGETS[name].run(data, Observed())
    except Exception:  # noqa: BLE001 - it is shown, which is what replaying is for
        traceback.print_exc()
        return 1
    print(f"{path}: {name} keeps its promises on these {len(data)} bytes")
    return 0


def table(reports: list[Report], long_life: Soak | None) -> str:
    """The figures as Markdown."""
    lines = [
        "| target | executions | seconds | executions/s | exceptions | values fed | objects whole "
        "| most buffered, KiB | most traced, KiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    seen = Observed()
    for report in reports:
        observed = report.observed
        seen.add(observed)
        lines.append(
            f"| {report.target} | {report.executions:,} | {report.seconds:.0f} | {report.executions_per_s:,.0f} "
            f"| {len(report.crashes)} | {observed.values:,} | {observed.objects:,} "
            f"| {observed.largest_buffered / _KIB:,.0f} | {report.traced_peak_bytes / _KIB:,.0f} |"
        )
    lines += [
        f"\nCaps: {MAX_BUFFERED_BYTES // _KIB:,} KiB buffered, {MAX_TRACED_BYTES // _KIB:,} KiB traced. "
        f"Most values a session had to say at once: {seen.largest_burst}.",
        f"Refused: {_by_reason(seen)}.",
    ]
    if long_life is not None:
        held = ", ".join(f"{size / _KIB:.0f}" for size in long_life.held_bytes)
        pace = ", ".join(f"{micros:.0f}" for micros in long_life.step_us)
        lines += [
            f"\nOne session through {long_life.steps:,} steps ({long_life.values:,} values) under the memory tracer, "
            f"at rest after each tenth: holds {held} KiB; a step took {pace} us."
        ]
    return "\n".join(lines)


def _figures(report: Report) -> dict[str, Any]:
    return {
        "target": report.target,
        "executions": report.executions,
        "seconds": report.seconds,
        "executions_per_s": report.executions_per_s,
        "traced_peak_bytes": report.traced_peak_bytes,
        "crashes": [{"input": str(crash.path), "error": crash.error} for crash in report.crashes],
    } | report.observed.figures()


def _by_reason(seen: Observed) -> str:
    counts = [(reason.value, count) for reason, count in seen.refusals.most_common()]
    counts += [("malformed, codec alone", seen.malformed)] if seen.malformed else []
    return ", ".join(f"{name} {count:,}" for name, count in counts) or "nothing"


def _how_to_replay(name: str, path: Path) -> str:
    return f"run it again: wayword-sim bench link-fuzz --target {name} --replay {path}"


def _atheris(names: list[str], arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec("atheris") is None:
        raise UsageError("atheris is not installed", hint="pip install -e '.[fuzz]'")
    figures, failed = {}, False
    for name in names:
        before = set(arguments.crashes.glob(f"fuzz-{name}-*"))
        with tempfile.TemporaryDirectory() as folder:
            stats = Path(folder) / "stats.json"
            corpus = (arguments.corpus or Path(folder)) / name
            corpus.mkdir(parents=True, exist_ok=True)
            if not any(corpus.iterdir()):
                rng = random.Random(f"corpus/{name}/{arguments.seed}")
                for number in range(_SEED_INPUTS):
                    (corpus / f"drawn-{number}").write_bytes(TARGETS[name].draw(rng))
            command = [sys.executable, "-m", "simulations.fuzz.atheris_main", name, "--stats", str(stats), str(corpus)]
            command += [f"-artifact_prefix={arguments.crashes}/fuzz-{name}-", "-max_len=2048", "-timeout=60"]
            command += [f"-seed={arguments.seed}", "-len_control=0", "-print_final_stats=1"]
            if arguments.executions is not None:
                command.append(f"-runs={max(1, arguments.executions // len(names))}")
            if arguments.seconds is not None or arguments.executions is None:
                command.append(f"-max_total_time={max(1, int((arguments.seconds or 60) / len(names)))}")
            code = subprocess.run(command, check=False).returncode
            figures[name] = json.loads(stats.read_text()) if stats.exists() else {}
        crashes = sorted(set(arguments.crashes.glob(f"fuzz-{name}-*")) - before)
        figures[name] |= {"exit_code": code, "crashes": [str(path) for path in crashes]}
        failed = failed or code != 0
        for path in crashes:
            print(_how_to_replay(name, path), file=sys.stderr)
    print(json.dumps(figures, indent=1))
    _write(arguments.json, {"engine": "atheris", "targets": figures})
    return 1 if failed else 0


def _write(path: Path | None, figures: Mapping[str, Any]) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(figures, indent=1) + "\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
