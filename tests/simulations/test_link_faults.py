"""A thousand seeded fault schedules for the link, and that the checks they are judged by can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.link import Lane, SendReceipt
from shared.wire.driver import DatagramPort
from simulations import cli
from simulations.faults import ends
from simulations.faults.checks import owed, usable_times, violations
from simulations.faults.connection import Port
from simulations.faults.ends import SimulatedLink
from simulations.faults.records import Cause, Kind, Outcome, Run, SentObject, Stretch
from simulations.faults.replay import judge, judge_all, report
from simulations.faults.resume import Resumed
from simulations.faults.schedule import (
    FAULTS_END_S,
    Cut,
    End,
    Kill,
    Noise,
    NoiseKind,
    OutOfRange,
    Overflow,
    Silence,
    cut_behind,
    draw,
)
from simulations.faults.trace import Trace
from simulations.faults.world import play

SEEDS = range(1, 1001)
CHUNK = 25
SWEEP = range(1, 61)
"""Values that a 20 kB strip and its answers take, and a few more."""
SAMPLE = (3, 42, 271, 828)


# The thousand ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", SEEDS[::CHUNK])
def test_nothing_is_lost_doubled_or_stuck_whatever_happens(first: int) -> None:
    verdicts = judge_all(range(first, first + CHUNK))
    assert not report(verdicts), report(verdicts)
    strips = [sent for verdict in verdicts if verdict.run for sent in verdict.run.objects if sent.kind is Kind.STRIP]
    owed_strips = sum(sent.kind is Kind.STRIP for verdict in verdicts for sent in verdict.owed)
    assert owed_strips > len(strips) / 3, "the checks would promise too little to mean anything"


def test_the_seeds_draw_every_fault_often() -> None:
    drawn = Counter(
        (type(fault), fault.kind if isinstance(fault, Noise) else fault.end if isinstance(fault, Kill) else None)
        for seed in SEEDS
        for fault in draw(seed).faults
    )
    kinds = [
        *((Noise, kind) for kind in NoiseKind),
        *((Kill, end) for end in End),
        *((kind, None) for kind in (Cut, OutOfRange, Silence, Overflow)),
    ]
    assert min(drawn[kind] for kind in kinds) >= 50
    late = [seed for seed in SEEDS if any(setup.steps[0].max_write < 64 for setup in draw(seed).setups[:2])]
    assert len(late) > 300
    long = [f for seed in SEEDS for f in draw(seed).faults if isinstance(f, OutOfRange) and f.seconds == 10.0]
    assert len(long) > 100


@pytest.mark.parametrize("first", SWEEP[::20])
def test_a_strip_cut_behind_any_of_its_values_arrives_once_and_costs_at_most_a_window(first: int) -> None:
    for values in range(first, first + 20):
        verdict = judge(values, draw=cut_behind)
        assert not verdict.violations, verdict
        assert verdict.run is not None
        assert verdict.run.faults["cut"] == 1
        assert verdict.run.connections == 2
        strip = next(sent for sent in verdict.run.objects if sent.kind is Kind.STRIP)
        assert [life for life, _ in strip.deliveries] == [1]
        assert strip.outcome is Outcome.DELIVERED


def test_the_cut_falls_in_the_middle_of_the_strip() -> None:
    again = {
        values: sum(resumed.bytes for resumed in play(cut_behind(values)).resumed if resumed.lane is Lane.BULK)
        for values in (1, 10, 20, 30)
    }
    assert again[20] > 0
    assert max(again.values()) < 20_000 / 2


# The same seed, the same trace -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", SAMPLE)
def test_a_seed_gives_the_same_trace_twice(seed: int) -> None:
    one, two = play(draw(seed)).trace, play(draw(seed)).trace
    assert len(one) > 100
    assert one.digest == two.digest


def test_a_seed_gives_the_same_trace_in_another_process() -> None:
    script = "import sys; from simulations.faults.schedule import draw; from simulations.faults.world import play\n"
    script += "for seed in sys.argv[1:]: print(play(draw(int(seed))).trace.digest)"

    def digests(hash_seed: str) -> list[str]:
        command = [sys.executable, "-c", script, *map(str, SAMPLE)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=50)
        return done.stdout.split()

    here = [play(draw(seed)).trace.digest for seed in SAMPLE]
    assert len(set(here)) == len(SAMPLE)
    assert digests("1") == here
    assert digests("2") == here


# The checks can fail ---------------------------------------------------------------------------------


def test_without_faults_everything_is_owed_and_delivered() -> None:
    run = play(replace(draw(5), faults=()))
    assert violations(run) == []
    assert all(sent.outcome is Outcome.DELIVERED for sent in run.objects)
    behind_the_start = [sent for sent in run.objects if sent.at > 5]
    promised = {sent.name for sent in owed(run)}
    assert sum(sent.name in promised for sent in behind_the_start) > 0.9 * len(behind_the_start)


def test_a_link_that_does_not_come_back_fails_and_says_how_to_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    up = SimulatedLink.connection_up
    connections: list[SimulatedLink] = []

    def once(self: SimulatedLink, port: object) -> None:
        if self not in connections:
            connections.append(self)
            up(self, port)  # type: ignore[arg-type]

    monkeypatch.setattr(SimulatedLink, "connection_up", once)
    verdict = judge(20, draw=cut_behind)
    assert any("owed and not delivered" in line for line in verdict.violations)
    assert "wayword-sim bench link-faults --seed 20 --trace" in report([verdict])


def test_a_link_that_delivers_twice_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = SimulatedLink.receive

    async def twice(self: SimulatedLink) -> AsyncIterator[bytes]:
        async for payload in receive(self):
            yield payload
            yield payload

    monkeypatch.setattr(SimulatedLink, "receive", twice)
    assert any("delivered 2 times" in line for line in violations(play(cut_behind(20))))


def test_a_link_that_changes_bytes_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = SimulatedLink.receive

    async def changed(self: SimulatedLink) -> AsyncIterator[bytes]:
        async for payload in receive(self):
            yield payload[:-1] + b"?"

    monkeypatch.setattr(SimulatedLink, "receive", changed)
    assert any("nobody sent" in line for line in violations(play(cut_behind(20))))


def test_a_link_that_never_answers_its_sender_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    send = SimulatedLink.send

    async def silent(self: SimulatedLink, payload: bytes, *, lane: Lane, deadline: float) -> SendReceipt:
        return await send(self, payload, lane=lane, deadline=deadline + 3600)

    monkeypatch.setattr(SimulatedLink, "send", silent)
    silence = replace(cut_behind(20), faults=(Silence(0.9), OutOfRange(1.5, 3600.0)))
    assert any("never came to an end" in line for line in violations(play(silence)))


def test_a_link_that_keeps_a_dead_connection_for_ever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class PatientLink(SimulatedLink):
        """Overrides the one way in which a side learns of silence: its port is never asked to drop."""

        def connection_up(self, port: DatagramPort) -> None:
            assert isinstance(port, Port)
            port.drop = lambda: None  # type: ignore[method-assign]
            super().connection_up(port)

    monkeypatch.setattr(ends, "SimulatedLink", PatientLink)
    silence = replace(cut_behind(20), faults=(Silence(3.0),))
    assert any("no connection" in line for line in violations(play(silence)))


def sent_strip(outcome: Outcome, *, resolved_at: float, deliveries: list[tuple[int, float]]) -> SentObject:
    return SentObject(
        "strip 1",
        Kind.STRIP,
        End.GLASSES,
        1,
        Lane.BULK,
        2000,
        at=10.0,
        deadline=18.0,
        outcome=outcome,
        resolved_at=resolved_at,
        deliveries=deliveries,
    )


def run_of(*objects: SentObject, usable_from: float = 0.0, resumed: tuple[Resumed, ...] = ()) -> Run:
    stretches = [Stretch(usable_from, True, 512, (1, 1), Cause.CONNECTED)]
    return Run(cut_behind(1), Trace(), list(objects), stretches, resumed=resumed, ended_at=40.0)


def test_a_strip_that_expires_on_a_good_link_is_lost() -> None:
    strip = sent_strip(Outcome.EXPIRED, resolved_at=18.0, deliveries=[])
    assert violations(run_of(strip)) == ["strip 1: owed and not delivered (expired: )"]


def test_a_strip_that_expires_before_the_link_was_there_for_long_enough_is_not_lost() -> None:
    strip = sent_strip(Outcome.EXPIRED, resolved_at=18.0, deliveries=[])
    assert violations(run_of(strip, usable_from=16.9)) == []


@pytest.mark.parametrize(
    ("strip", "problem"),
    [
        (sent_strip(Outcome.PENDING, resolved_at=18.0, deliveries=[]), "never came to an end"),
        (sent_strip(Outcome.EXPIRED, resolved_at=18.5, deliveries=[]), "0.500 s after its deadline"),
        (sent_strip(Outcome.EXPIRED, resolved_at=17.0, deliveries=[]), "1.000 s before its deadline"),
        (sent_strip(Outcome.FAILED, resolved_at=12.0, deliveries=[]), "failed"),
        (sent_strip(Outcome.DELIVERED, resolved_at=12.0, deliveries=[]), "it was not"),
        (sent_strip(Outcome.DELIVERED, resolved_at=12.0, deliveries=[(1, 12.5)]), "it was not"),
        (sent_strip(Outcome.DELIVERED, resolved_at=12.0, deliveries=[(1, 11.0), (1, 11.5)]), "delivered 2 times"),
    ],
)
def test_every_rule_about_a_single_object_can_be_broken(strip: SentObject, problem: str) -> None:
    assert any(problem in line for line in violations(run_of(strip)))


def test_a_strip_may_reach_two_lives_of_the_phone_once_each() -> None:
    strip = sent_strip(Outcome.DELIVERED, resolved_at=12.0, deliveries=[(1, 11.0), (2, 11.9)])
    assert violations(run_of(strip)) == []


def test_sending_more_than_a_window_again_fails_unless_values_were_damaged() -> None:
    over = Resumed(2, End.GLASSES, Lane.BULK, bytes=101, with_unheard=101, one_transfer=60, window=100, quiet=True)
    assert any("more than a window" in line for line in violations(run_of(resumed=(over,))))
    assert violations(run_of(resumed=(replace(over, quiet=False),))) == []
    assert violations(run_of(resumed=(replace(over, with_unheard=100),))) == []


def test_a_usable_time_goes_on_when_the_att_mtu_grows_and_ends_with_anything_else() -> None:
    stretches = [
        Stretch(0.0, True, 244, (1, 1), Cause.CONNECTED),
        Stretch(1.0, True, 512, (1, 1), Cause.MTU),
        Stretch(2.0, False, 512, (1, 1), Cause.DISTURBED),
        Stretch(3.0, True, 512, (1, 1), Cause.QUIET),
    ]
    assert [(time.start, time.end, time.max_write) for time in usable_times(stretches, 9.0)] == [
        (0.0, 2.0, 244),
        (3.0, 9.0, 512),
    ]


# The command -----------------------------------------------------------------------------------------


def test_a_seed_can_be_replayed_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", "link-faults", "--seed", "42", "--trace"]) == 0
    shown = capsys.readouterr().out
    assert str(draw(42)) in shown
    assert "writes HELLO" in shown
    assert play(draw(42)).trace.digest in shown


def test_the_bench_shows_and_writes_its_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert cli.main(["bench", "link-faults", "--seeds", "1..3", "--json", str(path)]) == 0
    assert "| strip |" in capsys.readouterr().out
    figures = json.loads(path.read_text())
    assert figures["seeds"]["seeds"] == 3
    assert figures["cut at every value"]["failing"] == []
    assert figures["failures"] == []


def test_faults_leave_time_for_what_comes_after_them() -> None:
    assert all(fault.at <= FAULTS_END_S for seed in SEEDS for fault in draw(seed).faults)
