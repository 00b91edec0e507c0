"""Where are the labels, and what does it cost? All contenders on the same frames, in one run.

Sequences have a truth to measure against; a real clip (`--clip`) has none and is played forwards and backwards. What is
slow is spared some seeds and seconds, which the tables say.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import StorageError, UsageError
from simulations.bench.stabiliser.contenders import (
    CONTENDERS,
    LATE_NAMES,
    ONLY_LATE,
    OURS_WITH_GYRO,
    CameraFacts,
    Contender,
    named,
)
from simulations.bench.stabiliser.late import LAGS_S, Reading, late_figures, late_readings
from simulations.bench.stabiliser.measures import Figures, measure, over_seeds
from simulations.bench.stabiliser.page import page
from simulations.bench.stabiliser.play import Warm, play
from simulations.bench.stabiliser.results import LateRow, Results, Row, machine_line, series_of
from simulations.bench.stabiliser.tables import markdown
from simulations.sequences import FOCAL_PX, FRAME_RATE, REPORTING_SEEDS, TUNING_SEEDS, SequenceFrame
from simulations.sequences.catalogue import NAMES, sequence

SECONDS = 10.0
QUICK_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Attributes:
        sequences: names.
        seeds: of each.
        seconds: of each.
        contenders: for the main table.
        late: contenders for late readings.
    """

    sequences: tuple[str, ...]
    seeds: tuple[int, ...]
    seconds: float
    contenders: tuple[Contender, ...]
    late: tuple[Contender, ...] = ()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `stabiliser` to `wayword-sim bench`."""
    parser = subparsers.add_parser("stabiliser", help="stabilisers side by side", description=__doc__)
    names = [contender.name for contender in (*CONTENDERS, *ONLY_LATE)]
    parser.add_argument("--sequences", metavar="A,B", help=f"default: all of {','.join(NAMES)}")
    parser.add_argument("--seeds", default="reporting", help="tuning, reporting or N,N (default: %(default)s)")
    parser.add_argument("--contenders", metavar="A,B", help=f"of {','.join(names)}")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"of each sequence or clip (default: {SECONDS:g})")
    parser.add_argument("--quick", action="store_true", help=f"one seed, {QUICK_SECONDS:g} s, nothing slow")
    parser.add_argument(
        "--late",
        nargs="?",
        const="only",
        choices=("only", "also"),
        help="readings that arrive late, instead of the main table or also",
    )
    parser.add_argument(
        "--process",
        action="store_true",
        help="whether the rest of the glasses can delay the poses: in a process and in the glasses', quiet and busy, "
        "and after a kill; one sequence (default: walk), one seed, 5 s",
    )
    parser.add_argument("--clip", type=Path, metavar="FILE", help="a video, forwards and backwards")
    parser.add_argument(
        "--quad",
        action="append",
        default=[],
        metavar="X,Y,X,Y,X,Y,X,Y",
        help="a sign in the clip's first frame, clockwise from its top left, pixels of the video (repeatable; default: "
        "what the text detector finds)",
    )
    parser.add_argument("--packs", type=Path, metavar="DIR", help="pack store of the detector (default: the user's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")
    parser.set_defaults(body=body)


def body(arguments: argparse.Namespace) -> int:
    """Body of `wayword-sim bench stabiliser`."""
    if arguments.process:
        return _alone(arguments)
    if arguments.clip is not None:
        return _clip(arguments)
    results = run(plan_of(arguments))
    print(markdown(results), end="")
    if arguments.json is not None:
        _write(arguments.json, json.dumps(results.as_json(), indent=1) + "\n")
    if arguments.html is not None:
        _write(arguments.html, page(results))
    return 0


def plan_of(arguments: argparse.Namespace) -> Plan:
    """What the command line asks for.

    Raises:
        UsageError: a name or a number is not known.
    """
    sequences = tuple(arguments.sequences.split(",")) if arguments.sequences else NAMES
    for name in sequences:
        if name not in NAMES:
            raise UsageError(f"no sequence {name!r}", hint=f"there are {', '.join(NAMES)}")
    seeds = seeds_of(arguments.seeds)
    seconds = arguments.seconds or (QUICK_SECONDS if arguments.quick else SECONDS)
    if arguments.contenders:
        main = late = named(arguments.contenders.split(","))
    else:
        main = [contender for contender in CONTENDERS if not (arguments.quick and contender.limit)]
        late = named(LATE_NAMES)
    if arguments.late is None:
        late = []
    elif arguments.late == "only":
        main = []
    return Plan(sequences, seeds[:1] if arguments.quick else seeds, seconds, tuple(main), tuple(late))


def seeds_of(text: str) -> tuple[int, ...]:
    """Seeds by name or number.

    Raises:
        UsageError: neither.
    """
    if text in ("tuning", "reporting"):
        return TUNING_SEEDS if text == "tuning" else REPORTING_SEEDS
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"no seeds {text!r}", hint="tuning, reporting, or numbers with commas between") from error


def run(plan: Plan) -> Results:
    """Play every sequence to every contender, contenders side by side on each."""
    results = Results(machine_line(), plan.seeds, plan.seconds)
    contenders = _present(plan.contenders, results)
    late = _present(plan.late, results)
    warm = Warm()
    for name in plan.sequences:
        figures: dict[str, list[Figures]] = {contender.name: [] for contender in contenders}
        readings: dict[tuple[str, float], list[Reading]] = {}
        for number, seed in enumerate(plan.seeds):
            with _progress(f"{name}, seed {seed}: drawing"):
                taken = sequence(name, seed, plan.seconds)
                frames = list(taken.frames())
                camera = CameraFacts(FOCAL_PX, taken.readout_s)
            for contender in (*contenders, *late):
                warm.up(frames, contender, camera)
            for contender in contenders:
                if contender.limit is not None and number >= contender.limit.seeds:
                    continue
                with _progress(f"{name}, seed {seed}: {contender.title}"):
                    recording = play(_limited(frames, contender), contender, camera)
                figures[contender.name].append(measure(recording))
                if number == 0:
                    results.series.append(series_of(recording, name, contender.name, contender.title, seed))
            for contender in late:
                with _progress(f"{name}, seed {seed}: late readings, {contender.title}"):
                    for lag in LAGS_S:
                        found = late_readings(frames, contender, camera, lag)
                        readings.setdefault((contender.name, lag), []).extend(found)
        for contender in contenders:
            joined = over_seeds(figures[contender.name])
            note = _note(contender, plan)
            results.rows.append(Row(name, contender.name, contender.title, contender.gyro, joined, note))
        for contender in late:
            for lag in LAGS_S:
                row = late_figures(readings.get((contender.name, lag), []))
                results.late.append(LateRow(name, contender.name, contender.title, lag, row))
    return results


def _present(contenders: Sequence[Contender], results: Results) -> list[Contender]:
    """Those that can run here; the reason of the others goes into the results."""
    present = []
    for contender in contenders:
        reason = contender.missing()
        if reason:
            results.skipped[contender.title] = reason
        else:
            present.append(contender)
    return present


def _limited(frames: Sequence[SequenceFrame], contender: Contender) -> Sequence[SequenceFrame]:
    return frames if contender.limit is None else frames[: round(contender.limit.seconds * FRAME_RATE)]


def _note(contender: Contender, plan: Plan) -> str:
    limit = contender.limit
    if limit is None or (limit.seeds >= len(plan.seeds) and limit.seconds >= plan.seconds):
        return ""
    seeds = ", ".join(str(seed) for seed in plan.seeds[: limit.seeds])
    return f"Slow: only seed {seeds}, and its first {min(limit.seconds, plan.seconds):g} s."


@contextmanager
def _progress(what: str) -> Iterator[None]:
    print(what, file=sys.stderr, flush=True)
    yield


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def _alone(arguments: argparse.Namespace) -> int:
    from simulations.bench.stabiliser import alone, alone_tables

    for name in ("clip", "late", "contenders", "html", "quick"):
        if getattr(arguments, name):
            raise UsageError(f"--{name} has no meaning with --process")
    name = arguments.sequences or alone.SEQUENCE
    if name not in NAMES:
        raise UsageError(f"no sequence {name!r}", hint=f"one of {', '.join(NAMES)}")
    seconds = alone.SECONDS if arguments.seconds is None else arguments.seconds
    if seconds < alone.LEAST_SECONDS:
        raise UsageError(f"{seconds:g} s are too short", hint=f"{alone.LEAST_SECONDS:g} s or more")

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    results = alone.run(name, seeds_of(arguments.seeds)[0], seconds, say=say)
    print(alone_tables.markdown(results), end="")
    if arguments.json is not None:
        _write(arguments.json, json.dumps(results.as_json(), indent=1) + "\n")
    return 0


def _clip(arguments: argparse.Namespace) -> int:
    from simulations.bench.stabiliser import clips

    names = arguments.contenders.split(",") if arguments.contenders else None
    contenders = named(names) if names else [each for each in CONTENDERS if each.name != OURS_WITH_GYRO]
    seconds = arguments.seconds or math.inf
    report = clips.run(arguments.clip, arguments.quad, contenders, seconds, arguments.packs)
    print(clips.markdown(report), end="")
    if arguments.json is not None:
        _write(arguments.json, json.dumps(clips.as_json(report), indent=1) + "\n")
    return 0
