"""One sign seen from many places: rendered, hung in a street, looked at from the side, in another light, cut as the
glasses cut it. What the hashes of places are chosen on, and what their bench shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from shared.geometry import ImageBgr, transform
from shared.messages.wayword.v1 import types_pb2
from shared.models.rectify import rectify
from simulations.scene import HEIGHT, WIDTH, Surface
from simulations.signs import STYLES, SignStyle, degrade, render_sign

MARGIN: Final = 0.25
"""Around a line in its strip, in line heights, as `glasses.strips` keeps."""
MAX_LINE_HEIGHT: Final = 64
_CORNER_ERROR: Final = 0.06
"""By how much the detector misplaces a corner, in heights of the line: a judgement."""


@dataclass(frozen=True, slots=True)
class View:
    """From where and in which light a sign is seen.

    Attributes:
        yaw_deg: of the sign against the viewer; 0 from the front.
        pitch_deg: from above or below.
        distance: metres.
        noise: of the sensor, in grey levels.
        blur: Gaussian sigma in pixels of the strip.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    distance: float = 3.0
    noise: float = 3.0
    blur: float = 0.4

    @classmethod
    def random(cls, rng: np.random.Generator, *, most_deg: float = 45.0) -> View:
        """One drawn by chance, up to so far aside."""
        return cls(
            yaw_deg=float(rng.uniform(-most_deg, most_deg)),
            pitch_deg=float(rng.uniform(-15, 15)),
            distance=float(rng.uniform(1.5, 4.5)),
            noise=float(rng.uniform(2, 8)),
            blur=float(rng.uniform(0.2, 1.0)),
        )


def style_of(text: str) -> SignStyle:
    """One of the street's styles for a text, the same every time."""
    return STYLES[sum(text.encode()) % len(STYLES)]


def crops_of(
    lines: Sequence[str], view: View, rng: np.random.Generator, *, style: SignStyle | None = None
) -> list[tuple[ImageBgr, types_pb2.Quad, types_pb2.Quad]]:
    """Each line as a strip, with its quad in the frame and in the strip.

    Args:
        lines: of the sign.
        view: from where.
        rng: of the detector's errors, the light and the noise.
        style: of the sign; None for the text's own.
    """
    texture, quads = render_sign(tuple(lines), style or style_of("\n".join(lines)), size=72)
    rows, columns = texture.shape[:2]
    surface = Surface(texture, (0.0, 0.0, view.distance), min(1.6, 0.0035 * columns), view.yaw_deg)
    pitch = math.radians(view.pitch_deg)
    # The viewer moves up or down around the sign and looks at it.
    rotation = np.array(
        [[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]], np.float64
    )
    position = np.array([0.0, 0.0, view.distance]) - rotation.T @ np.array([0.0, 0.0, view.distance])
    to_frame = surface.to_image(rotation, position) @ np.diag([1.0 / columns, 1.0 / rows, 1.0])
    frame: ImageBgr = cv2.warpPerspective(  # type: ignore[assignment]  # it keeps the picture's type
        texture, to_frame, (WIDTH, HEIGHT), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT, borderValue=(90,) * 3
    )
    found = []
    for quad in quads:
        seen = transform(to_frame, quad)
        height = float(np.linalg.norm(seen[3] - seen[0]))
        seen = np.asarray(seen + rng.normal(0, _CORNER_ERROR * height / 2, (4, 2)), np.float32)
        strip, inner = rectify(frame, seen, margin=MARGIN, max_height=MAX_LINE_HEIGHT)
        degraded = degrade(strip, rng, height=strip.shape[0], blur=view.blur, noise=view.noise)
        found.append((degraded, _message(seen), _message(inner)))
    return found


def strip_of(
    lines: Sequence[str],
    view: View,
    rng: np.random.Generator,
    *,
    frame_id: int = 1,
    region_id: int = 1,
    style: SignStyle | None = None,
) -> types_pb2.Strip:
    """The strip that the glasses would send of a view; arguments as of `crops_of`."""
    strip = types_pb2.Strip(frame_id=frame_id, region_id=region_id, encoding=types_pb2.IMAGE_ENCODING_WEBP)
    for picture, quad, inner in crops_of(lines, view, rng, style=style):
        encoded = cv2.imencode(".webp", picture, (cv2.IMWRITE_WEBP_QUALITY, 80))[1]
        strip.lines.add(image=encoded.tobytes(), quad=quad, inner=inner, detection_confidence=0.9)
    return strip


def _message(quad: np.typing.NDArray[np.float32]) -> types_pb2.Quad:
    return types_pb2.Quad(xy=[float(value) for value in quad.reshape(-1)])
