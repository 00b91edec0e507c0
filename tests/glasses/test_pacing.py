"""Bulk is given to the controller so that events are full and control is not kept waiting."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import dataclass

import pytest

from glasses.pacing import MAX_TARGET, EventPacer

PACKET = 251
CONTROL = 131  # a 100-byte object within START
STEP = 0.0005


@dataclass
class Outcome:
    filled: float  # of the rate
    waits: list[float]  # of control values, in intervals


def play(rate: float, interval: float, *, lateness: float, seed: int, paced: bool = True) -> Outcome:
    """Ten seconds of saturating bulk and control at random times, on a controller that releases by connection event.

    Completions are reported up to `lateness` seconds late, as on a machine with other work.
    """
    chance = random.Random(seed)
    pacer = EventPacer(interval if paced else None)
    queue: list[tuple[float | None, int]] = []  # when control was written (None: bulk), bytes
    waits: list[float] = []
    credit, bulk, pending, unreported, event = 0.0, 0, 0, 0, 0
    report_at, control_at = math.inf, 0.5
    for tick in range(int(10.0 / STEP)):
        now = tick * STEP
        if int(now / interval) > event:
            event += 1
            credit = credit + rate * interval if queue else 0.0
            while queue and queue[0][1] <= credit:
                written, size = queue.pop(0)
                credit -= size
                unreported += 1
                if written is None:
                    bulk += size
                else:
                    waits.append((now - written) / interval)
            if unreported:
                report_at = min(report_at, now + chance.uniform(0.0, lateness))
        if now >= report_at:
            pending, unreported, report_at = pending - unreported, 0, math.inf
            pacer.completed(now, pending=pending)
        if now >= control_at:
            control_at = now + chance.uniform(0.1, 0.3)
            queue.append((now, CONTROL))
            pending += 1
        while pacer.bulk_at(now, pending=pending) <= now:
            queue += [(None, PACKET), (None, PACKET)]
            pending += 2
    return Outcome(bulk / 10.0 / rate, waits)


@pytest.mark.parametrize("lateness", [0.001, 0.005])
@pytest.mark.parametrize("interval", [0.015, 0.030, 0.050])
@pytest.mark.parametrize("rate", [25_000.0, 40_000.0, 60_000.0, 100_000.0])
def test_the_link_is_filled_and_control_leaves_early(rate: float, interval: float, lateness: float) -> None:
    outcome = play(rate, interval, lateness=lateness, seed=1)
    assert outcome.filled >= 0.93
    if rate * interval >= 4 * PACKET:  # below, an event carries too little to hold any of it back
        assert statistics.median(outcome.waits) <= 1.1


def test_holding_back_is_what_lets_control_leave_early() -> None:
    paced, greedy = (play(60_000.0, 0.030, lateness=0.002, seed=3, paced=paced) for paced in (True, False))
    assert statistics.median(paced.waits) < statistics.median(greedy.waits) - 0.3


def test_a_queue_that_never_empties_is_shortened_and_one_that_always_does_is_lengthened() -> None:
    pacer = EventPacer(0.030)
    for number in range(50):
        now = number * 0.030
        pacer.completed(now, pending=0)
        assert pacer.bulk_at(now + 0.001, pending=MAX_TARGET + 1) == math.inf
    assert pacer.target == MAX_TARGET
    for number in range(50, 100):
        pacer.completed(number * 0.030, pending=MAX_TARGET)
    assert pacer.target == 1


def test_an_idle_sender_may_send_at_once() -> None:
    pacer = EventPacer(0.030)
    pacer.completed(1.0, pending=0)
    assert pacer.bulk_at(60.0, pending=0) == 60.0


def test_a_changed_interval_forgets_the_old_events() -> None:
    pacer = EventPacer(0.030)
    pacer.completed(1.0, pending=2)
    assert pacer.bulk_at(1.001, pending=3) > 1.001
    pacer.set_interval(0.015)
    assert pacer.bulk_at(1.001, pending=3) == 1.001
