"""From a strip handed to the link to its reading shown, in parts, with glasses and phone as processes.

All processes of one machine share the monotonic clock their events are dated by, so moments of two tiers can be
subtracted. The pictures are stills, which the glasses draw five times a second: on average half of that is "display".
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from shared.clock import SystemClock
from shared.models.packs import PackStore
from simulations.radio import LinkProfile
from simulations.results import Event
from simulations.signs import STYLES, render_sign
from simulations.system import SystemOptions, WaywordSystem

PARTS: Final = {
    "air out": ("sign_sent", "strip_received"),
    "phone": ("strip_received", "reading_sent"),
    "air back": ("reading_sent", "reading"),
    "display": ("reading", "text_shown"),
    "together": ("sign_sent", "text_shown"),
}
"""Part → the events it begins and ends with; the first of each kind counts."""

TEXTS: Final = (
    ("SAÍDA",),
    ("PERIGO", "ALTA TENSÃO"),
    ("Proibido fumar",),
    ("ABERTO", "das 9 às 18 horas"),
    ("Cuidado com o cão",),
    ("Praia da Luz", "2 km"),
)
"""Portuguese, which a default pack translates."""


def sign_pictures(folder: Path) -> list[Path]:
    """Pictures of `TEXTS` on a wall, written to `folder`."""
    paths = []
    for number, lines in enumerate(TEXTS):
        sign, _ = render_sign(lines, STYLES[number % len(STYLES)], size=56)
        height, width = sign.shape[:2]
        wall = np.full((max(720, height + 120), max(1280, width + 200), 3), 150, np.uint8)
        top, left = (wall.shape[0] - height) // 2, (wall.shape[1] - width) // 2
        wall[top : top + height, left : left + width] = sign
        path = folder / f"sign-{number}.png"
        cv2.imwrite(str(path), wall)
        paths.append(path)
    return paths


async def measure(
    profile: LinkProfile, store: PackStore, pictures: Sequence[Path], say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Milliseconds of each of `PARTS`, one for every sign that was answered; and "strip bytes".

    Args:
        profile: shape of the link.
        store: where the packs are.
        pictures: what the glasses look at; `sign_pictures` when empty.
        say: told what is played.

    Raises:
        PackMissing, RadioError, ProcessFailed: see `WaywordSystem`.
    """
    with tempfile.TemporaryDirectory(prefix="wayword-path-") as name:
        folder = Path(name)
        shown = list(pictures) or await asyncio.to_thread(sign_pictures, folder)
        options = SystemOptions(profile, store, cloud=False)
        figures: dict[str, list[float]] = defaultdict(list)
        async with WaywordSystem(options, clock=SystemClock(), on_event=say, folder=folder) as system:
            for picture in shown:
                before = len(system.events())
                await system.play(["--image", str(picture)], out=folder / "shown.png")
                for key, values in parts(system.events()[before:]).items():
                    figures[key] += values
                say(f"  {picture.name}: {len(figures['together'])} signs so far")
    return figures


def parts(events: Iterable[Event]) -> dict[str, list[float]]:
    """Milliseconds of each of `PARTS` for every sign of one run of the glasses, and its "strip bytes"."""
    moments: dict[int, dict[str, float]] = defaultdict(dict)
    size: dict[int, float] = {}
    connected = 0.0
    for event in events:
        if event["event"] == "link_status" and str(event["status"]).startswith("connected to"):
            connected = float(event["t"])
        region = event.get("region_id")
        if region is None:
            continue
        kind = str(event["event"])
        if kind == "text_shown" and "reading" not in moments[region]:
            continue  # what an earlier look had to say
        moments[region].setdefault(kind, float(event["t"]))
        if kind == "sign_sent":
            size.setdefault(region, float(event["image_bytes"]))
    figures: dict[str, list[float]] = defaultdict(list)
    for region, at in moments.items():
        if "sign_sent" in at:
            # The glasses have only just started: what was cut before the phone was there waits for it.
            at["sign_sent"] = max(at["sign_sent"], connected)
        if all(kind in at for part in PARTS.values() for kind in part):
            for part, (start, end) in PARTS.items():
                figures[part].append((at[end] - at[start]) * 1e3)
            figures["strip bytes"].append(size[region])
    return figures


def summary(figures: dict[str, list[float]]) -> dict[str, tuple[float, float]]:
    """Median and largest of each part."""
    return {key: (statistics.median(values), max(values)) for key, values in figures.items() if values}
