"""Where frames come from: a picture, a video file, a camera, or the simulator's scene.

All behave like a camera: a consumer that is slow gets the newest frame and never sees the ones in between.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import cv2
import numpy as np

from glasses.stabiliser import GyroSamples, Luma
from shared.clock import Clock
from shared.errors import InputError
from shared.geometry import ImageBgr
from shared.limits import MAX_IMAGE_PIXELS

LumaPlaces = Callable[[int, int], Luma]
"""Where the luma of the next frame is to be written, for its width and height: the stabiliser's memory."""

DEFAULT_FRAME_RATE: Final = 30.0
"""Assumed when a source does not say, in frames a second."""
MINIMUM_SIDE: Final = 16
"""No sign is legible in a picture that is lower or narrower, in pixels once scaled for processing."""
CAMERA_PATIENCE_S: Final = 10.0
"""A camera or a scene that delivers nothing for so long has failed."""
SCENE_POLL_S: Final = 0.004
"""Pause before the scene is asked again when it had nothing newer."""
SCENE_HEADER: Final = struct.Struct("<4sHHQdfIQ")
"""Magic, width, height, frame id, capture time (monotonic seconds), focal length (pixels), gyro readings, bytes of the
picture. The readings follow, four float64 each (time in seconds, rad/s about x, y and z), then the picture."""
SCENE_MAGIC: Final = b"WWF2"
SCENE_GYRO_MOST: Final = 4096
"""Gyro readings that come with one frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the world.

    Attributes:
        frame_id: increases by at least one per frame of a run.
        captured: monotonic seconds.
        bgr: uint8 of shape (height, width, 3).
        luma: the Y plane, uint8 of shape (height, width); some sources write a later frame to the same place.
        gyro: readings since the frame before; None without a gyro.
    """

    frame_id: int
    captured: float
    bgr: ImageBgr
    luma: Luma
    gyro: GyroSamples | None = None


class Source(Protocol):
    """A camera, or something that behaves like one. Used from one thread; `close` from any."""

    @property
    def frame_rate(self) -> float:
        """Nominal frames a second."""
        ...

    @property
    def still(self) -> bool:
        """Whether every frame is the same picture, without end."""
        ...

    @property
    def focal_px(self) -> float | None:
        """Focal length in pixels of its frames; None when it is not known, at the latest from the first frame on."""
        ...

    def write_luma_to(self, places: LumaPlaces) -> None:
        """Have the luma of all frames to come written where `places` says, rather than into memory of its own."""
        ...

    def next_frame(self) -> Frame | None:
        """Wait for a frame newer than the last one; None when the source has ended or was closed.

        Raises:
            InputError: the source failed.
        """
        ...

    def close(self) -> None:
        """End the source; a waiting `next_frame` returns None soon."""
        ...


def shrink(image: ImageBgr, longest_side: int) -> ImageBgr:
    """Scale down (never up) so that the longer side is at most `longest_side` pixels."""
    height, width = image.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def luma_of(image: ImageBgr, places: LumaPlaces | None = None) -> Luma:
    """The Y plane (BT.601), uint8 of shape (height, width), in new memory or where `places` says."""
    target = None if places is None else places(image.shape[1], image.shape[0])
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY, dst=target), dtype=np.uint8)


class _LumaWriter:
    """What all sources of moving pictures share: where their luma goes."""

    def __init__(self) -> None:
        self._places: LumaPlaces | None = None

    def write_luma_to(self, places: LumaPlaces) -> None:
        """See `Source.write_luma_to`."""
        self._places = places


def read_picture(path: Path) -> ImageBgr:
    """Read a picture file, turned upright as its EXIF orientation says.

    Raises:
        InputError: missing, not a picture, or larger than `limits.MAX_IMAGE_PIXELS`.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"no picture {path}") from error
    except OSError as error:
        raise InputError(f"cannot read the picture {path}: {error.strerror}") from error
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        # OpenCV refuses oversize pictures by the header, before it allocates memory (see glasses/__init__.py).
        limit = f"{MAX_IMAGE_PIXELS // 1_000_000} million pixels"
        raise InputError(f"{path} cannot be decoded: it is damaged or has more than {limit}") from error
    if picture is None:
        raise InputError(f"{path} is no picture that can be read", hint="PNG, JPEG, WebP, BMP and TIFF work")
    height, width = picture.shape[:2]
    if height * width > MAX_IMAGE_PIXELS:
        raise InputError(f"{path} has {width}x{height} pixels, more than {MAX_IMAGE_PIXELS // 1_000_000} million")
    return np.asarray(picture, dtype=np.uint8)


def _fit(picture: ImageBgr, longest_side: int, what: str) -> ImageBgr:
    """See `shrink`.

    Raises:
        InputError: what is left is too low or too narrow to hold a sign.
    """
    small = shrink(picture, longest_side)
    if min(small.shape[:2]) < MINIMUM_SIDE:
        size = f"{picture.shape[1]}x{picture.shape[0]}"
        raise InputError(f"{what} has {size} pixels, too small or too thin to show a sign")
    return small


class StillSource(_LumaWriter):
    """One picture, repeated at a modest rate until closed.

    Args:
        picture: uint8 of shape (height, width, 3).
        longest_side: scaled down to this.
        frame_rate: repeats a second.

    Raises:
        InputError: the picture is too small or too thin to show a sign.
    """

    still = True
    focal_px = None

    def __init__(self, picture: ImageBgr, *, longest_side: int, frame_rate: float, clock: Clock) -> None:
        super().__init__()
        self._bgr = _fit(picture, longest_side, "the picture")
        self._luma = luma_of(self._bgr)
        self.frame_rate = frame_rate
        self._clock = clock
        self._next_id = 0
        self._closed = threading.Event()

    def next_frame(self) -> Frame | None:
        if self._next_id and self._closed.wait(1 / self.frame_rate):
            return None
        if self._closed.is_set():
            return None
        # Nothing follows what does not move, so its luma is nobody's to copy.
        frame = Frame(self._next_id, self._clock.monotonic(), self._bgr, self._luma)
        self._next_id += 1
        return frame

    def close(self) -> None:
        self._closed.set()


class VideoSource(_LumaWriter):
    """A video file, played at its own speed.

    Args:
        path: the file.
        longest_side: frames are scaled down to this.

    Raises:
        InputError: missing, not a video, or without frames.
    """

    still = False
    focal_px = None

    def __init__(self, path: Path, *, longest_side: int, clock: Clock) -> None:
        super().__init__()
        if not path.is_file():
            raise InputError(f"no video {path}")
        self._path = path
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        rate = self._capture.get(cv2.CAP_PROP_FPS) if self._capture.isOpened() else 0.0
        self.frame_rate = rate if 1 <= rate <= 240 else DEFAULT_FRAME_RATE
        # The first frame is read here, so that a broken file is refused before anything else starts.
        self._ready: ImageBgr | None = None
        if self._capture.isOpened() and self._capture.grab():
            self._ready = self._retrieve()
        if self._ready is None:
            self._capture.release()
            raise InputError(f"{path} is no video that can be read", hint="It has no frames, or is damaged")
        if self._ready.shape[0] * self._ready.shape[1] > MAX_IMAGE_PIXELS:
            self._capture.release()
            raise InputError(f"the frames of {path} have more than {MAX_IMAGE_PIXELS // 1_000_000} million pixels")
        try:
            _fit(self._ready, longest_side, str(path))
        except InputError:
            self._capture.release()
            raise
        self._longest_side = longest_side
        self._clock = clock
        self._index = 0
        self._start: float | None = None
        self._closed = threading.Event()

    def _retrieve(self) -> ImageBgr | None:
        ok, picture = self._capture.retrieve()
        return np.asarray(picture, dtype=np.uint8) if ok and picture is not None and picture.size else None

    def next_frame(self) -> Frame | None:
        picture, self._ready = self._ready, None
        if self._start is None:
            self._start = self._clock.monotonic()
        else:
            self._index += 1
            due = int((self._clock.monotonic() - self._start) * self.frame_rate)
            while self._index < due and not self._closed.is_set():
                if not self._capture.grab():
                    return None
                self._index += 1
            wait = self._start + self._index / self.frame_rate - self._clock.monotonic()
            if (wait > 0 and self._closed.wait(wait)) or self._closed.is_set() or not self._capture.grab():
                return None
            picture = self._retrieve()
        if picture is None or self._closed.is_set():
            return None
        bgr = shrink(picture, self._longest_side)
        # Media time, not decoding time: strips, poses and the recording agree on when a frame was taken.
        return Frame(self._index, self._start + self._index / self.frame_rate, bgr, luma_of(bgr, self._places))

    def close(self) -> None:
        self._closed.set()


class CameraSource(_LumaWriter):
    """A camera of the machine, read by a thread of its own so that the newest frame is always at hand.

    Args:
        number: as the operating system numbers them (/dev/videoN).
        longest_side: frames are scaled down to this.

    Raises:
        InputError: there is no such camera, or it gives no picture.
    """

    still = False
    focal_px = None

    def __init__(self, number: int, *, longest_side: int, clock: Clock) -> None:
        super().__init__()
        device = Path(f"/dev/video{number}")
        if not device.exists():
            raise InputError(f"no camera {number}", hint=f"there is no {device}")
        self._name = f"camera {number}"
        self._capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise InputError(f"{self._name} cannot be opened", hint="Is another program using it?")
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, 1280)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, 720)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.frame_rate = rate if 1 <= rate <= 240 else DEFAULT_FRAME_RATE
        self._longest_side = longest_side
        self._clock = clock
        self._closed = False
        self._failed = False
        self._fresh = threading.Condition()
        self._newest: tuple[int, float, ImageBgr] | None = None
        self._reader = threading.Thread(target=self._read, name="camera", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        frame_id = 0
        while not self._closed:
            ok, picture = self._capture.read()
            with self._fresh:
                if ok:
                    self._newest = (frame_id, self._clock.monotonic(), np.asarray(picture, dtype=np.uint8))
                    frame_id += 1
                else:
                    self._failed = True
                self._fresh.notify_all()
                if not ok:
                    break
        self._capture.release()

    def next_frame(self) -> Frame | None:
        with self._fresh:
            arrived = self._fresh.wait_for(
                lambda: self._newest is not None or self._failed or self._closed, CAMERA_PATIENCE_S
            )
            newest, self._newest = self._newest, None
            if self._closed:
                return None
            if newest is None:
                raise InputError(f"{self._name} stopped giving pictures" if arrived else f"{self._name} gives nothing")
        frame_id, captured, picture = newest
        bgr = shrink(picture, self._longest_side)
        return Frame(frame_id, captured, bgr, luma_of(bgr, self._places))

    def close(self) -> None:
        with self._fresh:
            self._closed = True
            self._fresh.notify_all()


class SceneSource(_LumaWriter):
    """The simulator's scene over a Unix stream socket: one byte ``N`` asks for the newest frame.

    Args:
        path: of the socket.

    Raises:
        InputError: nobody serves the scene there.
    """

    still = False
    frame_rate = DEFAULT_FRAME_RATE

    def __init__(self, path: Path, *, longest_side: int) -> None:
        super().__init__()
        self.focal_px: float | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(CAMERA_PATIENCE_S)
        self._longest_side = longest_side
        self._last_id = -1
        self._closed = threading.Event()
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise InputError(f"no scene at {path}: {error.strerror or error}") from error

    def _receive(self, size: int) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        filled = 0
        while filled < size:
            count = self._socket.recv_into(view[filled:])
            if count == 0:
                raise InputError("the scene hung up in the middle of a frame")
            filled += count
        return data

    def _ask(self) -> Frame | None:
        self._socket.sendall(b"N")
        header = SCENE_HEADER.unpack(self._receive(SCENE_HEADER.size))
        magic, width, height, frame_id, captured, focal, readings, length = header
        if magic != SCENE_MAGIC:
            raise InputError("the scene does not speak the scene protocol")
        if width == 0:
            return None
        if length != width * height * 3 or width * height > MAX_IMAGE_PIXELS:
            raise InputError(f"the scene announced {length} bytes for {width}x{height} pixels")
        if readings > SCENE_GYRO_MOST:
            raise InputError(f"the scene announced {readings} gyro readings for one frame")
        if not (math.isfinite(captured) and math.isfinite(focal)):
            raise InputError(f"the scene gave a frame of time {captured} and focal length {focal}")
        rows = np.frombuffer(self._receive(32 * readings), np.float64).reshape(readings, 4)
        payload = self._receive(length)
        bgr = shrink(np.frombuffer(payload, np.uint8).reshape(height, width, 3), self._longest_side)
        self.focal_px = focal * bgr.shape[1] / width if focal > 0 else None
        gyro = GyroSamples(rows[:, 0], rows[:, 1:])
        return Frame(frame_id, captured, bgr, luma_of(bgr, self._places), gyro)

    def next_frame(self) -> Frame | None:
        try:
            while (frame := self._ask()) is not None and frame.frame_id == self._last_id:
                if self._closed.wait(SCENE_POLL_S):
                    return None
        except (OSError, InputError) as error:
            if self._closed.is_set():
                return None
            if isinstance(error, InputError):
                raise
            raise InputError(f"the scene failed: {error}") from error
        if frame is not None:
            self._last_id = frame.frame_id
        return frame

    def close(self) -> None:
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(OSError):  # the other side may be gone already: what closing was to achieve
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
