"""The link under bytes that nobody meant: every promise of codec and sessions holds, and is really checked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import InputError, UsageError
from shared.wire import receiver as receiver_module
from shared.wire.frames import Frame
from shared.wire.receiver import Receiver
from shared.wire.sender import LaneSender
from simulations.bench import link_fuzz
from simulations.fuzz import codec as codec_module
from simulations.fuzz.material import FuzzBytes, Observed
from simulations.fuzz.random_engine import MAX_TRACED_BYTES, Report, run
from simulations.fuzz.session import MAX_BUFFERED_BYTES
from simulations.fuzz.soak import MAX_RESTING_BYTES, soak
from simulations.fuzz.targets import TARGETS
from simulations.fuzz.wire_frames import any_value

SEED = 20_261  # of CI; the bench takes any


def fuzzed(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis's settings for a target: the same examples every time, however long each takes."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@fuzzed(2_000)
@given(st.binary(max_size=600))
def test_any_bytes_are_a_frame_or_malformed(data: bytes) -> None:
    TARGETS["codec"].run(data, Observed())


@fuzzed(1_000)
@given(st.binary(min_size=64, max_size=640))
def test_nearly_a_frame_is_a_frame_or_malformed(data: bytes) -> None:
    TARGETS["codec"].run(any_value(FuzzBytes(data)), Observed())


@fuzzed(400)
@given(st.binary(min_size=8, max_size=400))
def test_a_session_survives_a_hostile_peer(data: bytes) -> None:
    TARGETS["session"].run(data, Observed())


@fuzzed(250)
@given(st.binary(min_size=8, max_size=300))
def test_two_sessions_survive_a_hostile_middle(data: bytes) -> None:
    TARGETS["pair"].run(data, Observed())


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Report]:
    """One seeded run of every target."""
    folder = tmp_path_factory.mktemp("crashes")
    executions = {"codec": 10_000, "session": 250, "pair": 100}
    return {name: run(TARGETS[name], seed=SEED, executions=executions[name], crashes=folder) for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_seeded_inputs_break_no_promise(name: str, reports: dict[str, Report]) -> None:
    report = reports[name]
    assert [crash.trace for crash in report.crashes] == []
    assert report.executions >= 100
    assert report.observed.largest_buffered <= MAX_BUFFERED_BYTES
    assert report.traced_peak_bytes > 0
    assert report.traced_peak_bytes <= MAX_TRACED_BYTES


def test_the_sessions_are_taken_to_every_refusal_and_to_the_cap(reports: dict[str, Report]) -> None:
    observed = Observed()
    for report in reports.values():
        observed.add(report.observed)
    assert set(receiver_module.Refusal) == set(observed.refusals)
    assert observed.objects > 100
    assert observed.largest_buffered == MAX_BUFFERED_BYTES


def test_a_long_life_among_hostile_peers_leaves_nothing_behind() -> None:
    life = soak(seed=SEED, steps=3_000)
    assert life.values > 1_000
    assert max(life.held_bytes) <= MAX_RESTING_BYTES


# A harness that cannot fail proves nothing: each promise, broken on purpose, is noticed. ------------------


def forget_completed(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(Receiver, "_was_completed", lambda self, key: False)
    return "an object arrives once"


def skip_checksum(monkeypatch: pytest.MonkeyPatch) -> str:
    class Trusting:
        @staticmethod
        def crc32(payload: bytes) -> object:
            return type("Any", (), {"__ne__": lambda self, other: False, "__hash__": None})()

    monkeypatch.setattr(receiver_module, "zlib", Trusting)
    return "what arrives is what was sent"


def never_time_out(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(LaneSender, "check_timeout", lambda self, now: None)
    return "two sessions come to rest|served can wait|arrives once the connection is good"


def have_no_cap(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(Receiver, "_reserved", lambda self, lane: [])
    return "bytes buffered, the cap is"


def answer_twice(monkeypatch: pytest.MonkeyPatch) -> str:
    reply = Receiver._reply

    def twice(self: Receiver, key: tuple[receiver_module.Lane, int], answer: object) -> None:
        reply(self, key, answer)  # type: ignore[arg-type]
        reply(self, (key[0], key[1] ^ 0x8000), answer)  # type: ignore[arg-type]

    monkeypatch.setattr(Receiver, "_reply", twice)
    return "a value earns one answer"


def lose_outcomes(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(LaneSender, "expire", lambda self, now: None)
    return "has an outcome by its deadline|does not ask to be woken now"


@pytest.mark.parametrize(
    ("name", "executions", "sabotage"),
    [
        ("pair", 200, forget_completed),
        ("pair", 400, skip_checksum),
        ("pair", 100, never_time_out),
        ("session", 600, have_no_cap),
        ("session", 100, answer_twice),
        ("session", 100, lose_outcomes),
    ],
)
def test_a_broken_promise_is_found(
    name: str,
    executions: int,
    sabotage: Callable[[pytest.MonkeyPatch], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    promise = sabotage(monkeypatch)
    crashes = run(TARGETS[name], seed=SEED, executions=executions, crashes=tmp_path, stop_after=1).crashes
    assert crashes
    with pytest.raises(AssertionError, match=promise):
        TARGETS[name].run(crashes[0].path.read_bytes(), Observed())


def test_an_exception_out_of_the_codec_is_found_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = codec_module.decode

    def brittle(value: bytes, version: int = 1) -> Frame:
        if value[:1] == b"\x16":
            raise IndexError("no such byte")
        return real(value, version)

    monkeypatch.setattr(codec_module, "decode", brittle)
    crashes = run(TARGETS["codec"], seed=SEED, executions=2_000, crashes=tmp_path, stop_after=1).crashes
    assert crashes[0].error == "IndexError: no such byte"
    assert crashes[0].path.read_bytes()[:1] == b"\x16"


def bench(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    link_fuzz.add_parser(parser.add_subparsers())
    parsed = parser.parse_args(["link-fuzz", *arguments])
    return int(parsed.body(parsed))


def test_the_bench_counts_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    where = ["--crashes", str(tmp_path), "--json", str(figures)]
    assert bench("--executions", "200", "--soak", "500", *where) == 0
    shown = capsys.readouterr().out
    assert "| codec | 180 |" in shown
    assert "Refused: " in shown
    written = json.loads(figures.read_text())
    assert [entry["executions"] for entry in written["targets"]] == [180, 12, 8]
    assert written["soak"]["steps"] == 500


def test_the_bench_keeps_a_failing_input_and_tells_how_to_run_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_completed(monkeypatch)
    assert bench("--target", "pair", "--executions", "200", "--crashes", str(tmp_path)) == 1
    told = capsys.readouterr().err
    again = next(line for line in told.splitlines() if line.startswith("run it again: wayword-sim bench link-fuzz "))
    assert bench(*again.split()[6:]) == 1
    assert "an object arrives once" in capsys.readouterr().err
    monkeypatch.undo()
    assert bench(*again.split()[6:]) == 0


def test_the_bench_says_what_is_wrong_with_its_arguments(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one target"):
        bench("--replay", str(tmp_path))
    with pytest.raises(InputError, match="cannot read"):
        bench("--target", "codec", "--replay", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="is no folder"):
        bench("--crashes", str(tmp_path / "none"))
