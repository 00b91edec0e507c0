"""Compile all kernels, or load them compiled: afterwards no frame waits for a compiler."""

from __future__ import annotations

import numpy as np

from glasses.stabiliser import GyroSamples
from glasses.stabiliser.compiled import FOLDER_VARIABLE, WARM_MARK, kernel_folder
from glasses.stabiliser.inline import InlineStabiliser
from shared.errors import StorageError

SIZE = (256, 192)


def warm() -> None:
    """Run every kernel once, on a small made-up scene: about a minute the first time, then a second or two.

    The kernels' types do not depend on the size of the frames. The scene makes everything happen: two regions on one
    plane, found in an older frame, lost while it is dark, and looked for.

    Raises:
        StorageError: the compiled code cannot be kept: the disk is full.
    """
    try:
        _play()
        kernel_folder().mkdir(parents=True, exist_ok=True)
        (kernel_folder() / WARM_MARK).touch()
    except OSError as error:
        raise StorageError(
            f"cannot keep compiled kernels in {kernel_folder()}: {error.strerror}",
            hint=f"free some space, or name another folder in {FOLDER_VARIABLE}",
        ) from error


def _play() -> None:
    rng = np.random.default_rng(1)
    width, height = SIZE
    coarse = rng.integers(0, 255, (height // 8 + 4, width // 8 + 4), dtype=np.uint8)
    wall = np.kron(coarse, np.ones((8, 8), np.uint8))
    dark = np.zeros((height, width), np.uint8)
    stabiliser = InlineStabiliser(focal_px=float(width))
    quads = [np.array([[60, y], [150, y], [150, y + 24], [60, y + 24]], np.float32) for y in (60, 92)]
    for number in range(48):
        shift = number % 4
        luma = dark if 16 <= number < 36 else np.ascontiguousarray(wall[shift : shift + height, :width])
        times = number / 30 - np.arange(6, -1, -1) / 200
        gyro = GyroSamples(times, np.zeros((7, 3))) if number % 2 else None
        stabiliser.observe(number, luma, number / 30, gyro)
        if number == 6:
            stabiliser.add(1, quads[:1], 0)
            stabiliser.add(2, quads[1:], 0)
