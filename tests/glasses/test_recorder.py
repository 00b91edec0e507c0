"""Recordings appear whole, at the right speed, or not at all."""

from __future__ import annotations

import resource
import shutil
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from glasses.recorder import MAX_REPEATS, PictureSink, VideoSink, WindowSink, file_sink
from shared.errors import StorageError, UsageError


def _picture(level: int = 128) -> np.ndarray:
    return np.full((120, 161, 3), level, np.uint8)


def _noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)


@contextmanager
def _files_no_larger_than(size: int) -> Iterator[None]:
    """What a full disk does to a writing process."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_the_newest_frame_becomes_the_picture(tmp_path: Path) -> None:
    sink = PictureSink(tmp_path / "out.png")
    assert sink.write(_picture(10), 0.0)
    assert sink.write(_picture(20), 0.2)
    assert list(tmp_path.iterdir()) == []
    sink.finish()
    sink.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]
    written = cv2.imread(str(tmp_path / "out.png"))
    assert written is not None
    assert (written == 20).all()


def test_a_video_plays_at_the_speed_of_the_world(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", frame_rate=10)
    # Frames that come late, are missing for half a second, and come too fast.
    for captured, level in ((5.0, 0), (5.1, 50), (5.6, 100), (5.61, 110), (5.62, 120), (6.0, 250)):
        sink.write(_picture(level), captured)
    sink.finish()
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    levels = []
    while (read := video.read())[0]:
        levels.append(float(read[1].mean()))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert len(levels) == 11
    assert levels[0] < 20
    assert levels[4] == pytest.approx(50, abs=12)
    assert levels[10] > 230


def test_a_clock_that_jumps_does_not_fill_the_disk(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", frame_rate=10)
    for captured in (0.0, 0.1, 36_000.0, 36_000.1, 36_000.2):
        sink.write(_picture(), captured)
    sink.finish()
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 2 + MAX_REPEATS + 1 + 2


def test_a_discarded_recording_leaves_nothing(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", frame_rate=10)
    sink.write(_picture(), 0.0)
    sink.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_recording_without_frames_leaves_nothing(tmp_path: Path) -> None:
    for name, still in (("out.mp4", False), ("out.png", True)):
        sink = file_sink(tmp_path / name, still=still, frame_rate=10)
        sink.finish()
        sink.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_typed_error_and_the_old_picture_stays(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"old")
    sink = PictureSink(tmp_path / "out.png")
    sink.write(_noise(), 0.0)
    with _files_no_larger_than(50_000), pytest.raises(StorageError, match=r"out\.png"):
        sink.finish()
    sink.discard()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out.png", b"old")]


def test_a_video_stops_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    sink = VideoSink(tmp_path / "out.mp4", frame_rate=10)
    with pytest.raises(StorageError, match="disk is full"):
        sink.write(_picture(), 0.0)
    sink.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_did_not_reach_the_disk_is_not_kept(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", frame_rate=10)
    with _files_no_larger_than(20_000):
        for step in range(20):
            sink.write(np.roll(_noise(), 31 * step, axis=1), step / 10)
        with pytest.raises(StorageError, match=r"out\.mp4"):
            sink.finish()
    sink.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "still", "error", "message"),
    [
        ("missing/out.png", True, StorageError, "no folder"),
        ("out.jpeg", True, UsageError, "picture"),
        ("out.png", False, UsageError, "video"),
        ("folder.png", True, StorageError, "is a folder"),
    ],
)
def test_a_target_that_cannot_work_is_refused_at_once(
    tmp_path: Path, name: str, still: bool, error: type[Exception], message: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(error, match=message):
        file_sink(tmp_path / name, still=still, frame_rate=10)


def test_a_window_needs_a_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UsageError, match="no window"):
        WindowSink("Wayword")
