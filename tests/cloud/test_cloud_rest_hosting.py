"""The REST twin as the service hosts it: the settings, the front's rules, and the handlers of gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from front_world import bearer, public_key, token
from test_cloud_service import PACK

from cloud.front.stack import Front, front
from cloud.reading.readers import SignReading
from cloud.reading.service import ReaderService
from cloud.reading.validation import ReadJob, TextJob
from cloud.rest.hosting import start_rest
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import UsageError
from shared.events import EventLog
from shared.models.calibration import Calibration
from shared.models.sign_translation import SignTranslation, TranslationEngine

ASKED = {"target": "en", "lines": ["Saída"]}


def reader(job: ReadJob) -> SignReading:
    raise NotImplementedError


def translator(job: TextJob) -> SignTranslation:
    return SignTranslation("Exit", TranslationEngine.PHRASEBOOK, source="pt", pack_name="phrasebook")


@dataclass
class World:
    """A running twin."""

    front: Front
    client: httpx.AsyncClient
    said: list[str]
    warned: list[str]


@asynccontextmanager
async def hosted(tmp_path: Path, **overrides: object) -> AsyncIterator[World]:
    clock = SystemClock()
    fields = {"workers": 1, "rest_listen": "127.0.0.1:0", "rest_port_file": tmp_path / "port", "grace_s": 0.0}
    settings = CloudSettings.load(None, **{**fields, **overrides})
    said: list[str] = []
    warned: list[str] = []
    async with front(settings, clock, warn=warned.append) as built:
        service = ReaderService(
            [reader],
            translators=[translator],
            seconds_per_line=0.01,
            targets=frozenset({"en"}),
            recognition_pack=PACK,
            calibration=Calibration.builtin(),
            settings=settings,
            clock=clock,
            events=EventLog(None, tier="cloud", clock=clock),
        )
        twin = await start_rest(settings, service, built, clock, say=said.append, warn=warned.append)
        port = (tmp_path / "port").read_text().strip() if settings.rest_listen is not None else "9"
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                yield World(built, client, said, warned)
        finally:
            await twin.drain()
            await service.close()
    assert not (tmp_path / "port").exists()


async def test_rest_and_grpc_share_handlers_and_metrics(tmp_path: Path) -> None:
    async with hosted(tmp_path) as there:
        answer = await there.client.post("/v1/translate", json=ASKED)
        assert (answer.status_code, answer.json()["translation"]) == (200, "Exit")
        refused = await there.client.post("/v1/translate", json=ASKED | {"target": "xx"})
        assert (refused.status_code, refused.json()["reason"]) == (422, "target_unsupported")
        page = there.front.metrics.page().decode()
    assert 'wayword_calls_total{method="REST Translate",status="ok"} 1.0' in page
    assert 'wayword_calls_total{method="REST Translate",status="unimplemented"} 1.0' in page
    assert there.said[0].startswith("REST twin listening on 127.0.0.1:")


async def test_tokens_count_for_rest_as_they_do_for_grpc(tmp_path: Path) -> None:
    async with hosted(tmp_path, token_keys=public_key(tmp_path)) as there:
        for word, status in ((None, 401), (token(aud="another"), 401), (token(scope="packs"), 403), (token(), 200)):
            headers = dict([bearer(word)]) if word else {}
            assert (await there.client.post("/v1/translate", json=ASKED, headers=headers)).status_code == status
        assert (await there.client.get("/readyz")).status_code == 200


async def test_a_devices_share_counts_for_rest_too(tmp_path: Path) -> None:
    share = {"quota_calls_per_s": 0.001, "quota_burst_calls": 1.0, "token_keys": public_key(tmp_path)}
    async with hosted(tmp_path, **share) as there:
        headers = dict([bearer(token())])
        first = await there.client.post("/v1/translate", json=ASKED, headers=headers)
        second = await there.client.post("/v1/translate", json=ASKED, headers=headers)
    assert (first.status_code, second.status_code) == (200, 429)
    assert int(second.headers["retry-after"]) > 1


async def test_the_twin_is_off_unless_asked_for(tmp_path: Path) -> None:
    async with hosted(tmp_path, rest_listen=None) as there:
        assert there.said == []


async def test_tokens_are_not_taken_in_plain_text_from_the_network(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without encryption"):
        async with hosted(tmp_path, rest_listen="0.0.0.0:0", token_keys=public_key(tmp_path)):
            pass
    async with hosted(tmp_path, rest_listen="0.0.0.0:0") as there:
        assert "anybody" in there.warned[-1]
