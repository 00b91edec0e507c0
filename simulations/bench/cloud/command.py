"""The cloud's promises, measured: real services, real sockets, real clients; ratios are taken within one run.

Each part is a module of this package and a subcommand with options of its own. Several parts may be named, or --all of
them asked for; they are then measured one after the other with their own defaults. A part that misses its target is
reported as such, and the exit code says whether everything could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final, cast

from shared.errors import StorageError, UsageError, WaywordError
from simulations.bench.cloud.findings import BenchPart, Finding, Findings
from simulations.bench.cloud.page import page

PARTS: Final = ("serving", "security", "faults", "fronts", "places", "updates", "reading", "canary")
"""Modules of this package, in the order in which --all measures them."""
_VERSIONS: Final = ("grpcio", "protobuf", "onnxruntime", "numpy", "ray", "redis")
"""Libraries whose versions matter to a number, where they are installed."""
_EXTRA: Final = {"ray": "cloud-ray"}
"""Extra of a library that a part may miss; the others come with `bench`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one part.

    Attributes:
        part: its name.
        findings: None where it could not be measured.
        problem: why not; empty where it was.
        seconds: it took.
    """

    part: str
    findings: Findings | None
    problem: str
    seconds: float


class _PartParser(argparse.ArgumentParser):
    """Command line of one part, whose module is imported when its turn comes: most of them take a while."""

    part = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See `argparse.ArgumentParser`; the part's own options are added first."""
        part, self.part = self.part, ""
        if part and (module := load(part)) is not None:
            self.description = module.HELP
            module.add_arguments(self)
        return super().parse_known_args(args, namespace)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cloud` to `wayword-sim bench`."""
    parser = subparsers.add_parser("cloud", help="serving, faults, places, updates, security", description=__doc__)
    _add_common(parser, suppress=False)
    parser.add_argument("--all", action="store_true", help="every part")
    parser.add_argument("--list", action="store_true", help="say what there is, and end")
    parts = parser.add_subparsers(metavar="PART", dest="part", parser_class=_PartParser)
    for name in PARTS:
        one = parts.add_parser(name)
        one.part = name
        one.add_argument("also", nargs="*", metavar="PART", help="more parts, with their defaults")
        _add_common(one, suppress=True)
    parser.set_defaults(body=run)


def _add_common(parser: argparse.ArgumentParser, *, suppress: bool) -> None:
    # A subcommand's default would overwrite what was given before its name.
    none = argparse.SUPPRESS if suppress else None
    parser.add_argument("--json", type=Path, metavar="F", help="write all figures here", default=none)
    parser.add_argument("--page", type=Path, metavar="F", help="write one HTML page here", default=none)
    parser.add_argument("--strict", action="store_true", help="a missed target is exit code 1", default=none)


def load(name: str) -> BenchPart | None:
    """The module of a part; None where there is none yet.

    Raises:
        ModuleNotFoundError: a library that it needs is not installed.
    """
    path = f"{__package__}.{name}"
    try:
        return cast(BenchPart, import_module(path))
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        return None


def run(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench cloud`: 0 when everything was measured, and with --strict met its target.

    Raises:
        UsageError: no part is named, or one that is not known.
        StorageError: a file cannot be written.
    """
    if arguments.list:
        print("\n".join(_listed()))
        return 0
    named = [arguments.part, *arguments.also] if arguments.part else []
    for name in named:
        if name not in PARTS:
            raise UsageError(f"no part {name!r}", hint=f"there are {', '.join(PARTS)}")
    if not named and not arguments.all:
        raise UsageError("nothing to measure", hint=f"name parts ({', '.join(PARTS)}) or --all")
    order = dict.fromkeys(PARTS if arguments.all else named)
    machine = machine_line()
    print(machine, flush=True)
    outcomes: list[Outcome] = []
    for name in order:
        own = arguments if name == arguments.part else defaults_of(name)
        outcome = measure(name, own)
        outcomes.append(outcome)
        print("\n".join(["", *as_markdown(outcome)]), flush=True)
        # After every part, so that a run which ends early leaves what it has.
        if arguments.json is not None:
            _write(arguments.json, json.dumps(as_json(machine, outcomes), ensure_ascii=False, indent=1) + "\n")
        if arguments.page is not None:
            shown = [(outcome.part, outcome.findings, outcome.problem) for outcome in outcomes]
            _write(arguments.page, page(machine, shown, summary(outcomes)))
    print("\n".join(["", *summary(outcomes)]))
    failed = any(outcome.problem for outcome in outcomes)
    missed = any(row.met is False for row in _rows(outcomes))
    return 1 if failed or (missed and arguments.strict) else 0


def defaults_of(name: str) -> argparse.Namespace:
    """Options of a part of which none was given."""
    parser = argparse.ArgumentParser()
    try:
        module = load(name)
    except ModuleNotFoundError:
        module = None  # `measure` says so
    if module is not None:
        module.add_arguments(parser)
    return parser.parse_args([])


def measure(name: str, options: argparse.Namespace) -> Outcome:
    """Measure one part; what keeps it from being measured is told, not raised."""
    started = time.monotonic()

    def ended(findings: Findings | None, problem: str) -> Outcome:
        return Outcome(name, findings, problem, time.monotonic() - started)

    def progress(line: str) -> None:
        print(f"{name} [{time.monotonic() - started:5.0f} s] {line}", file=sys.stderr, flush=True)

    try:
        module = load(name)
        if module is None:
            return ended(None, "this part is not there yet")
        return ended(module.measure(options, progress), "")
    except ModuleNotFoundError as error:
        library = (error.name or "a library").partition(".")[0]
        return ended(None, f"{library} is not installed: pip install 'wayword[{_EXTRA.get(library, 'bench')}]'")
    except WaywordError as error:
        return ended(None, str(error))


def as_markdown(outcome: Outcome) -> list[str]:
    """Heading, table and remarks of one part."""
    findings = outcome.findings
    if findings is None:
        return [f"## {outcome.part}", "", f"Could not be measured: {outcome.problem}."]
    lines = [f"## {findings.title}", ""]
    lines += ["| measure | value | target | met | how |", "|---|---|---|---|---|"]
    lines += [f"| {row.what} | {shown(row)} | {row.target} | {verdict(row)} | {row.note} |" for row in findings.rows]
    setting = {**findings.setting, "seconds": round(outcome.seconds)}
    lines += ["", "Setting: " + ", ".join(f"{name} {value}" for name, value in setting.items()) + "."]
    return [*lines, *(line for remark in findings.remarks for line in ("", remark))]


def shown(row: Finding) -> str:
    """A value with its unit."""
    if row.value is None:
        return "–"
    number = f"{row.value:.4g}" if abs(row.value) < 1e4 else f"{row.value:.0f}"
    return f"{number} {row.unit}".rstrip()


def verdict(row: Finding) -> str:
    """Whether a target is met, in a word; empty where there is none."""
    if not row.target:
        return ""
    return {True: "yes", False: "NO", None: "not measured"}[row.met]


def summary(outcomes: Sequence[Outcome]) -> list[str]:
    """How many targets are met, which are missed, and what could not be measured."""
    targets = [row for row in _rows(outcomes) if row.target]
    met = sum(row.met is True for row in targets)
    lines = [f"Targets met: {met} of {len(targets)}."]
    for outcome in outcomes:
        for row in outcome.findings.rows if outcome.findings else ():
            if row.target and row.met is not True:
                word = "missed" if row.met is False else "not measured"
                lines.append(f"{word}: {outcome.part}: {row.what}: {shown(row)} (target {row.target})")
        if outcome.problem:
            lines.append(f"not measured: {outcome.part}: {outcome.problem}")
    return lines


def as_json(machine: str, outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
    """All figures."""
    parts = {
        outcome.part: {
            "seconds": round(outcome.seconds, 1),
            "problem": outcome.problem,
            **({} if outcome.findings is None else _plain(asdict(outcome.findings))),
        }
        for outcome in outcomes
    }
    return {"machine": machine, "parts": parts}


def machine_line() -> str:
    """Cores this process may use, processor, kernel, versions, and how busy the machine is."""
    cores = len(os.sched_getaffinity(0))
    model = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    versions = ", ".join(_versions())
    return (
        f"{cores} cores, {model}, Linux {platform.release()}, Python {platform.python_version()}, {versions}; "
        f"load before {os.getloadavg()[0]:.1f}"
    )


def _versions() -> Iterator[str]:
    for name in _VERSIONS:
        try:
            yield f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue


def _listed() -> Iterator[str]:
    for name in PARTS:
        try:
            module = load(name)
        except ModuleNotFoundError as error:
            yield f"{name:10} (needs {error.name}, which is not installed)"
            continue
        yield f"{name:10} {module.HELP if module is not None else '(not there yet)'}"


def _rows(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        if outcome.findings is not None:
            yield from outcome.findings.rows


def _plain(value: Any) -> Any:
    """Values that JSON can hold: a setting may be anything that prints."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
