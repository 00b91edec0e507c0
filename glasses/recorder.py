"""Where the augmented view goes: a PNG, an MP4, a window. Files appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np

from shared.errors import StorageError, UsageError
from shared.geometry import ImageBgr

MINIMUM_FREE_BYTES: Final = 16 * 1024 * 1024
"""OpenCV does not say when a disk is full, so a recording stops before it is."""
CHECK_EVERY_FRAMES: Final = 30
MAX_REPEATS: Final = 300
"""A frame fills a gap of at most so many frames: a clock that jumps does not fill the disk."""


class Sink(Protocol):
    """Takes the augmented view, frame by frame."""

    def write(self, image: ImageBgr, captured: float) -> bool:
        """Take one frame (uint8 of shape (height, width, 3)) captured at a time in monotonic seconds.

        Returns:
            False when nobody looks any more (a closed window) and the run may end.

        Raises:
            StorageError: the disk refuses.
        """
        ...

    def finish(self) -> None:
        """Make the result permanent.

        Raises:
            StorageError: the disk refuses.
        """
        ...

    def discard(self) -> None:
        """Leave nothing behind; harmless after `finish`."""
        ...


def _check_target(path: Path) -> Path:
    """The temporary name next to `path`.

    Raises:
        StorageError: the folder is missing or not writable.
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise StorageError(f"cannot write {path}: there is no folder {folder}")
    if path.is_dir():
        raise StorageError(f"cannot write {path}: it is a folder")
    if not os.access(folder, os.W_OK):
        raise StorageError(f"cannot write {path}: the folder {folder} is not writable")
    return folder / f".{path.stem}.{os.getpid()}.partial{path.suffix}"


class PictureSink:
    """The newest frame as a PNG, written when the run finishes.

    Raises:
        StorageError: the folder is missing or not writable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = _check_target(path)
        self._newest: ImageBgr | None = None

    def write(self, image: ImageBgr, captured: float) -> bool:
        self._newest = image
        return True

    def finish(self) -> None:
        if self._newest is None:
            return
        ok, data = cv2.imencode(".png", self._newest)
        if not ok:
            raise StorageError(f"cannot write {self._path}: the picture cannot be encoded")
        try:
            self._partial.write_bytes(data.tobytes())
            self._partial.replace(self._path)
        except OSError as error:
            self.discard()
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error

    def discard(self) -> None:
        self._partial.unlink(missing_ok=True)


class VideoSink:
    """An MP4 that plays as fast as the world moved: frames are repeated or left out to keep the time base.

    Args:
        path: the file.
        frame_rate: of the file.

    Raises:
        StorageError: the folder is missing or not writable.
    """

    def __init__(self, path: Path, *, frame_rate: float) -> None:
        self._path = path
        self._partial = _check_target(path)
        self._rate = min(max(frame_rate, 1.0), 60.0)
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._start = 0.0
        self._written = 0
        self._last: ImageBgr | None = None

    def _open(self, image: ImageBgr, captured: float) -> cv2.VideoWriter:
        # The codec wants even sides.
        self._size = (image.shape[1] // 2 * 2, image.shape[0] // 2 * 2)
        writer = cv2.VideoWriter(str(self._partial), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, self._size)
        if not writer.isOpened():
            self._require_space()
            raise StorageError(f"cannot write the video {self._path}")
        self._start = captured
        return writer

    def write(self, image: ImageBgr, captured: float) -> bool:
        if self._writer is None:
            self._writer = self._open(image, captured)
        # What a gap has beyond the cap is left out for good: the recording goes on as if it had not been.
        self._start = max(self._start, captured - (self._written + MAX_REPEATS) / self._rate)
        due = round((captured - self._start) * self._rate)
        gap = due - self._written
        if self._last is not None:
            for _ in range(gap):
                self._put(self._last)
        if due >= self._written:
            self._put(image)
        self._last = image
        return True

    def _require_space(self) -> None:
        if shutil.disk_usage(self._partial.parent).free < MINIMUM_FREE_BYTES:
            raise StorageError(f"cannot write {self._path}: the disk is full", hint="free some space")

    def _put(self, image: ImageBgr) -> None:
        assert self._writer is not None
        if self._written % CHECK_EVERY_FRAMES == 0:
            self._require_space()
        width, height = self._size
        self._writer.write(np.ascontiguousarray(image[:height, :width]))
        self._written += 1

    def finish(self) -> None:
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        written = cv2.VideoCapture(str(self._partial), cv2.CAP_FFMPEG)
        frames = int(written.get(cv2.CAP_PROP_FRAME_COUNT)) if written.isOpened() else 0
        written.release()
        if frames < self._written - 2:
            self.discard()
            raise StorageError(f"cannot write {self._path}: only {frames} of {self._written} frames reached the disk")
        try:
            self._partial.replace(self._path)
        except OSError as error:
            self.discard()
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None
        self._partial.unlink(missing_ok=True)


class WindowSink:
    """A window on the desktop. Used from one thread only.

    Raises:
        UsageError: there is no desktop, or Python was built without Tk.
    """

    def __init__(self, title: str) -> None:
        try:
            import tkinter
        except ImportError as error:
            raise UsageError("no window: this Python has no tkinter", hint="Use --out instead") from error
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise UsageError("no window: there is no desktop to show it on", hint="Use --out instead") from error
        self._photo_class: Any = tkinter.PhotoImage
        self._error: type[Exception] = tkinter.TclError
        self._open = True
        self._root.title(title)
        self._root.protocol("WM_DELETE_WINDOW", self._closed)
        self._label = tkinter.Label(self._root)
        self._label.pack()
        self._photo: object = None

    def _closed(self) -> None:
        self._open = False

    def write(self, image: ImageBgr, captured: float) -> bool:
        if self._open:
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            header = f"P6 {rgb.shape[1]} {rgb.shape[0]} 255 ".encode()
            self._photo = self._photo_class(data=header + rgb.tobytes(), format="PPM")
            self._label.configure(image=self._photo)  # type: ignore[call-overload]  # tkinter is loaded late: its image is typed as an object
            self._root.update()
        return self._open

    def finish(self) -> None:
        self.discard()

    def discard(self) -> None:
        if self._photo_class is not None:
            self._photo_class = None
            self._open = False
            self._root.destroy()


def file_sink(path: Path, *, still: bool, frame_rate: float) -> Sink:
    """The sink for a file name.

    Raises:
        UsageError: a still needs .png, a video .mp4.
        StorageError: the folder is missing or not writable.
    """
    wanted = ".png" if still else ".mp4"
    if path.suffix.lower() != wanted:
        kind = "a picture" if still else "a video"
        raise UsageError(f"--out {path} cannot hold {kind}", hint=f"name a {wanted} file")
    return PictureSink(path) if still else VideoSink(path, frame_rate=frame_rate)
