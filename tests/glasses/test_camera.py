"""Sources behave like cameras, and say in one line what is wrong with them."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from signboards import FakeClock

from glasses.camera import CameraSource, SceneSource, StillSource, VideoSource, read_picture
from shared.clock import SystemClock
from shared.errors import InputError


def _video(path: Path, frames: int = 20, rate: float = 10.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate, (160, 120))
    for index in range(frames):
        writer.write(np.full((120, 160, 3), 10 * index, np.uint8))
    writer.release()
    return path


def _jpeg_turned(path: Path) -> Path:
    """A JPEG of 60x20 pixels whose EXIF says: turn a quarter clockwise to see it upright."""
    ok, data = cv2.imencode(".jpg", np.zeros((20, 60, 3), np.uint8))
    assert ok
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + tiff
    path.write_bytes(data[:2].tobytes() + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:].tobytes())
    return path


def test_a_picture_is_turned_upright(tmp_path: Path) -> None:
    assert read_picture(_jpeg_turned(tmp_path / "turned.jpg")).shape == (60, 20, 3)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"picture\.png"):
        read_picture(path)


def test_a_missing_picture_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture"):
        read_picture(tmp_path / "missing.png")
    with pytest.raises(InputError, match="cannot read"):
        read_picture(tmp_path)


def test_a_picture_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glasses.camera.MAX_IMAGE_PIXELS", 1_000_000)
    path = tmp_path / "large.png"
    path.write_bytes(cv2.imencode(".png", np.zeros((1001, 1000), np.uint8))[1].tobytes())
    with pytest.raises(InputError, match="1 million"):
        read_picture(path)


def test_a_still_repeats_itself_scaled_down_until_closed() -> None:
    source = StillSource(np.zeros((3000, 4000, 3), np.uint8), longest_side=1920, frame_rate=500, clock=SystemClock())
    first, second = source.next_frame(), source.next_frame()
    assert first is not None
    assert second is not None
    assert first.bgr.shape == (1440, 1920, 3)
    assert first.luma.shape == (1440, 1920)
    assert (first.frame_id, second.frame_id) == (0, 1)
    source.close()
    assert source.next_frame() is None


def test_a_slow_consumer_of_a_video_gets_the_newest_frame(tmp_path: Path) -> None:
    clock = FakeClock()
    source = VideoSource(_video(tmp_path / "video.mp4"), longest_side=1280, clock=clock)
    assert source.frame_rate == pytest.approx(10)
    first = source.next_frame()
    clock.now += 0.95
    late = source.next_frame()
    assert first is not None
    assert late is not None
    assert (first.frame_id, late.frame_id) == (0, 9)
    assert late.captured - first.captured == pytest.approx(0.9)
    assert late.bgr.mean() == pytest.approx(90, abs=6)
    clock.now += 5
    assert source.next_frame() is None


def test_a_video_is_read_to_its_end(tmp_path: Path) -> None:
    source = VideoSource(_video(tmp_path / "video.mp4", frames=8, rate=200), longest_side=1280, clock=SystemClock())
    ids = []
    while (frame := source.next_frame()) is not None:
        ids.append(frame.frame_id)
    assert ids == sorted(set(ids))
    assert ids[0] == 0
    assert ids[-1] <= 7


@pytest.mark.parametrize("content", [b"", b"this is no video" * 100])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"video\.mp4"):
        VideoSource(path, longest_side=1280, clock=SystemClock())


def test_a_truncated_video_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    whole = _video(tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"half\.mp4"):
        VideoSource(tmp_path / "half.mp4", longest_side=1280, clock=SystemClock())
    with pytest.raises(InputError, match="no video"):
        VideoSource(tmp_path / "missing.mp4", longest_side=1280, clock=SystemClock())


def test_a_camera_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no camera 7777"):
        CameraSource(7777, longest_side=1280, clock=SystemClock())


HEADER = struct.Struct("<4sHHQdfIQ")


def _serve(path: Path, answers: list[bytes]) -> threading.Thread:
    """A scene that gives one answer to each request, then hangs up."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)

    def work() -> None:
        connection, _ = listener.accept()
        with listener, connection:
            for answer in answers:
                if connection.recv(1) != b"N":
                    return
                connection.sendall(answer)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _scene_frame(frame_id: int, level: int) -> bytes:
    pixels = np.full((4, 6, 3), level, np.uint8).tobytes()
    readings = np.array([[12.49, 0.1, 0.2, 0.3], [12.495, 0.4, 0.5, 0.6]])
    return HEADER.pack(b"WWF2", 6, 4, frame_id, 12.5, 5.0, 2, len(pixels)) + readings.tobytes() + pixels


def test_the_scene_gives_frames_with_their_own_times_and_each_only_once(tmp_path: Path) -> None:
    end = HEADER.pack(b"WWF2", 0, 0, 0, 0.0, 0.0, 0, 0)
    path = tmp_path / "scene"
    server = _serve(path, [_scene_frame(3, 50), _scene_frame(3, 50), _scene_frame(5, 70), end])
    source = SceneSource(path, longest_side=1280)
    first, second, last = source.next_frame(), source.next_frame(), source.next_frame()
    source.close()
    server.join(5)
    assert first is not None
    assert second is not None
    assert (first.frame_id, first.captured, first.bgr.shape) == (3, 12.5, (4, 6, 3))
    assert (second.frame_id, int(second.luma[0, 0])) == (5, 70)
    assert last is None
    assert first.gyro is not None
    np.testing.assert_array_equal(first.gyro.times, [12.49, 12.495])
    np.testing.assert_array_equal(first.gyro.rates, [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])


def test_the_focal_length_of_a_scene_is_that_of_its_frames_as_they_are_scaled_down(tmp_path: Path) -> None:
    path = tmp_path / "scene"
    server = _serve(path, [_scene_frame(3, 50)])
    source = SceneSource(path, longest_side=3)
    assert source.focal_px is None
    frame = source.next_frame()
    source.close()
    server.join(5)
    assert frame is not None
    assert frame.bgr.shape == (2, 3, 3)
    assert source.focal_px == 2.5


def test_luma_is_written_where_the_stabiliser_wants_it(tmp_path: Path) -> None:
    path = tmp_path / "scene"
    server = _serve(path, [_scene_frame(3, 50)])
    source = SceneSource(path, longest_side=1280)
    place = np.zeros((4, 6), np.uint8)
    source.write_luma_to(lambda width, height: place if (width, height) == (6, 4) else np.zeros((1, 1), np.uint8))
    frame = source.next_frame()
    source.close()
    server.join(5)
    assert frame is not None
    assert np.shares_memory(frame.luma, place)
    assert (place == 50).all()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request, no scene",
        HEADER.pack(b"WWF1", 6, 4, 1, 0.0, 0.0, 0, 72),
        HEADER.pack(b"WWF2", 6, 4, 1, 0.0, 0.0, 0, 9999),
        HEADER.pack(b"WWF2", 6, 4, 1, 0.0, 0.0, 2**31, 72),
        HEADER.pack(b"WWF2", 6, 4, 1, float("nan"), 5.0, 0, 72),
        HEADER.pack(b"WWF2", 6, 4, 1, 0.0, float("inf"), 0, 72),
        HEADER.pack(b"WWF2", 65535, 65535, 1, 0.0, 0.0, 0, 65535 * 65535 * 3),
        _scene_frame(1, 9)[:-10],
    ],
)
def test_a_scene_that_talks_nonsense_is_one_typed_error(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "scene"
    server = _serve(path, [answer])
    source = SceneSource(path, longest_side=1280)
    with pytest.raises(InputError, match="scene"):
        source.next_frame()
    source.close()
    server.join(5)


def test_closing_the_scene_ends_a_waiting_consumer(tmp_path: Path) -> None:
    path = tmp_path / "scene"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(1)
    source = SceneSource(path, longest_side=1280)
    connection, _ = listener.accept()
    frames: list[object] = ["unset"]
    consumer = threading.Thread(target=lambda: frames.append(source.next_frame()))
    consumer.start()
    assert connection.recv(1) == b"N"
    source.close()
    consumer.join(5)
    connection.close()
    listener.close()
    assert frames[-1] is None


def test_no_scene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scene"):
        SceneSource(tmp_path / "scene", longest_side=1280)
