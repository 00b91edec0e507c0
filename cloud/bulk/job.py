"""Bulk jobs: every picture of a folder, read and translated with all cores, one JSON object a line.

What is written is the memory of the job: a run that was killed goes on where it was, because pictures whose name, size
and hash stand in the output are skipped. A picture that cannot be read becomes a line with its typed error, is tried
again by the next run, and stops nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np

from cloud.bulk.results import Done, ResultFile
from cloud.reading.claims import Claim, on_behalf_of
from cloud.reading.readers import LineReading
from cloud.reading.reply import ENGINES
from cloud.reading.validation import TextJob
from shared.clock import Clock
from shared.errors import InputError, WaywordError
from shared.geometry import ImageBgr
from shared.limits import MAX_IMAGE_PIXELS, MAX_PICTURE_FILE_BYTES
from shared.messages.wayword.v1 import types_pb2
from shared.models.sign_translation import SignTranslation

PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""Endings of the files that are read."""
ETA_OVER: Final = 20
"""Pictures over which the time of one is averaged: they differ, and so does what else the machine does."""


class PictureReader(Protocol):
    """What a bulk job needs of a reader; one thread at a time calls it."""

    def read_picture(self, image: ImageBgr, *, source: str | None = None) -> list[LineReading]:
        """See `LargeReader.read_picture`."""
        ...

    def translate(self, job: TextJob) -> SignTranslation:
        """See `LargeReader.translate`."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is.

    Attributes:
        done: pictures finished, skipped ones included.
        failed: of these, those that could not be read.
        skipped: of these, those that an earlier run had finished.
        total: pictures there are.
        left_s: seconds until the end, as fast as lately; None before the first picture.
    """

    done: int
    failed: int
    skipped: int
    total: int
    left_s: float | None

    def __str__(self) -> str:
        """One line for a person."""
        left = "" if self.left_s is None or self.done == self.total else f", {_duration(self.left_s)} left"
        skipped = f", {self.skipped} of an earlier run" if self.skipped else ""
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.total} pictures{skipped}{failed}{left}"


def pictures_in(folder: Path) -> list[Path]:
    """Every picture below a folder, in order of their names; hidden files and folders are left out, and so are links to
    folders and links that lead out of the folder: it may be a stranger's.

    Raises:
        InputError: it is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    found = []
    root = folder.resolve()
    # Links to folders are not followed: one back up would never end.
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.suffix.lower() not in PICTURES or any(part.startswith(".") for part in inside.parts):
            continue
        if path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(root)):
            found.append(path)
    return sorted(found)


class BulkJob:
    """One run over a folder.

    Args:
        folder: names in the output are relative to it.
        readers: one per thread.
        source: language of the texts; None to tell it sign by sign.
        target: language wanted.
        clock: measures.
        results: where the outcome of each picture goes.
        on_progress: told after every picture, in the thread of `run`.
    """

    def __init__(
        self,
        folder: Path,
        readers: Sequence[PictureReader],
        *,
        source: str | None,
        target: str,
        clock: Clock,
        results: ResultFile,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._folder = folder
        self._readers = deque(readers)
        self._threads = len(readers)
        self._source = source
        self._target = target
        self._clock = clock
        self._results = results
        self._on_progress = on_progress
        self._claim = Claim()

    def run(self, pictures: Iterable[Path]) -> Progress:
        """Read them all.

        Raises:
            StorageError: the output cannot be written.
            KeyboardInterrupt: Ctrl-C; what was finished is written.
        """
        names = list(pictures)
        done = failed = skipped = 0
        ends: deque[float] = deque([self._clock.monotonic()], maxlen=ETA_OVER)

        def told() -> Progress:
            each = (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else None
            progress = Progress(done, failed, skipped, len(names), None if each is None else each * (len(names) - done))
            self._on_progress(progress)
            return progress

        last = told()
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="bulk")
        try:
            for outcome in _bounded(pool, self._one, names, ahead=2 * self._threads):
                done += 1
                if outcome is None:
                    skipped += 1
                else:
                    failed += "error" in outcome
                    self._results.add(outcome)
                    ends.append(self._clock.monotonic())
                last = told()
        except BaseException:
            # Those under way stop between two stages; what they had is done anew by the next run.
            self._claim.left = True
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return last

    def _one(self, path: Path) -> dict[str, Any] | None:
        """The outcome of one picture; None when an earlier run had it. In a thread."""
        started = self._clock.monotonic()
        record: dict[str, Any] = {"file": path.relative_to(self._folder).as_posix()}
        try:
            data = _content(path)
            known = Done(record["file"], len(data), hashlib.sha256(data).hexdigest())
            record |= {"size": known.size, "sha256": known.sha256}
            if known in self._results.done:
                return None
            image = decoded_picture(data)
            del data
            record |= {"width": image.shape[1], "height": image.shape[0]}
            record["signs"] = self._signs(image)
        except WaywordError as error:
            record["error"] = {"type": type(error).__name__, "message": error.message}
        except Exception as error:  # noqa: BLE001  # whatever one picture does to a library, the others go on
            # The type only: a stranger's message may quote anything.
            record["error"] = {"type": type(error).__name__, "message": "unexpected failure"}
        record["seconds"] = round(self._clock.monotonic() - started, 3)
        return record

    def _signs(self, image: ImageBgr) -> list[dict[str, Any]]:
        reader = self._readers.popleft()
        try:
            with on_behalf_of(self._claim):
                lines = [line for line in reader.read_picture(image, source=self._source) if line.rejection is None]
                return [self._sign(reader, list(sign)) for _, sign in groupby(lines, key=lambda line: line.sign)]
        finally:
            self._readers.append(reader)

    def _sign(self, reader: PictureReader, lines: Sequence[LineReading]) -> dict[str, Any]:
        texts = tuple(line.recognition.text for line in lines)
        translation = reader.translate(TextJob(texts, self._source, self._target))
        return {
            "lines": [
                {
                    "text": line.recognition.text,
                    "confidence": round(line.recognition.confidence, 4),
                    "quad": [round(float(value), 1) for value in line.quad.reshape(-1)],
                }
                for line in lines
            ],
            "source": translation.source,
            "translation": translation.translation,
            "engine": types_pb2.Engine.Name(ENGINES[translation.engine]).removeprefix("ENGINE_").lower(),
            "untranslated": None if translation.reason is None else translation.reason.value,
        }


def decoded_picture(data: bytes) -> ImageBgr:
    """A picture of any of the usual formats, turned upright as its EXIF orientation says.

    Raises:
        InputError: it is none, damaged, or larger than `limits.MAX_IMAGE_PIXELS`.
    """
    limit = f"{MAX_IMAGE_PIXELS // 1_000_000} million pixels"
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        # OpenCV refuses oversize pictures by the header, before it allocates memory (see cloud/__init__.py).
        raise InputError(f"the picture cannot be decoded: it is damaged or has more than {limit}") from error
    if image is None:
        raise InputError("the file is no picture that can be read")
    if image.shape[0] * image.shape[1] > MAX_IMAGE_PIXELS:
        raise InputError(f"the picture has more than {limit}")
    return np.asarray(image, dtype=np.uint8)


def _content(path: Path) -> bytes:
    """Bytes of a picture file.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_PICTURE_FILE_BYTES:
                raise InputError(f"the file has {size} bytes, more than {MAX_PICTURE_FILE_BYTES}")
            data = file.read(size + 1)
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}") from error
    if len(data) > size:
        raise InputError("the file is being written")
    return data


def _bounded(
    pool: ThreadPoolExecutor,
    work: Callable[[Path], dict[str, Any] | None],
    items: Sequence[Path],
    *,
    ahead: int,
) -> Iterator[dict[str, Any] | None]:
    """Results as they come, with so many items under way at most."""
    left = iter(items)
    running: set[Future[dict[str, Any] | None]] = set()
    while True:
        while len(running) < ahead and (item := next(left, None)) is not None:
            running.add(pool.submit(work, item))
        if not running:
            return
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            yield future.result()


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
