"""Rendered signs: the textures of the street walk and the samples calibration is fitted on.

OpenCV's built-in TrueType faces cover Latin, Japanese, Korean and Chinese, so no font file is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from shared.geometry import ImageBgr, Quad

TEXT_MARGIN = 0.55
"""Space around the text, in font sizes: what city signs leave, roughly."""


class Face(Enum):
    """OpenCV's built-in faces. `sans` and `italic` vary in weight."""

    SANS = "sans"
    ITALIC = "italic"
    UNICODE = "uni"


@dataclass(frozen=True, slots=True)
class SignStyle:
    """How a sign looks; colours are BGR.

    Attributes:
        weight: 100 (thin) to 900 (black), 400 is regular.
        border: width of the frame line in font sizes; 0 for none.
    """

    background: tuple[int, int, int]
    foreground: tuple[int, int, int]
    face: Face = Face.SANS
    weight: int = 600
    border: float = 0.0


STYLES: tuple[SignStyle, ...] = (
    SignStyle((140, 60, 20), (250, 250, 250), weight=700, border=0.06),  # blue enamel
    SignStyle((60, 120, 20), (250, 250, 250), weight=700),  # exit green
    SignStyle((235, 240, 240), (25, 25, 25), weight=500),  # white board
    SignStyle((30, 30, 30), (90, 230, 255), weight=600, border=0.05),  # black with yellow letters
    SignStyle((40, 200, 250), (20, 20, 20), weight=800, border=0.08),  # warning yellow
    SignStyle((40, 30, 190), (245, 245, 245), weight=700, border=0.06),  # red
    SignStyle((200, 220, 235), (40, 40, 110), face=Face.ITALIC, weight=500),  # café, cream and brown
    SignStyle((70, 55, 45), (225, 225, 225), face=Face.UNICODE, weight=400),  # slate
)


def text_extent(text: str, style: SignStyle, size: int) -> tuple[int, int, int, int]:
    """Bounding box (x, y, width, height) of `text` drawn at the origin of its base line, in pixels."""
    box = cv2.getTextSize((16, 16), text, (0, 0), cv2.FontFace(style.face.value), size, style.weight)
    return int(box[0]), int(box[1]), int(box[2]), int(box[3])


def render_sign(lines: tuple[str, ...], style: SignStyle, *, size: int = 64) -> tuple[ImageBgr, list[Quad]]:
    """Draw a sign of one or more centred lines.

    Args:
        lines: the text, top to bottom.
        style: colours and face.
        size: font size in pixels.

    Returns:
        The texture, uint8 BGR of shape (height, width, 3), and the quad of each line in it.
    """
    extents = [text_extent(line, style, size) for line in lines]
    margin = round(TEXT_MARGIN * size)
    pitch = round(1.35 * size)
    width = max(extent[2] for extent in extents) + 2 * margin
    height = pitch * len(lines) + 2 * margin - (pitch - size)
    texture = np.full((height, width, 3), style.background, np.uint8)
    if style.border:
        line_width = max(1, round(style.border * size))
        inset = line_width * 2
        cv2.rectangle(texture, (inset, inset), (width - 1 - inset, height - 1 - inset), style.foreground, line_width)
    face = cv2.FontFace(style.face.value)
    quads: list[Quad] = []
    for index, (line, (x, y, w, h)) in enumerate(zip(lines, extents, strict=True)):
        left = (width - w) // 2 - x
        base = margin + index * pitch + round(0.82 * size)
        cv2.putText(texture, line, (left, base), style.foreground, face, size, style.weight)
        x0, y0 = left + x, base + y
        quads.append(np.array([[x0, y0], [x0 + w, y0], [x0 + w, y0 + h], [x0, y0 + h]], np.float32))
    return texture, quads


def degrade(
    image: ImageBgr,
    rng: np.random.Generator,
    *,
    height: int,
    blur: float,
    noise: float,
    motion: int = 0,
    quality: int = 75,
) -> ImageBgr:
    """What distance, optics, motion and compression do to a strip.

    Args:
        image: uint8 BGR strip.
        height: height in pixels after the distance is applied.
        blur: Gaussian sigma in pixels at that height.
        noise: standard deviation of sensor noise, in grey levels.
        motion: length of a horizontal motion blur in pixels; below 2 means none.
        quality: WebP quality.
    """
    scale = height / image.shape[0]
    small = cv2.resize(image, (max(4, round(image.shape[1] * scale)), height), interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), blur) if blur > 0 else small
    if motion >= 2:
        blurred = cv2.blur(blurred, (motion, 1))
    gain = rng.uniform(0.5, 1.0)
    work = (blurred.astype(np.float64) - 128) * gain + rng.uniform(95, 150) + rng.normal(0, noise, blurred.shape)
    encoded = cv2.imencode(".webp", np.clip(work, 0, 255).astype(np.uint8), [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    return np.asarray(decoded, dtype=np.uint8)
