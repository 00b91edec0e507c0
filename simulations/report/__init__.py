"""The report of a run: one self-contained page and one JSON document."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from shared.errors import StorageError
from simulations.report.latency import latency_svg, pose_latency
from simulations.report.timeline import timeline_svg
from simulations.results import Event, SignResult, erasure

PREVIEW_WIDTH = 960
FILM_PREVIEWS = 6


def write_report(
    out: Path, signs: Sequence[SignResult], events: Sequence[Event], picture: Path, strips: Path, *, options_text: str
) -> None:
    """Write report.html and report.json into `out`.

    Args:
        out: existing folder.
        signs: one result a sign.
        events: all events of the run.
        picture: the .png or .mp4 the glasses wrote.
        strips: folder with the strips as sent.
        options_text: what was run, in one line.

    Raises:
        StorageError: the folder cannot be written.
    """
    summary = summarise(signs, events)
    latency = pose_latency(events)
    document: dict[str, Any] = {"run": options_text, "summary": summary}
    if latency is not None:
        document["pose_latency"] = latency.as_json()
    document["signs"] = [sign.as_dict() for sign in signs]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        resources.files("simulations.report").joinpath("template.html").read_text(encoding="utf-8")
    )
    page = template.render(
        run=options_text,
        summary=summary,
        signs=signs,
        strips_of=lambda sign: [_data_url(strips / Path(name).name) for name in sign.strip_files],
        previews=_previews(picture),
        picture=picture.name,
        timeline=timeline_svg(signs),
        latency=latency,
        latency_plot="" if latency is None else latency_svg(latency),
    )
    _write_whole(out / "report.json", json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    _write_whole(out / "report.html", page)


def _write_whole(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror}", hint="free some space") from error


def summarise(signs: Sequence[SignResult], events: Sequence[Event]) -> dict[str, Any]:
    """The figures at the top of the report."""
    provisional = [sign.provisional_ms for sign in signs if sign.provisional_ms is not None]
    refined = [sign.refined_ms for sign in signs if sign.refined_ms is not None]
    taken_back = erasure(events)
    normalised = taken_back.normalised
    finished = [event for event in events if event["event"] == "finished"]
    return {
        "signs": len(signs),
        "answered": len(provisional),
        "escalated": sum(sign.escalated for sign in signs),
        "strip_bytes_median": percentile([sign.strip_bytes for sign in signs], 50),
        "bytes_on_air": sum(sign.bytes_on_air for sign in signs),
        "provisional_ms_p50": percentile(provisional, 50),
        "provisional_ms_p95": percentile(provisional, 95),
        "refined_ms_p50": percentile(refined, 50),
        "refined_ms_p95": percentile(refined, 95),
        "words_erased": taken_back.erased,
        "words_shown": taken_back.final,
        "normalised_erasure": None if normalised is None else round(normalised, 3),
        "glasses": {k: v for k, v in finished[-1].items() if k not in {"t", "process", "event"}} if finished else {},
    }


def percentile(values: Sequence[float], q: float) -> float | None:
    """Percentile with linear interpolation; None without values."""
    return round(float(np.percentile(values, q)), 1) if values else None


def _data_url(path: Path) -> str:
    """A picture file as a data URL; an empty string when it is not there, as after a kill."""
    if not path.is_file():
        return ""
    kind = "jpeg" if path.suffix in {".jpg", ".jpeg"} else path.suffix.removeprefix(".")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _previews(picture: Path) -> list[str]:
    """The picture, or frames of the film from moments when answers were on screen, as JPEG data URLs."""
    frames = []
    if picture.suffix == ".png":
        image = cv2.imread(str(picture))
        frames = [] if image is None else [image]
    else:
        film = cv2.VideoCapture(str(picture))
        count = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
        for index in np.linspace(0.08, 0.98, FILM_PREVIEWS) * max(count - 1, 0):
            film.set(cv2.CAP_PROP_POS_FRAMES, int(index))
            good, image = film.read()
            if good:
                frames.append(image)
        film.release()
    urls = []
    for frame in frames:
        scale = min(1.0, PREVIEW_WIDTH / frame.shape[1])
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else frame
        data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()
        urls.append(f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}")
    return urls
