"""Shared places as callers see them: the RPCs over a real socket, and the recall before a strip is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from places_kit import CELL, FAR_CELL, Calendar, reading, shared_places

from cloud.callers import Caller, Scope, called_by
from cloud.calls import RETRY_AFTER_KEY, Call
from cloud.places.recall import PlaceRecall
from cloud.places.service import PLACES_SERVICE, PlacesService
from cloud.places.sharing import SharedPlaces
from cloud.places.sqlite import SqlitePlaces
from cloud.refusals import Reason, Refusal
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import InputError
from shared.events import EventLog
from shared.messages.wayword.v1 import cloud_pb2, places_pb2, places_pb2_grpc, types_pb2
from shared.places.cells import around
from shared.places.messages import reading_message
from shared.places.pictures import strip_hash
from simulations.place_views import View, strip_of

FRONT, SIDE = View(noise=2.0), View(yaw_deg=20.0, distance=2.5, noise=4.0)
SIGN = ("Saída de emergência",)
STRIP = strip_of(SIGN, FRONT, np.random.default_rng(1), frame_id=7, region_id=3)


class AsDevice(grpc.aio.ServerInterceptor):
    """Believes what a caller says it is; the real front checks tokens."""

    async def intercept_service(self, continuation: Callable[..., Awaitable[Any]], details: Any) -> Any:
        handler = await continuation(details)
        device = dict(details.invocation_metadata).get("device", "")

        async def behave(request: Any, context: Any) -> Any:
            with called_by(Caller(device)):
                return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(behave, response_serializer=handler.response_serializer)


@asynccontextmanager
async def serving(folder: Path, **caps: int) -> AsyncIterator[places_pb2_grpc.PlacesAsyncStub]:
    places = shared_places(SqlitePlaces(folder / "places.sqlite3"), folder, Calendar(), **caps)
    clock = SystemClock()
    service = PlacesService(places, clock=clock, events=EventLog(None, tier="cloud", clock=clock), default_deadline_s=5)
    server = CloudServer(
        [service], CloudSettings.load(None, listen="127.0.0.1:0", grace_s=0.1), interceptors=[AsDevice()]
    )
    _, port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield places_pb2_grpc.PlacesStub(channel)
    await server.drain()


def contribution(*changed: dict[str, object]) -> places_pb2.ContributeRequest:
    return places_pb2.ContributeRequest(signs=[reading_message(reading(**changes)) for changes in changed])  # type: ignore[arg-type]


async def test_what_three_devices_contribute_a_fourth_looks_up_and_one_withdraws(tmp_path: Path) -> None:
    async with serving(tmp_path) as stub:
        lookup = places_pb2.LookupRequest(cells=around(CELL), target="en")
        for device in ("ana", "ben", "cem"):
            assert not (await stub.Lookup(lookup, metadata=[("device", "eva")])).signs
            reply = await stub.Contribute(contribution({}), metadata=[("device", device)])
            assert reply.accepted == 1
        (sign,) = (await stub.Lookup(lookup, metadata=[("device", "eva")])).signs
        assert (sign.text, sign.translation, sign.devices, sign.cell) == (
            "Saída de emergência",
            "Emergency exit",
            3,
            CELL,
        )
        assert sign.trust == pytest.approx(0.669, abs=1e-3)
        assert sign.engine == types_pb2.ENGINE_PHRASEBOOK
        assert (await stub.Forget(places_pb2.ForgetRequest(), metadata=[("device", "ben")])).forgotten == 1
        assert not (await stub.Lookup(lookup, metadata=[("device", "eva")])).signs


async def test_a_caller_without_a_name_contributes_and_forgets_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as stub:
        for _ in range(4):
            assert (await stub.Contribute(contribution({}))).accepted == 0
        assert not (await stub.Lookup(places_pb2.LookupRequest(cells=[CELL], target="en"))).signs
        assert (await stub.Forget(places_pb2.ForgetRequest())).forgotten == 0


async def test_private_texts_are_left_out_and_the_rest_is_taken(tmp_path: Path) -> None:
    async with serving(tmp_path) as stub:
        request = contribution({}, {"text": "Tel. 912 345 678"}, {"text": "Outra placa"})
        assert (await stub.Contribute(request, metadata=[("device", "ana")])).accepted == 2


@pytest.mark.parametrize(
    ("method", "request_", "status"),
    [
        ("Lookup", places_pb2.LookupRequest(cells=["nowhere"], target="en"), grpc.StatusCode.INVALID_ARGUMENT),
        ("Lookup", places_pb2.LookupRequest(cells=[CELL], target="english"), grpc.StatusCode.INVALID_ARGUMENT),
        ("Lookup", places_pb2.LookupRequest(cells=[CELL] * 29, target="en"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("Contribute", contribution({}, {"text": "a" * 600}), grpc.StatusCode.INVALID_ARGUMENT),
        ("Contribute", contribution(*[{}] * 33), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_what_breaks_the_contract_is_refused_and_nothing_of_it_taken(
    tmp_path: Path, method: str, request_: Any, status: grpc.StatusCode
) -> None:
    async with serving(tmp_path) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await getattr(stub, method)(request_, metadata=[("device", "ana")])
        assert failure.value.code() is status
        assert (await stub.Forget(places_pb2.ForgetRequest(), metadata=[("device", "ana")])).forgotten == 0


async def test_a_device_that_had_its_share_is_told_when_to_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path, device_a_day=2) as stub:
        request = contribution(*[{"text": text} for text in ("Padaria central", "Farmácia nova", "Talho do bairro")])
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.Contribute(request, metadata=[("device", "ana")])
        assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailing = dict(failure.value.trailing_metadata() or ())
        assert 0 < int(trailing[RETRY_AFTER_KEY]) <= 86_400_000


async def test_a_caller_without_the_right_is_refused(tmp_path: Path) -> None:
    places = shared_places(SqlitePlaces(tmp_path / "places.sqlite3"), tmp_path, Calendar())
    clock = SystemClock()
    service = PlacesService(places, clock=clock, events=EventLog(None, tier="cloud", clock=clock), default_deadline_s=5)
    call = Call(Caller("ana", scopes=frozenset({Scope.READ})), 0.0)
    for handler, message in (
        (service.lookup, places_pb2.LookupRequest(cells=[CELL], target="en")),
        (service.contribute, contribution({})),
        (service.forget, places_pb2.ForgetRequest()),
    ):
        with pytest.raises(Refusal) as refusal:
            await handler(message, call)  # type: ignore[operator]
        assert refusal.value.reason is Reason.FORBIDDEN
    assert service.name == PLACES_SERVICE
    await service.close()


# Before a strip is read ------------------------------------------------------------------------------


class Visit:
    """Visitors of one place."""

    def __init__(self, folder: Path) -> None:
        self.places: SharedPlaces = shared_places(SqlitePlaces(folder / "places.sqlite3"), folder, Calendar())
        self.hook = PlaceRecall(self.places, clock=SystemClock())

    async def reads(self, device: str, answer: types_pb2.Reading, strip: types_pb2.Strip = STRIP) -> None:
        await self.hook.learn(request_for(strip), answer, call(device))


def call(device: str = "eva", *scopes: Scope) -> Call:
    return Call(Caller(device, scopes=frozenset(scopes or Scope)), 1e9)


def request_for(
    strip: types_pb2.Strip, text: str = "", right: float = 0.2, cell: str | None = CELL
) -> cloud_pb2.ReadStripRequest:
    return cloud_pb2.ReadStripRequest(
        strip=strip,
        direction=types_pb2.Direction(target="en"),
        local_text=text,
        local_confidence=types_pb2.Confidence(recognition=right),
        place_cell=cell,
    )


def answer(text: str = SIGN[0], translation: str = "Emergency exit", right: float = 0.9) -> types_pb2.Reading:
    return types_pb2.Reading(
        text=text,
        translation=translation,
        direction=types_pb2.Direction(source="pt", target="en"),
        engine=types_pb2.ENGINE_TRANSLATOR,
        confidence=types_pb2.Confidence(recognition=right, translation=1.0),
    )


@pytest.fixture
async def visit(tmp_path: Path) -> AsyncIterator[Visit]:
    made = Visit(tmp_path)
    yield made
    await made.places.close()


async def test_the_next_visitor_gets_the_answer_the_first_ones_paid_for(visit: Visit) -> None:
    side = strip_of(SIGN, SIDE, np.random.default_rng(5), frame_id=7, region_id=3)
    for device in ("ana", "ben"):
        await visit.reads(device, answer())
    assert await visit.hook.recall(request_for(side), call()) is None, "two are not three"
    await visit.reads("cem", answer())
    found = await visit.hook.recall(request_for(side), call())
    assert found is not None
    assert (found.text, found.translation) == (SIGN[0], "Emergency exit")
    assert (found.frame_id, found.region_id) == (7, 3)
    assert [stage.stage for stage in found.stage_times] == ["place"]
    assert found.recognition_pack.name == found.translation_pack.name == "place"
    assert found.engine == types_pb2.ENGINE_TRANSLATOR
    assert 0.5 < found.confidence.recognition < 0.67, "the trust in three devices, less what the pictures differ"
    assert list(found.lines[0].quad.xy) == list(side.lines[0].quad.xy)


async def test_a_phone_that_is_surer_than_the_place_is_read_anew(visit: Visit) -> None:
    for device in ("ana", "ben", "cem"):
        await visit.reads(device, answer())
    sure = request_for(STRIP, text="Saída de emergéncla", right=0.95)
    assert await visit.hook.recall(sure, call()) is None
    unsure = request_for(STRIP, text="Saída de emergéncla", right=0.3)
    assert (await visit.hook.recall(unsure, call())) is not None


async def test_a_text_that_says_something_else_is_not_overruled_by_a_picture(visit: Visit) -> None:
    for device in ("ana", "ben", "cem"):
        await visit.reads(device, answer())
    assert await visit.hook.recall(request_for(STRIP, text="Entrada do museu", right=0.1), call()) is None


async def test_without_consent_or_without_the_right_nothing_is_recalled_or_learnt(visit: Visit) -> None:
    for device in ("ana", "ben", "cem"):
        await visit.hook.learn(request_for(STRIP, cell=None), answer(), call(device))
        await visit.hook.learn(request_for(STRIP), answer(), call(device, Scope.READ))
        await visit.hook.learn(request_for(STRIP), answer(), call(""))
    assert await visit.places.recall([CELL], "en") == []
    for device in ("ana", "ben", "cem"):
        await visit.reads(device, answer())
    assert await visit.hook.recall(request_for(STRIP, cell=None), call()) is None
    assert await visit.hook.recall(request_for(STRIP), call("eva", Scope.READ)) is None
    assert await visit.hook.recall(request_for(STRIP, cell=FAR_CELL), call()) is None
    assert await visit.hook.recall(request_for(STRIP), call()) is not None


async def test_unsure_empty_and_recalled_answers_are_not_learnt(visit: Visit) -> None:
    echo = answer()
    echo.stage_times.add(stage="place", milliseconds=1)
    torn = answer()
    torn.unreadable = types_pb2.UNREADABLE_DIRECTION
    for device in ("ana", "ben", "cem"):
        for unfit in (answer(right=0.3), answer(text=""), answer(translation=""), echo, torn):
            await visit.reads(device, unfit)
    assert await visit.places.recall([CELL], "en") == []


async def test_a_malformed_cell_is_an_error_and_a_broken_picture_is_none(visit: Visit) -> None:
    with pytest.raises(InputError, match="place cell"):
        await visit.hook.recall(request_for(STRIP, cell="somewhere"), call())
    broken = types_pb2.Strip(lines=[types_pb2.StripLine(image=b"no picture")])
    assert await visit.hook.recall(request_for(broken), call()) is None


async def test_a_poisoned_reading_of_the_same_picture_does_not_reach_the_next_visitor(visit: Visit) -> None:
    for device in ("ana", "ben", "cem", "dan", "eva"):
        await visit.reads(device, answer())
    lie = replace(
        reading("Cerveja grátis para todos", "Free beer"), picture_hash=strip_hash(STRIP), source="pt", confidence=1.0
    )
    for device in ("mal1", "mal2", "mal3", "mal4"):
        await visit.places.remember(lie, device=device)
        await visit.places.remember(replace(lie, text=SIGN[0]), device=f"also {device}")
    found = await visit.hook.recall(request_for(STRIP), call())
    assert found is None or found.translation == "Emergency exit"
    read = await visit.hook.recall(request_for(STRIP, text=SIGN[0], right=0.1), call())
    assert read is None or read.translation == "Emergency exit"
