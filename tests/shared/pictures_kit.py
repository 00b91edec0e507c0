"""Pictures with text, drawn with OpenCV's built-in fonts."""

from __future__ import annotations

import cv2
import numpy as np

from shared.geometry import ImageBgr, Quad

INK = (20, 20, 20)
PAPER = (235, 235, 235)


def line_of(text: str, *, height: int = 48, weight: int = 400) -> ImageBgr:
    """One line of text, cut close."""
    face = cv2.FontFace("uni")
    size = round(height * 0.6)
    (left, top, width, rows) = cv2.getTextSize((0, 0), text, (0, 0), face, size, weight)
    pad = (height - rows) // 2
    canvas = np.full((height, width + 2 * pad, 3), PAPER, dtype=np.uint8)
    return np.asarray(cv2.putText(canvas, text, (pad - left, pad - top), INK, face, size, weight)[1], dtype=np.uint8)


def paste(canvas: ImageBgr, line: ImageBgr, quad: Quad) -> ImageBgr:
    """Draw a line of text into a quad of a picture."""
    rows, columns = line.shape[:2]
    corners = np.array([[0, 0], [columns - 1, 0], [columns - 1, rows - 1], [0, rows - 1]], dtype=np.float32)
    homography = cv2.getPerspectiveTransform(corners, quad)
    size = (canvas.shape[1], canvas.shape[0])
    drawn = cv2.warpPerspective(line, homography, size, flags=cv2.INTER_AREA, borderValue=PAPER)
    return np.asarray(np.minimum(canvas, drawn), dtype=np.uint8)


def paper(width: int, height: int) -> ImageBgr:
    return np.full((height, width, 3), PAPER, dtype=np.uint8)


def box(center: tuple[float, float], width: float, height: float, degrees: float = 0.0) -> Quad:
    """A rectangle, clockwise from the corner that is top left before it is turned clockwise by `degrees`."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    return np.asarray(upright @ turn.T + center, dtype=np.float32)
