"""What a picture of a line looks like, whatever it says: sharpness, contrast, light and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from shared.geometry import ImageBgr
from shared.models.images import require_bgr

_LEAST_CONTRAST: Final = 8.0
"""Grey levels below which an edge is told from noise by nothing."""
_LEAST_SIDE: Final = 3
_NOISE_KERNEL: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
"""Immerkær 1996, "Fast Noise Variance Estimation": the difference of two Laplacians, blind to edges."""


@dataclass(frozen=True, slots=True)
class PictureQuality:
    """Measures of one picture.

    Attributes:
        sharpness: reciprocal of the width of its sharpest edges, in 1/pixels: about 0.5 for a sharp picture, 0.1 when
            an edge is ten pixels wide.
        contrast: between the 5th and the 95th percentile of its grey levels, as a share of full scale.
        brightness: its median grey level, as a share of full scale.
        noise: standard deviation of its noise, as a share of full scale.
    """

    sharpness: float
    contrast: float
    brightness: float
    noise: float


def picture_quality(image: ImageBgr) -> PictureQuality | None:
    """Measure a picture; None for one too small to say anything.

    Args:
        image: BGR uint8 of shape (height, width, 3).

    Raises:
        InputError: it is no BGR picture.
    """
    require_bgr(image, what="a picture of a line")
    if min(image.shape[:2]) < _LEAST_SIDE:
        return None
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    low, middle, high = (float(value) for value in np.percentile(grey, (5, 50, 95)))
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    steepest = float(np.percentile(cv2.magnitude(across, down), 99))
    curved = np.abs(cv2.filter2D(grey, cv2.CV_32F, _NOISE_KERNEL))[1:-1, 1:-1]
    # The kernel's response to noise is N(0, 6 sigma), whose size has the median 0.6745 of that; the median, for letters
    # are no noise.
    sigma = float(np.median(curved)) / (6 * 0.6745)
    return PictureQuality(
        sharpness=steepest / max(high - low, _LEAST_CONTRAST),
        contrast=(high - low) / 255,
        brightness=middle / 255,
        noise=sigma / 255,
    )
