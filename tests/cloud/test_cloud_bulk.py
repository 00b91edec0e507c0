"""Bulk jobs: everything is read once, whatever is killed, damaged or interrupted."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cloud.bulk import cli as bulk_cli
from cloud.bulk.cli import ProgressLine
from cloud.bulk.job import BulkJob, PictureReader, Progress, decoded_picture, pictures_in
from cloud.bulk.results import ResultFile
from cloud.cli import main
from cloud.reading.claims import current_claim
from cloud.reading.readers import LineReading
from cloud.reading.validation import TextJob
from shared.clock import SystemClock
from shared.errors import InputError, StorageError, UsageError
from shared.geometry import ImageBgr
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck
from shared.models.sign_translation import SignTranslation, TranslationEngine

QUAD = np.array([[0, 0], [9, 0], [9, 9], [0, 9]], np.float32)


class FakeReader:
    """Reads two signs in every picture; a black one makes it fail."""

    def __init__(self) -> None:
        self.pictures = 0

    def read_picture(self, image: ImageBgr, *, source: str | None = None) -> list[LineReading]:
        self.pictures += 1
        if not image.any():
            raise MemoryError("what a library says")
        return [_line("Saída", 0), _line("Perigo", 1), _line("de morte", 1), _line("", 2)]

    def translate(self, job: TextJob) -> SignTranslation:
        return SignTranslation(f"{len(job.lines)} lines", TranslationEngine.PHRASEBOOK, source="pt")


def _line(text: str, sign: int) -> LineReading:
    return LineReading(
        QUAD, Recognition(text, 0.9, 0.9, (0.9,) * len(text)), ScriptCheck(Script.LATIN, 1, True), 1, sign
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one in a folder of its own, and what is to be left alone."""
    root = tmp_path / "pictures"
    (root / "inside").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name, grey in (("a.png", 90), ("b.JPG", 120), ("inside/c.webp", 150), (".hidden/d.png", 1), ("e.txt", 2)):
        done, data = cv2.imencode(".png", np.full((20, 30, 3), grey, np.uint8))
        assert done
        (root / name).write_bytes(data.tobytes())
    return root


def run(folder: Path, reader: PictureReader, out: Path, told: Callable[[Progress], None] = lambda _: None) -> Progress:
    with ResultFile(out, io.StringIO()) as results:
        job = BulkJob(
            folder, [reader], source=None, target="en", clock=SystemClock(), results=results, on_progress=told
        )
        return job.run(pictures_in(folder))


def records(out: Path) -> dict[str, dict[str, Any]]:
    return {record["file"]: record for record in map(json.loads, out.read_text(encoding="utf-8").splitlines())}


def test_every_picture_becomes_a_line_with_its_signs(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    end = run(folder, FakeReader(), out)
    assert (end.done, end.failed, end.total) == (3, 0, 3)
    found = records(out)
    assert sorted(found) == ["a.png", "b.JPG", "inside/c.webp"]
    record = found["a.png"]
    assert (record["width"], record["height"], len(record["sha256"])) == (30, 20, 64)
    assert [[line["text"] for line in sign["lines"]] for sign in record["signs"]] == [["Saída"], ["Perigo", "de morte"]]
    assert [sign["translation"] for sign in record["signs"]] == ["1 lines", "2 lines"]
    assert record["signs"][0]["engine"] == "phrasebook"


def test_a_second_run_reads_only_what_is_new_or_changed(folder: Path, tmp_path: Path) -> None:
    out, reader = tmp_path / "out.jsonl", FakeReader()
    run(folder, reader, out)
    done, data = cv2.imencode(".png", np.full((20, 30, 3), 91, np.uint8))
    assert done
    (folder / "a.png").write_bytes(data.tobytes())
    (folder / "new.png").write_bytes(data.tobytes())
    end = run(folder, reader, out)
    assert (end.done, end.skipped, reader.pictures) == (4, 2, 5)
    assert run(folder, reader, out).skipped == 4


def test_a_run_that_was_killed_in_the_middle_of_a_line_goes_on(folder: Path, tmp_path: Path) -> None:
    out, reader = tmp_path / "out.jsonl", FakeReader()
    run(folder, reader, out)
    whole = out.read_bytes()
    cut = whole.rindex(b"\n", 0, -1)
    for end in (cut + 1, cut + 20, len(whole) - 1):
        out.write_bytes(whole[:end])
        assert run(folder, reader, out).skipped == 2
        assert len(records(out)) == 3, "every line can be read"


def test_a_bad_file_is_told_with_its_type_and_stops_nothing(folder: Path, tmp_path: Path) -> None:
    out, reader = tmp_path / "out.jsonl", FakeReader()
    (folder / "a.png").write_bytes(b"no picture")
    done, black = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))
    assert done
    (folder / "b.JPG").write_bytes(black.tobytes())
    end = run(folder, reader, out)
    assert (end.done, end.failed) == (3, 2)
    found = records(out)
    assert found["a.png"]["error"]["type"] == "InputError"
    assert found["b.JPG"]["error"] == {"type": "MemoryError", "message": "unexpected failure"}
    assert found["inside/c.webp"]["signs"]
    assert run(folder, reader, out).failed == 2, "what failed is tried again"


def test_after_ctrl_c_what_was_finished_is_kept_and_what_runs_is_told_to_stop(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    claims = []

    class Noting(FakeReader):
        def read_picture(self, image: ImageBgr, *, source: str | None = None) -> list[LineReading]:
            claims.append(current_claim())
            return super().read_picture(image, source=source)

    def interrupt(progress: Progress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, Noting(), out, interrupt)
    assert len(records(out)) == 1
    assert all(claim.left for claim in claims)
    assert run(folder, FakeReader(), out).skipped == 1


def test_a_file_that_holds_something_else_or_is_being_written_is_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("dear diary\n", encoding="utf-8")
    with pytest.raises(UsageError, match="something else"):
        ResultFile(out, io.StringIO())
    assert out.read_text(encoding="utf-8") == "dear diary\n"
    other = tmp_path / "other.jsonl"
    with ResultFile(other, io.StringIO()), pytest.raises(UsageError, match="another run"):
        ResultFile(other, io.StringIO())


@pytest.mark.parametrize("content", [b"dear diary, without an end", b"\x89PNG" + bytes(64), b'{"other": 1'])
def test_what_looks_like_half_a_line_is_cut_off_only_if_it_is_ours(tmp_path: Path, content: bytes) -> None:
    out = tmp_path / "precious"
    out.write_bytes(content)
    with pytest.raises(UsageError, match="something else"):
        ResultFile(out, io.StringIO())
    assert out.read_bytes() == content


def test_a_name_that_is_no_utf8_stops_nothing_and_is_known_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    strange = os.fsencode(folder / "inside") + b"/gr\xfcn.png"
    try:
        Path(os.fsdecode(strange)).write_bytes((folder / "a.png").read_bytes())
    except OSError:
        pytest.skip("names of this file system are UTF-8")
    assert run(folder, FakeReader(), out).done == 4
    assert "inside/gr\udcfcn.png" in records(out)
    assert run(folder, FakeReader(), out).skipped == 4


def test_a_full_disk_is_told_as_what_it_is() -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("this system has no /dev/full")

    def write() -> None:
        with ResultFile(None, io.StringIO()) as results:
            results._own = Path("/dev/full").open("wb")  # noqa: SIM115  # closed by the context
            results.add({"file": "a.png"})

    with pytest.raises(StorageError, match="No space left"):
        write()


def test_links_that_lead_out_of_the_folder_are_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "private.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "out.png").symlink_to(tmp_path / "private.png")
    (folder / "up").symlink_to(tmp_path, target_is_directory=True)
    (folder / "within.png").symlink_to(folder / "a.png")
    assert [path.name for path in pictures_in(folder)] == ["a.png", "b.JPG", "c.webp", "within.png"]


def test_without_a_file_results_go_to_the_output(folder: Path) -> None:
    output = io.StringIO()
    with ResultFile(None, output) as results:
        results.add({"file": "é"})
    assert output.getvalue() == '{"file": "é"}\n'


def test_only_pictures_are_taken_and_only_folders_searched(folder: Path) -> None:
    assert [path.name for path in pictures_in(folder)] == ["a.png", "b.JPG", "c.webp"]
    with pytest.raises(InputError):
        pictures_in(folder / "a.png")


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        decoded_picture(data)


def test_progress_says_how_far_it_is_and_how_long_it_takes() -> None:
    assert str(Progress(0, 0, 0, 9, None)) == "0 of 9 pictures"
    assert str(Progress(5, 1, 2, 9, 3725.0)) == "5 of 9 pictures, 2 of an earlier run, 1 failed, 1 h 2 min left"
    assert str(Progress(5, 0, 0, 9, 83.0)) == "5 of 9 pictures, 1 min 23 s left"
    assert str(Progress(9, 0, 0, 9, 0.0)) == "9 of 9 pictures"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_seldom_a_line_elsewhere() -> None:
    terminal, file = Terminal(), io.StringIO()
    for output in (terminal, file):
        line = ProgressLine(output, SystemClock())
        for count in range(5):
            line.show(f"{count} of 4", last=count == 4)
        line.end()
    assert terminal.getvalue() == "\r0 of 4\r1 of 4\r2 of 4\r3 of 4\r4 of 4\n"
    assert file.getvalue() == "0 of 4\n4 of 4\n"


def test_a_language_that_is_none_is_refused_before_models_are_loaded(folder: Path) -> None:
    with pytest.raises(UsageError, match="no language"):
        main(["batch", str(folder), "--target", "English"])
    assert "--out" in bulk_cli.EPILOG
