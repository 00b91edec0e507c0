"""The results as one HTML page that needs nothing else: each photograph, its labels, every crop and its reading."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import cv2
import numpy as np

from shared.errors import InputError
from shared.geometry import ImageBgr
from shared.models.rectify import rectify
from simulations.bench.reading.arms import Shown, load_image
from simulations.bench.reading.scoring import Photo, fold, score_line

PICTURE_SIDE: Final = 900
"""Longest side of a photograph on the page, in pixels."""
CROP_HEIGHT: Final = 28
CROP_WIDTH: Final = 360
STYLE: Final = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #1b1b1b; }
section { border-top: 2px solid #ccc; padding-top: .6rem; } .arms { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.right { background: #e5f3ea; } .wrong { background: #fbe3df; } pre { font-size: 12px; } img { vertical-align: middle; }
"""


@dataclass(frozen=True)
class PhotoResult:
    """What every arm showed for one photograph.

    Attributes:
        photo: the photograph and its labels.
        shown: lines by arm.
        cpu: CPU seconds by arm.
    """

    photo: Photo
    shown: dict[str, list[Shown]]
    cpu: dict[str, float]


def page(results: Sequence[PhotoResult], figures: Sequence[str]) -> str:
    """The whole page."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Reading bench</title>",
        f"<style>{STYLE}</style><h1>Reading bench</h1><pre>{escape(chr(10).join(figures))}</pre>",
    ]
    for result in results:
        image = load_image(result.photo.path)
        scale = min(1.0, PICTURE_SIDE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        parts.append(f"<section><h2>{escape(result.photo.path.name)}</h2>{_img(np.asarray(small, np.uint8))}")
        parts.append(f"<p>{' · '.join(escape(line) for line in result.photo.lines)}</p><div class=arms>")
        parts += [_arm(name, shown, result, image) for name, shown in result.shown.items()]
        parts.append("</div></section>")
    return "\n".join(parts)


def _arm(name: str, shown: Sequence[Shown], result: PhotoResult, image: ImageBgr) -> str:
    wanted = {fold(line) for line in result.photo.lines}
    texts = [line.text for line in shown]
    missing = [line for line in result.photo.lines if not score_line(line, texts).exact]
    rows = [f"<div><h3>{escape(name)} ({1000 * result.cpu[name]:.0f} ms)</h3><table>"]
    for line in shown:
        mark = ' class="right"' if fold(line.text) in wanted else ""
        rows.append(f"<tr{mark}><td>{_crop(image, line)}</td><td>{escape(line.text)}</td></tr>")
    rows.append("</table>")
    rows += [f'<div class="wrong">{escape(line)}</div>' for line in missing]
    return "".join([*rows, "</div>"])


def _crop(image: ImageBgr, line: Shown) -> str:
    try:
        return _img(rectify(image, line.quad, max_height=CROP_HEIGHT, max_width=CROP_WIDTH)[0])
    except InputError:
        return "–"  # other systems may answer with a box that has no area


def _img(image: ImageBgr) -> str:
    data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 80))[1].tobytes()
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
