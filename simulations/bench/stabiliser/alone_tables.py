"""What `alone` found, as Markdown."""

from __future__ import annotations

import sys
from dataclasses import astuple
from typing import Final

from simulations.bench.stabiliser.alone import AloneResults, Recovery, Row, Spread
from simulations.bench.stabiliser.contenders import OURS_WITH_GYRO, named
from simulations.bench.stabiliser.measures import CLOSE_PX
from simulations.bench.stabiliser.tables import markdown_table, number
from simulations.sequences import FRAME_RATE

LATER: Final = ("p95", "p99", "max")
OBSERVE_HEAD: Final = ("stabiliser", "glasses", "observe p50 ms", *LATER, "inside p50 ms", *LATER)
AGE_HEAD: Final = ("stabiliser", "glasses", "asked p50 ms", "max", "computed p50 ms", *LATER, "had p50 ms", *LATER)
KILL_HEAD: Final = ("glasses", "signs tracked before", "frames without", "seconds", "longest observe ms", "restarts")
OBSERVE_NOTE: Final = (
    "Wall time of `observe` as the glasses see it, frames paced by the clock, without the first one. Inside: from the "
    "frame's arrival in the stabiliser's process to its answer; the rest of `observe` is the way there and back and, "
    "with a busy thread, the wait for the interpreter's lock of the *glasses'* process: whoever calls into the kernel "
    "gives the lock away, and gets it back when the busy thread's turn of {interval:g} ms is over. In the glasses "
    "themselves every kernel of the stabiliser that gives the lock away pays for it; beside them only the client does."
)
AGE_NOTE: Final = (
    "Age of a frame, from when it was due: when the glasses ask (late when their thread wakes late or is not done with "
    "the frame before, which queues), when its poses are computed, when the glasses have them. Computed in the process "
    "is the moment the frame was sent plus the time inside; the time the machine takes to wake the process is counted "
    "between computed and had. The mapper runs beside in the process's form, and between two frames in the other."
)
KILL_NOTE: Final = (
    "The process that follows the signs is killed (SIGKILL) right before a frame in the middle is sent. Frames "
    "without: from that frame on, until all signs that were tracked before and are visible are tracked again within "
    "{close:g} px; seconds from the kill until the glasses have the poses of that frame."
)


def markdown(results: AloneResults) -> str:
    """The whole report."""
    (contender,) = named([OURS_WITH_GYRO])
    parts = [
        f"Machine: {results.machine}. {results.sequence}, seed {results.seed}, {results.seconds:g} s, 1280x720 at "
        f"{FRAME_RATE:g} frames a second; {contender.title}.",
        "### The stabiliser in a process of its own and in the glasses'",
        OBSERVE_NOTE.format(interval=sys.getswitchinterval() * 1e3),
        markdown_table(OBSERVE_HEAD, [_cells(row, row.observe, row.inside) for row in results.rows]),
        "### Age of the frame",
        AGE_NOTE,
        markdown_table(AGE_HEAD, [_age_cells(row) for row in results.rows]),
        "### After a kill",
        KILL_NOTE.format(close=CLOSE_PX),
        markdown_table(KILL_HEAD, [_kill_cells(each) for each in results.recoveries]),
    ]
    return "\n\n".join(parts) + "\n"


def _cells(row: Row, *spreads: Spread) -> list[str]:
    return [row.form, row.load, *(number(value) for spread in spreads for value in astuple(spread))]


def _age_cells(row: Row) -> list[str]:
    return [
        row.form,
        row.load,
        number(row.asked.p50),
        number(row.asked.max),
        *(number(value) for spread in (row.computed, row.had) for value in astuple(spread)),
    ]


def _kill_cells(recovery: Recovery) -> list[str]:
    return [
        recovery.load,
        str(recovery.regions),
        number(recovery.frames, 0),
        number(recovery.seconds, 3),
        number(recovery.longest_ms, 1),
        str(recovery.restarts),
    ]
