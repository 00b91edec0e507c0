"""Visitors of rendered signs at a real service: who reads, who recalls, and who lies."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, places_pb2, places_pb2_grpc, types_pb2
from shared.places.cells import around, cell_at
from shared.places.matching import text_key
from shared.places.messages import RECALLED
from simulations.bench.cloud.findings import Finding, Progress
from simulations.bench.cloud.processes import CloudProcess, running
from simulations.bench.cloud.security_world import Credentials, make_credentials
from simulations.bench.sign_phrases import Half
from simulations.bench.sign_phrases import load as load_phrases
from simulations.place_views import View, strip_of
from simulations.signs import STYLES

LANGUAGES: Final = ("pt", "es", "fr", "de")
LISBON: Final = (38.7107, -9.1366)
CALL_S: Final = 20.0
LEARN_S: Final = 5.0
"""Longest wait until an answer is counted, which happens after the caller has it."""
POISON_DEVICES: Final = 20
POISON_SHARES: Final = tuple(range(0, 55, 5))
REPEATS: Final = 5
"""Calls each way for the latency of one sign."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign at a place of its own.

    Attributes:
        lines: what it says.
        style: how it looks, an index into `STYLES`.
        cell: where it hangs.
    """

    lines: tuple[str, ...]
    style: int
    cell: str


@dataclass(slots=True)
class Visits:
    """What came of all visits.

    Attributes:
        shared: signs of which three devices read the same text with the same translation.
        signs: all signs.
        early: recalls by the second and third device, which must not happen.
        by_picture: of the shared signs, those recalled from another angle by a phone that read nothing.
        by_text: those recalled by a phone that read one letter wrong.
        wrong: recalls that say something else than what was shared.
        anew_ms, recalled_ms: medians of the interleaved calls about one sign each.
    """

    shared: int = 0
    signs: int = 0
    early: int = 0
    by_picture: int = 0
    by_text: int = 0
    wrong: int = 0
    anew_ms: list[float] = field(default_factory=list)
    recalled_ms: list[float] = field(default_factory=list)


class Town:
    """A running service and phones with tokens.

    Args:
        channel: to the service.
        credentials: that it accepts.
    """

    def __init__(self, channel: grpc.aio.Channel, credentials: Credentials) -> None:
        self._reader = cloud_pb2_grpc.ReaderStub(channel)
        self._places = places_pb2_grpc.PlacesStub(channel)
        self._credentials = credentials

    async def read(
        self, device: str, strip: types_pb2.Strip, *, cell: str | None, text: str = ""
    ) -> tuple[types_pb2.Reading, float]:
        """One `ReadStrip`; returns the reading and the milliseconds it took."""
        request = cloud_pb2.ReadStripRequest(
            idempotency_key=uuid.uuid4().hex,
            strip=strip,
            direction=types_pb2.Direction(target="en"),
            local_text=text,
            local_confidence=types_pb2.Confidence(recognition=0.3),
            place_cell=cell,
        )
        started = time.perf_counter()
        reply = await self._reader.ReadStrip(request, timeout=CALL_S, metadata=self._who(device))
        return reply.reading, (time.perf_counter() - started) * 1e3

    async def contribute(self, device: str, *signs: places_pb2.PlaceSign) -> int:
        """One `Contribute`; returns how many were taken."""
        reply = await self._places.Contribute(
            places_pb2.ContributeRequest(signs=signs), timeout=CALL_S, metadata=self._who(device)
        )
        return int(reply.accepted)

    async def lookup(self, device: str, cell: str) -> list[places_pb2.PlaceSign]:
        """One `Lookup` of a cell and its neighbours."""
        request = places_pb2.LookupRequest(cells=around(cell), target="en")
        return list((await self._places.Lookup(request, timeout=CALL_S, metadata=self._who(device))).signs)

    def _who(self, device: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self._credentials.token(device)}"),)


def visit_town(folder: Path, *, signs: int, seed: int, progress: Progress) -> list[Finding]:
    """Start a service, and let devices visit.

    Raises:
        WaywordError: the service does not start.
    """
    credentials = make_credentials(folder)
    service = CloudProcess(
        ("serve",),
        folder,
        settings={
            "token_keys": credentials.settings()["token_keys"],
            "places_folder": folder / "places",
            "quota_calls_per_s": 0,
            "events": folder / "events.jsonl",
        },
    )
    progress("starting wayword-cloud serve")
    with running([service]):
        return asyncio.run(_visit(service.address, credentials, signs=signs, seed=seed, progress=progress))


async def _visit(address: str, credentials: Credentials, *, signs: int, seed: int, progress: Progress) -> list[Finding]:
    async with grpc.aio.insecure_channel(address) as channel:
        town = Town(channel, credentials)
        visits = Visits()
        for number, sign in enumerate(_signs(signs, seed)):
            if number % 10 == 0:
                progress(f"visiting sign {number + 1} of {signs}")
            await _visit_sign(town, sign, visits, np.random.default_rng(seed + number))
        progress("poisoning signs")
        return [*_findings(visits), *await _poison(town)]


def _signs(count: int, seed: int) -> list[Sign]:
    """Phrases of the half that reports, each far from the others."""
    rng = random.Random(seed)
    found = []
    for language in LANGUAGES:
        phrases = [
            phrase.source
            for phrase in load_phrases(language)
            if phrase.half is Half.REPORT and len(phrase.source) >= 4 and "\n" not in phrase.source
        ]
        found += rng.sample(phrases, min(len(phrases), count // len(LANGUAGES) + 1))
    rng.shuffle(found)
    latitude, longitude = LISBON
    return [
        Sign(
            (text,),
            rng.randrange(len(STYLES)),
            cell_at(latitude + 0.01 * (index // 40), longitude + 0.01 * (index % 40)),
        )
        for index, text in enumerate(found[:count])
    ]


async def _visit_sign(town: Town, sign: Sign, visits: Visits, rng: np.random.Generator) -> None:
    visits.signs += 1

    def seen() -> types_pb2.Strip:
        return strip_of(sign.lines, View.random(rng), rng, style=STYLES[sign.style])

    answers = []
    for device in ("ana", "ben", "cem"):
        before = len(await town.lookup("eva", sign.cell))
        reading, _ = await town.read(device, seen(), cell=sign.cell)
        visits.early += _was_recalled(reading) + before
        answers.append((text_key(reading.text), text_key(reading.translation)))
    if len(set(answers)) != 1 or not answers[0][1].strip("|"):
        return  # they did not read it alike: nothing may be shared, and nothing is
    if not await _counted(town, sign.cell):
        return  # not sure enough to be learnt
    visits.shared += 1
    reading, _ = await town.read("eva", seen(), cell=sign.cell)
    if _was_recalled(reading):
        visits.by_picture += 1
        visits.wrong += (text_key(reading.text), text_key(reading.translation)) != answers[0]
    reading, _ = await town.read("fay", seen(), cell=sign.cell, text=_misread(sign.lines[0], rng))
    if _was_recalled(reading):
        visits.by_text += 1
        visits.wrong += (text_key(reading.text), text_key(reading.translation)) != answers[0]
    anew, recalled = [], []
    for _ in range(REPEATS):
        strip = seen()
        one, milliseconds = await town.read("gil", strip, cell=None, text=sign.lines[0])
        anew.append(milliseconds)
        other, again = await town.read("gil", strip, cell=sign.cell, text=sign.lines[0])
        if _was_recalled(other) and not _was_recalled(one):
            recalled.append(again)
    if recalled:
        visits.anew_ms.append(statistics.median(anew))
        visits.recalled_ms.append(statistics.median(recalled))


async def _counted(town: Town, cell: str) -> bool:
    """Whether the third answer is counted soon."""
    end = time.monotonic() + LEARN_S
    while time.monotonic() < end:
        if await town.lookup("eva", cell):
            return True
        await asyncio.sleep(0.02)
    return False


def _misread(text: str, rng: np.random.Generator) -> str:
    """A text with one letter read as another, its numbers left alone."""
    letters = [index for index, character in enumerate(text) if character.isalpha()]
    place = letters[int(rng.integers(len(letters)))]
    wrong = "rnmtlfoc"[int(rng.integers(8))]
    return text[:place] + (wrong if text[place] != wrong else "x") + text[place + 1 :]


def _was_recalled(reading: types_pb2.Reading) -> bool:
    return any(stage.stage == RECALLED for stage in reading.stage_times)


def _findings(visits: Visits) -> list[Finding]:
    note = f"{visits.signs} rendered signs, each seen anew by every device, up to 45 degrees aside"
    rows = [
        Finding(
            "signs that three devices read alike and surely, and that are then shared",
            float(visits.shared),
            note=f"of {visits.signs}; the others are read anew",
        ),
        Finding(
            "recalls or look-ups answered below k = 3 devices",
            float(visits.early),
            target="0",
            met=visits.early == 0,
            note=note,
        ),
        Finding(
            "recalls that say something else than was shared", float(visits.wrong), target="0", met=not visits.wrong
        ),
    ]
    if visits.shared:
        rows += [
            Finding(
                "shared signs recalled by a fourth device that read nothing, by the picture alone",
                visits.by_picture / visits.shared,
                "share",
                note="from another angle; numbers and single letters are never recalled so",
            ),
            Finding(
                "shared signs recalled by a fifth device that read one letter wrong",
                visits.by_text / visits.shared,
                "share",
                note="texts of less than eight letters must be exact, or look alike",
            ),
        ]
    if visits.recalled_ms:
        ratios = [old / new for old, new in zip(visits.anew_ms, visits.recalled_ms, strict=True)]
        rows += [
            Finding("ReadStrip recalled, p50", statistics.median(visits.recalled_ms), "ms", note="one call at a time"),
            Finding("ReadStrip read anew, p50", statistics.median(visits.anew_ms), "ms", note="the same strips"),
            Finding(
                "reading anew against recalling, time of one call",
                statistics.median(ratios),
                "ratio",
                note=f"median over {len(ratios)} signs, {REPEATS} interleaved calls each way",
            ),
        ]
    return rows


async def _poison(town: Town) -> list[Finding]:
    """Honest and lying devices at signs of their own; who wins, by the share of the liars."""
    rows = []
    worst = 0
    for kind in ("another translation of the same text", "another text under the same picture"):
        for share in POISON_SHARES:
            liars = POISON_DEVICES * share // 100
            cell = cell_at(10.0 + share, 20.0 if kind.endswith("text") else 30.0)
            for number in range(POISON_DEVICES):
                lies = number < liars
                await town.contribute(f"device-{number}", _claim(cell, lies=lies, same_text=kind.endswith("same text")))
            told = await town.lookup("victim", cell)
            winners = {sign.translation for sign in told}
            # Under a picture, what a phone that read nothing would be told counts.
            shown = [sign for sign in told if sign.HasField("picture_hash")]
            poisoned = "Free beer" in winners and kind.endswith("same text") and liars * 2 <= POISON_DEVICES
            poisoned |= any(sign.translation == "Free beer" for sign in shown) and liars * 2 <= POISON_DEVICES
            worst += poisoned
            trust = max((sign.trust for sign in told if sign.translation == "Emergency exit"), default=None)
            winner = "nobody" if not told else " and ".join(sorted(winners))
            pictures = "" if kind.endswith("same text") else f"; by picture alone: {_by_picture(shown)}"
            rows.append(
                Finding(
                    f"{kind}, {share} % of {POISON_DEVICES} devices lie: trust in the truth",
                    None if trust is None else float(trust),
                    "probability",
                    note=f"shared: {winner}{pictures}",
                )
            )
    rows.append(
        Finding(
            "poisoned readings that win against at least as many honest ones",
            float(worst),
            target="0",
            met=worst == 0,
            note=f"{2 * len(POISON_SHARES)} signs, through Contribute and Lookup",
        )
    )
    return rows


def _by_picture(shown: Sequence[places_pb2.PlaceSign]) -> str:
    return " and ".join(sorted(sign.translation for sign in shown)) or "nobody"


def _claim(cell: str, *, lies: bool, same_text: bool) -> places_pb2.PlaceSign:
    truth = "Saída de emergência"
    return places_pb2.PlaceSign(
        cell=cell,
        text=truth if same_text or not lies else "Cerveja grátis para todos",
        translation="Free beer" if lies else "Emergency exit",
        direction=types_pb2.Direction(source="pt", target="en"),
        picture_hash=0x0123_4567_89AB_CDEF,
        confidence=1.0,
    )
