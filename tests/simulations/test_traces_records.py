"""Trace files: what is written is read back, and what is damaged is refused."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import InputError, StorageError, UsageError
from shared.models.sign_evidence import LineEvidence, SignEvidence
from simulations.cli import main
from simulations.traces import command
from simulations.traces.command import merged
from simulations.traces.progress import Progress, forget
from simulations.traces.records import (
    TRACE_VERSION,
    CloudTrace,
    Confidence,
    LocalTrace,
    SignTrace,
    TraceHeader,
    TracePart,
    View,
    of_part,
    read_traces,
    write_traces,
)
from simulations.traces.rendered import Traced
from simulations.traces.table import table
from simulations.traces.texts import without_texts

HEADER = TraceHeader(TRACE_VERSION, 3, "a machine", {"ocr-tiny-rec": "6.0"}, "wayword-sim traces", "notes")
LINE = LineEvidence((0.9, 0.8), "latin", 1.0, 20.0, 0.4, 0.5, 0.5, 0.01, None, 2.5, None, 0.9, 0.8, withheld=False)
EVIDENCE = SignEvidence("ocr-tiny-rec", (LINE,), "pt", 0.9, "phrasebook", True, 0.9, 1.0, None, None, None)


def a_look(sign: int = 0, look: int = 0, *, right: bool = False, part: TracePart = TracePart.TRAIN) -> SignTrace:
    local = LocalTrace(
        evidence=EVIDENCE,
        text="SAIDA",
        translation="Exit" if right else "",
        engine="phrasebook",
        source="pt",
        trouble=None,
        private=None,
        confidence=Confidence(recognition=0.8, script=1.0),
        milliseconds=12.5,
        answer_bytes=200,
        request_bytes=3000,
        text_right=right,
        translation_right=right,
    )
    cloud = CloudTrace("SAÍDA", "Exit", "phrasebook", "pt", 0, Confidence(), 40.0, 180, True, True, {"tiny": True})
    return SignTrace(
        sign=sign,
        look=look,
        part=part,
        phrase="pt-1",
        language="pt",
        truth="SAÍDA",
        view=View("day", "Lato", 20.0),
        lines=1,
        strip_bytes=2800,
        still_bytes=30_000,
        detection_ms=90.0,
        local={"tiny": local},
        cloud=cloud,
        source="phrasebook",
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    looks = [a_look(), a_look(1, right=True, part=TracePart.TEST), replace(a_look(2), judged=False)]
    write_traces(tmp_path / "t.jsonl.gz", HEADER, looks)
    assert read_traces(tmp_path / "t.jsonl.gz") == (HEADER, looks)


def test_equal_traces_give_equal_files_whatever_their_name(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_traces(tmp_path / name, HEADER, [a_look()])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_sign_is_right_in_the_end_when_the_answer_that_is_shown_is_right() -> None:
    wrong = a_look()
    assert wrong.final_right("tiny")
    kept = replace(wrong, cloud=replace(wrong.cloud, replaces={"tiny": False}))
    assert not kept.final_right("tiny")


def test_parts_are_told_apart() -> None:
    looks = [a_look(), a_look(1, part=TracePart.TEST), a_look(2, part=TracePart.PHOTO)]
    assert [look.sign for look in of_part(looks, TracePart.TEST, TracePart.PHOTO)] == [1, 2]


def _packed(*lines: bytes) -> bytes:
    return gzip.compress(b"\n".join(lines) + b"\n")


_FIRST = json.dumps({"version": TRACE_VERSION, "seed": 1, "machine": "m"}).encode()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no trace file"),
        (b"not gzip at all", "no trace file"),
        (_packed(_FIRST)[:-9], "no trace file"),
        (_packed(b"{"), "no trace file"),
        (_packed(b'{"seed": 1}'), "no trace file"),
        (_packed(json.dumps({"version": 99, "seed": 1, "machine": "m"}).encode()), "of trace version 99"),
        (_packed(_FIRST, b'{"sign": 1}'), "no trace file"),
        (_packed(_FIRST, b"\xff\xfe"), "no trace file"),
    ],
)
def test_a_damaged_file_is_refused_with_its_reason(data: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match=what):
        read_traces(path)


def test_a_number_that_is_none_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl.gz"
    with pytest.raises(ValueError, match="JSON compliant"):
        write_traces(path, HEADER, [replace(a_look(), detection_ms=float("nan"))])
    assert not path.exists()


def test_a_file_that_is_not_there_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        read_traces(tmp_path / "missing")


def test_without_texts_equal_lines_stay_equal_and_nothing_else_is_told() -> None:
    look = a_look()
    (hidden,) = without_texts([replace(look, truth="SAIDA\nNORTE")])
    assert hidden.truth.split("\n")[0] == hidden.local["tiny"].text != hidden.cloud.text
    assert hidden.local["tiny"].translation == ""
    assert "SAIDA" not in str(hidden)
    assert (hidden.phrase, hidden.cloud.right) == (look.phrase, look.cloud.right)


def test_files_are_joined_with_their_signs_apart(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_traces(tmp_path / name, HEADER, [a_look(), a_look(0, 1), a_look(4)])
    header, looks = merged([tmp_path / "one", tmp_path / "other"])
    assert [look.sign for look in looks] == [0, 0, 4, 5, 5, 9]
    assert header.packs == HEADER.packs


def test_show_counts_right_helped_and_harmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harmed = a_look(1, right=True, part=TracePart.TEST)
    harmed = replace(harmed, cloud=replace(harmed.cloud, translation_right=False))
    path = tmp_path / "t.jsonl.gz"
    write_traces(path, HEADER, [a_look(), harmed])
    assert main(["traces", "--show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "| part train | 1 | 1 | 0 | 0 | 1 | 0 | 1 | 1 |" in shown
    assert "| part test | 1 | 1 | 1 | 1 | 0 | 1 | 1 | 0 |" in shown
    assert shown.splitlines() == table(HEADER, [a_look(), harmed])


def test_a_run_that_was_killed_goes_on_and_does_a_sign_again_that_was_cut_short(tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl.gz"
    with Progress(out, "a run") as progress:
        for number in range(3):
            progress.add(Traced(number, (a_look(number),), unseen=number))
    with progress.path.open("r+b") as file:
        file.truncate(progress.path.stat().st_size - 20)
    with Progress(out, "a run") as again:
        assert sorted(again.done) == [0, 1]
        assert again.done[1] == Traced(1, (a_look(1),), unseen=1)
        again.add(Traced(2))
    with Progress(out, "a run") as third:
        assert sorted(third.done) == [0, 1, 2]
    forget(out)
    assert not third.path.exists()


def test_nothing_that_was_done_is_forgotten_before_the_file_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced: list[int] = []

    class Worker:
        """Traces signs, and fails at photographs."""

        def __init__(self, material: command.Material) -> None:
            self.photos = material.photos

        def trace(self, number: int) -> Traced:
            if self.photos is not None:
                raise InputError("a photograph is damaged")
            traced.append(number)
            return Traced(number, (a_look(number, part=TracePart.TEST if number else TracePart.TRAIN),))

    monkeypatch.setattr(command, "Worker", Worker)
    monkeypatch.setattr(command, "PhotoSet", lambda _: ["a photograph"])
    out = tmp_path / "t.jsonl.gz"
    line = ["traces", "--signs", "3", "--packs", str(tmp_path / "packs"), "--out", str(out)]
    with pytest.raises(InputError, match="damaged"):
        main([*line, "--photos", str(tmp_path)])
    assert main([*line, "--part", "test"]) == 0
    assert traced == [0, 1, 2]
    assert [look.sign for look in read_traces(out)[1]] == [1, 2]
    assert not out.with_name("t.jsonl.gz.progress").exists()


def test_the_progress_of_another_run_is_refused(tmp_path: Path) -> None:
    with Progress(tmp_path / "t", "a run"):
        pass
    with pytest.raises(UsageError, match="another run"):
        Progress(tmp_path / "t", "another")
