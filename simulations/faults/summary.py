"""Figures over many runs, and the table that shows them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.link import Lane
from simulations.faults.checks import usable_times
from simulations.faults.records import Kind, Outcome, Run
from simulations.faults.replay import Verdict


@dataclass(frozen=True, slots=True)
class KindFigures:
    """What became of the objects of one kind."""

    sent: int
    owed: int
    delivered: int
    expired: int
    killed: int
    failed: int


@dataclass(frozen=True, slots=True)
class ResumeFigures:
    """Bytes of strips sent again after a cut, over the cuts that left something to repeat.

    Attributes:
        cuts: connections that followed another one, between the same processes.
        repeating: those on which anything was sent again.
        p50, largest: bytes that had been sent before the cut.
        share_of_window: the largest, over a window of its fragments.
        unheard: the largest when what was written after the cut, before its end was known, counts as well.
        unheard_share: that, over a window of its fragments.
        one_transfer_share: the largest of one transfer, both counted, over a window.
    """

    cuts: int
    repeating: int
    p50: float
    largest: int
    share_of_window: float
    unheard: int
    unheard_share: float
    one_transfer_share: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures over many runs.

    Attributes:
        seeds: how many were played.
        failing: those of which something does not hold.
        faults: how often each kind happened.
        objects: by kind.
        reasons: why objects expired, numbers replaced by n.
        recovery_s: from the link being usable again, with something waiting, to the next object given to an
            application: median and longest.
        connections: altogether.
        refused_frames: that links survived.
        most_buffered: bytes a link held for incoming objects.
        values: ATT values written.
        virtual_s, real_s: time that passed.
    """

    seeds: int
    failing: Sequence[int]
    faults: Mapping[str, int]
    objects: Mapping[str, KindFigures]
    reasons: Mapping[str, int]
    resume: ResumeFigures
    recovery_s: tuple[float, float]
    connections: int
    refused_frames: int
    most_buffered: int
    values: int
    virtual_s: float
    real_s: float


class Tally:
    """Adds verdicts up one by one, so that their runs need not be kept."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._failing: list[int] = []
        self._seeds = 0
        self._faults: Counter[str] = Counter()
        self._objects: dict[Kind, Counter[str]] = {kind: Counter() for kind in Kind}
        self._reasons: Counter[str] = Counter()
        self._recoveries: list[float] = []
        self._cuts = 0
        self._again: list[int] = []
        self._shares: list[tuple[float, int, float, float]] = [(0.0, 0, 0.0, 0.0)]
        self._counts: Counter[str] = Counter()
        self._virtual_s = 0.0
        self._real_s = 0.0
        self._most_buffered = 0

    def add(self, verdict: Verdict) -> None:
        """Count one seed."""
        self._seeds += 1
        self._real_s += verdict.seconds
        if verdict.violations:
            self._failing.append(verdict.seed)
            self.failures.append(str(verdict))
        if verdict.run is not None:
            self._add_run(verdict.run, {sent.name for sent in verdict.owed})

    def _add_run(self, run: Run, owed: set[str]) -> None:
        self._faults.update(run.faults)
        for sent in run.objects:
            counts = self._objects[sent.kind]
            counts["sent"] += 1
            counts[sent.outcome] += 1
            counts["owed"] += sent.name in owed
            if sent.outcome is Outcome.EXPIRED:
                self._reasons[re.sub(r"\d+(\.\d+)?", "n", sent.why)] += 1
        for resumed in run.resumed:
            if resumed.lane is Lane.BULK and resumed.quiet:
                self._cuts += 1
                if resumed.bytes:
                    self._again.append(resumed.bytes)
                window = resumed.window
                unheard = resumed.with_unheard
                self._shares.append((resumed.bytes / window, unheard, unheard / window, resumed.one_transfer / window))
        self._recoveries += recoveries(run)
        self._counts.update(
            connections=run.connections,
            refused=run.refused_frames,
            values=sum(1 for entry in run.trace if entry.what == "writes"),
        )
        self._virtual_s += run.ended_at
        self._most_buffered = max(self._most_buffered, run.most_buffered)

    def summary(self) -> Summary:
        """Everything so far."""
        objects = {
            str(kind): KindFigures(
                sent=counts["sent"],
                owed=counts["owed"],
                delivered=counts[Outcome.DELIVERED],
                expired=counts[Outcome.EXPIRED],
                killed=counts[Outcome.KILLED],
                failed=counts[Outcome.FAILED] + counts[Outcome.PENDING],
            )
            for kind, counts in self._objects.items()
        }
        share, unheard, unheard_share, one = (max(column) for column in zip(*self._shares, strict=True))
        return Summary(
            seeds=self._seeds,
            failing=self._failing,
            faults=dict(sorted(self._faults.items())),
            objects=objects,
            reasons=dict(self._reasons.most_common()),
            resume=ResumeFigures(
                cuts=self._cuts,
                repeating=len(self._again),
                p50=float(np.median(self._again)) if self._again else 0.0,
                largest=max(self._again, default=0),
                share_of_window=share,
                unheard=int(unheard),
                unheard_share=unheard_share,
                one_transfer_share=one,
            ),
            recovery_s=(
                (float(np.median(self._recoveries)), max(self._recoveries)) if self._recoveries else (0.0, 0.0)
            ),
            connections=self._counts["connections"],
            refused_frames=self._counts["refused"],
            most_buffered=self._most_buffered,
            values=self._counts["values"],
            virtual_s=self._virtual_s,
            real_s=self._real_s,
        )


def recoveries(run: Run) -> Iterator[float]:
    """Seconds from each time the link became usable while something waited, to the next object that arrived."""
    arrivals = sorted(at for sent in run.objects for _, at in sent.deliveries)
    for time in usable_times(run.stretches, run.ended_at):
        waiting = any(
            sent.at <= time.start and (sent.resolved_at is None or sent.resolved_at > time.start)
            for sent in run.objects
        )
        arrival = next((at for at in arrivals if time.start <= at <= time.end), None)
        if waiting and arrival is not None:
            yield arrival - time.start


def tables(summary: Summary) -> str:
    """The summary as Markdown."""
    return "\n".join(_lines(summary))


def _lines(summary: Summary) -> Iterator[str]:
    yield "| fault | times |"
    yield "|---|---|"
    yield from (f"| {fault} | {times} |" for fault, times in summary.faults.items())
    yield ""
    yield "| object | sent | owed | delivered | expired | sender killed | failed |"
    yield "|---|---|---|---|---|---|---|"
    for kind, of in summary.objects.items():
        yield f"| {kind} | {of.sent} | {of.owed} | {of.delivered} | {of.expired} | {of.killed} | {of.failed} |"
    yield ""
    yield "| why it expired | times |"
    yield "|---|---|"
    yield from (f"| {reason} | {times} |" for reason, times in summary.reasons.items())
    yield ""
    resume = summary.resume
    yield "| figure | value |"
    yield "|---|---|"
    yield from _rows(
        {
            "seeds, failing": f"{summary.seeds}, {len(summary.failing)}",
            "connections": summary.connections,
            "usable again until the next object arrives, p50 / longest": _pair(summary.recovery_s, " s"),
            "cuts, with strips to repeat": f"{resume.cuts}, {resume.repeating}",
            "strips sent again after a cut, p50 / most": f"{resume.p50:.0f} / {resume.largest} bytes",
            "the most, in windows": f"{resume.share_of_window:.2f}",
            "of one transfer, with what was written unheard": f"{resume.one_transfer_share:.2f}",
            "of the lane, with what was written unheard": f"{resume.unheard_share:.2f} ({resume.unheard} bytes)",
            "frames refused and survived": summary.refused_frames,
            "bytes held for incoming objects, most": summary.most_buffered,
            "ATT values written": summary.values,
            "virtual time / real time": f"{summary.virtual_s / 3600:.1f} h / {summary.real_s:.0f} s",
            "real time a seed": f"{summary.real_s / max(1, summary.seeds) * 1000:.0f} ms",
        }.items()
    )


def _rows(figures: Iterable[tuple[str, Any]]) -> Iterator[str]:
    return (f"| {name} | {value} |" for name, value in figures)


def _pair(values: tuple[float, float], unit: str) -> str:
    return f"{values[0]:.2f} / {values[1]:.2f}{unit}"
