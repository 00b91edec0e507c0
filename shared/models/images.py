"""What every model that looks at pictures asks of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shared.errors import InputError
from shared.geometry import ImageBgr


def require_bgr(image: npt.NDArray[Any], *, what: str, max_side: int | None = None) -> ImageBgr:
    """Refuse whatever is no BGR picture, rather than read nonsense from it.

    Args:
        image: array to check.
        what: what the picture is, for the message.
        max_side: largest width or height in pixels; None for any.

    Returns:
        The same array.

    Raises:
        InputError: it is not uint8 of shape (height, width, 3), has no pixel, or is too large.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"{what} is no BGR picture: {image.dtype} of shape {image.shape}", hint="Convert it with cv2.cvtColor first"
        )
    height, width = image.shape[:2]
    if height == 0 or width == 0:
        raise InputError(f"{what} has no pixel: {width} x {height}")
    if max_side is not None and max(height, width) > max_side:
        raise InputError(f"{what} is too large: {width} x {height}, at most {max_side} on a side")
    return image
