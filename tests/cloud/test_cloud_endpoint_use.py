"""Where the endpoint is asked, what of an answer it may change, and how an operator sets it up."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from cloud.endpoint.checks import doubt_of_translations
from cloud.endpoint.hosting import open_endpoint
from cloud.endpoint.mode import Mode
from cloud.endpoint.model import LineAnswer, _picture
from cloud.endpoint.use import ASK_BELOW, BELIEVED, EndpointUse
from cloud.front.metrics import CloudMetrics
from cloud.plans import ReadPlan
from cloud.reading.validation import LineJob, ReadJob, TextJob
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import StorageError, UsageError
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from simulations.bench.sign_phrases import LANGUAGES, Half, load

QUAD = np.array([[0, 0], [90, 0], [90, 30], [0, 30]], np.float32)
INNER = np.array([[20, 10], [119, 10], [119, 39], [20, 39]], np.float32)
NO_ENDPOINT = ReadPlan(endpoint=False)


@dataclass
class FakeEndpoint:
    """Answers what it is told to, and remembers what it was asked."""

    mode: Mode = Mode.TEXT
    translations: tuple[str, ...] | None = ("Beware of the dog",)
    reading: tuple[LineAnswer, ...] | None = None
    failure: Exception | None = None
    texts: list[Sequence[str]] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)

    async def translate(self, lines: Sequence[str], **rest: Any) -> tuple[str, ...] | None:
        self.texts.append(lines)
        if self.failure is not None:
            raise self.failure
        return self.translations

    async def read(self, pictures: Sequence[bytes], **rest: Any) -> tuple[LineAnswer, ...] | None:
        self.pictures += pictures
        return self.reading


def use_of(endpoint: FakeEndpoint) -> EndpointUse:
    return EndpointUse(endpoint, model="a-model", clock=SystemClock())  # type: ignore[arg-type]


def reply_of(engine: int, confidence: float | None = None, unreadable: int = 0) -> cloud_pb2.TranslateReply:
    reply = cloud_pb2.TranslateReply(
        translation="" if engine == types_pb2.ENGINE_NONE else "our own",
        direction=types_pb2.Direction(source="es", target="en"),
        engine=engine,  # type: ignore[arg-type]
        unreadable=unreadable,  # type: ignore[arg-type]
    )
    if confidence is not None:
        reply.confidence.translation = confidence
    return reply


TEXT_JOB = TextJob(("Cuidado con el perro",), source="es", target="en")
AT_A_LOSS = [
    reply_of(types_pb2.ENGINE_NONE, unreadable=types_pb2.UNREADABLE_DIRECTION),
    reply_of(types_pb2.ENGINE_NONE, unreadable=types_pb2.UNREADABLE_LANGUAGE_UNKNOWN),
    reply_of(types_pb2.ENGINE_TRANSLATOR, ASK_BELOW - 0.01),
    reply_of(types_pb2.ENGINE_MIXED, 0.9, types_pb2.UNREADABLE_DIRECTION),
]
SURE = [
    reply_of(types_pb2.ENGINE_TRANSLATOR, ASK_BELOW),
    reply_of(types_pb2.ENGINE_PHRASEBOOK, 0.1),
    reply_of(types_pb2.ENGINE_COPY),
    reply_of(types_pb2.ENGINE_NONE, unreadable=types_pb2.UNREADABLE_NO_TEXT),
]


@pytest.mark.parametrize("reply", AT_A_LOSS)
async def test_where_our_own_are_at_a_loss_the_endpoint_translates(reply: cloud_pb2.TranslateReply) -> None:
    answer = cloud_pb2.TranslateReply.FromString(reply.SerializeToString())
    await use_of(FakeEndpoint()).improve_translation(answer, TEXT_JOB)
    assert answer.translation == "Beware of the dog"
    assert answer.engine == types_pb2.ENGINE_TRANSLATOR
    assert (answer.translation_pack.name, answer.translation_pack.version) == ("endpoint", "a-model")
    assert answer.confidence.translation == pytest.approx(BELIEVED)
    assert not answer.unreadable
    assert [item.stage for item in answer.stage_times] == ["endpoint"]


@pytest.mark.parametrize("reply", SURE)
async def test_where_our_own_answer_is_good_nothing_goes_out(reply: cloud_pb2.TranslateReply) -> None:
    endpoint = FakeEndpoint()
    before = reply.SerializeToString()
    await use_of(endpoint).improve_translation(reply, TEXT_JOB)
    assert endpoint.texts == []
    assert reply.SerializeToString() == before


@pytest.mark.parametrize(
    ("endpoint", "job"),
    [
        (FakeEndpoint(translations=None), TEXT_JOB),
        (FakeEndpoint(failure=RuntimeError("a surprise")), TEXT_JOB),
        (FakeEndpoint(), replace(TEXT_JOB, plan=NO_ENDPOINT)),
    ],
)
async def test_our_own_answer_stays(endpoint: FakeEndpoint, job: TextJob) -> None:
    reply = reply_of(types_pb2.ENGINE_TRANSLATOR, 0.1)
    before = reply.SerializeToString()
    await use_of(endpoint).improve_translation(reply, job)
    assert reply.SerializeToString() == before


# Pictures -------------------------------------------------------------------------------------------


def strip_line() -> LineJob:
    """A white line of 100x30 pixels in a black margin."""
    picture = np.zeros((50, 140, 3), np.uint8)
    picture[10:40, 20:120] = 255
    _, encoded = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, 101])
    return LineJob(encoded.tobytes(), QUAD, INNER, 0.9)


def strip_job(**fields: Any) -> ReadJob:
    job = ReadJob((strip_line(),), types_pb2.IMAGE_ENCODING_WEBP, is_frame=False, source=None, target="en")
    return replace(job, deadline=math.inf, **fields)


def unread(unreadable: int = types_pb2.UNREADABLE_SCRIPT) -> types_pb2.Reading:
    return types_pb2.Reading(
        direction=types_pb2.Direction(target="en"),
        engine=types_pb2.ENGINE_NONE,
        unreadable=unreadable,  # type: ignore[arg-type]
    )


def unsure(text: str) -> types_pb2.Reading:
    return types_pb2.Reading(
        text=text,
        translation="our own",
        direction=types_pb2.Direction(source="pt", target="en"),
        engine=types_pb2.ENGINE_PHRASEBOOK,
        confidence=types_pb2.Confidence(recognition=0.2, script=1.0),
        lines=[types_pb2.ReadLine(text=text)],
    )


def vision(text: str, translation: str) -> FakeEndpoint:
    return FakeEndpoint(Mode.VISION, reading=(LineAnswer(text, translation),))


async def test_a_script_that_nothing_here_reads_is_read_from_the_line_alone() -> None:
    endpoint, reading = vision("สวัสดีครับ", "Hello"), unread()
    await use_of(endpoint).improve_reading(reading, strip_job())
    assert (reading.text, reading.translation) == ("สวัสดีครับ", "Hello")
    assert (reading.recognition_pack.name, reading.recognition_pack.version) == ("endpoint", "a-model")
    assert reading.confidence.recognition == pytest.approx(BELIEVED)
    assert list(reading.lines[0].quad.xy) == QUAD.reshape(-1).tolist()
    assert not reading.unreadable
    (sent,) = endpoint.pictures
    seen = cv2.imdecode(np.frombuffer(sent, np.uint8), cv2.IMREAD_COLOR)
    # The line and nothing of the margin, in which a neighbour may be seen.
    assert seen.shape[:2] == pytest.approx((30, 100), abs=1)
    assert seen.min() > 200


async def test_a_frame_never_leaves() -> None:
    endpoint, reading = vision("Saída", "Exit"), unread()
    await use_of(endpoint).improve_reading(reading, strip_job(is_frame=True))
    assert endpoint.pictures == []
    assert reading == unread()


async def test_a_text_endpoint_gets_no_pictures_and_a_plan_may_forbid_them() -> None:
    for endpoint, job in ((FakeEndpoint(), strip_job()), (vision("Saída", "Exit"), strip_job(plan=NO_ENDPOINT))):
        reading = unread()
        await use_of(endpoint).improve_reading(reading, job)
        assert endpoint.pictures == []
        assert reading == unread()


async def test_the_phrasebook_translates_what_the_endpoint_read() -> None:
    reading = unread()
    await use_of(vision("출구", "Way to leave")).improve_reading(reading, strip_job())
    assert reading.translation == "Exit"
    assert reading.engine == types_pb2.ENGINE_PHRASEBOOK
    assert reading.translation_pack.name == "phrasebook"


async def test_an_unsure_reading_is_replaced_only_by_one_like_it() -> None:
    other = unsure("SAIDA")
    await use_of(vision("Buy now", "Buy now")).improve_reading(other, strip_job())
    assert other == unsure("SAIDA")
    alike = unsure("SA1DA")
    await use_of(vision("Saída de emergência", "x")).improve_reading(alike, strip_job())
    assert alike == unsure("SA1DA")
    near = unsure("SAIDO")
    await use_of(vision("SAÍDA", "Way out")).improve_reading(near, strip_job(source="pt"))
    assert (near.text, near.translation) == ("SAÍDA", "Exit")


async def test_a_picture_that_does_not_decode_is_not_sent() -> None:
    endpoint = vision("Saída", "Exit")
    broken = replace(strip_line(), image=b"RIFF....WEBP")
    await use_of(endpoint).improve_reading(unread(), replace(strip_job(), lines=(broken,)))
    assert endpoint.pictures == []


# Believing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("Proibido estacionar das 8h às 20h", "No parking from 8 am to 8 pm"),
        ("出口", "Exit"),
        ("立入禁止", "No entry for unauthorised persons"),
        ("1.000 €", "1,000 €"),
        ("Tel. 555-1234", "Tel. 555-1234"),
        ("www.metro.pt", "www.metro.pt"),
        ("Escreva a ola@metro.pt", "Write to ola@metro.pt"),
        ("<- Saída", "<- Exit"),
    ],
)
def test_what_a_translator_would_say_is_believed(source: str, translation: str) -> None:
    assert doubt_of_translations([source], [translation], target="en") is None


@pytest.mark.parametrize(
    ("source", "translation"),
    [
        ("Escreva a ola@metro.pt", "Write to evil@metro.pt"),
        ("www.metro.pt", "www.metr0.pt"),
        ("Linha 4", "Line 5"),
        ("Linha 4", "Line 4, call 555123"),
        ("出口", "Exit. " * 20),
        ("Cuidado con el perro de la casa", "Vorsicht, hier wacht der bissige Hund des Hauses"),
    ],
)
def test_what_was_made_up_is_not_believed(source: str, translation: str) -> None:
    assert doubt_of_translations([source], [translation], target="en") is not None


def test_acceptable_translations_of_signs_are_hardly_ever_doubted() -> None:
    signs = [
        (phrase.source, phrase.answers[0])
        for language in LANGUAGES
        for phrase in load(language)
        if phrase.half is Half.DEV and "\n" not in phrase.source
    ]
    doubted = [sign for sign in signs if doubt_of_translations([sign[0]], [sign[1]], target="en") is not None]
    assert len(signs) > 200
    assert len(doubted) <= 0.01 * len(signs), doubted


# Setting up -----------------------------------------------------------------------------------------

PRICED = {"endpoint_model": "a-model", "endpoint_price_in": 0.15, "endpoint_price_out": 0.6}


def settings(tmp_path: Path, **fields: Any) -> CloudSettings:
    return CloudSettings(endpoint_costs=tmp_path / "costs.json", workers=1, **{**PRICED, **fields})


async def opened(tmp_path: Path, **fields: Any) -> EndpointUse | None:
    hosted = open_endpoint(settings(tmp_path, **fields), SystemClock(), CloudMetrics())
    await hosted.close()
    return hosted.use


async def test_without_an_address_there_is_no_endpoint(tmp_path: Path) -> None:
    assert await opened(tmp_path) is None
    assert await opened(tmp_path, endpoint_url="https://api.example/v1") is not None
    assert await opened(tmp_path, endpoint_url="http://127.0.0.1:8080/v1") is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"endpoint_url": "http://api.example/v1"},
        {"endpoint_url": "api.example/v1"},
        {"endpoint_url": "https://user:pass@api.example/v1"},
        {"endpoint_url": "https://api.example/v1?key=1"},
        {"endpoint_url": "https://api.example/v1", "endpoint_model": ""},
        {"endpoint_url": "https://api.example/v1", "endpoint_price_out": None},
        {"endpoint_url": "https://api.example/v1", "endpoint_key": "a", "endpoint_key_file": "b"},
        {"endpoint_url": "https://api.example/v1", "endpoint_key": "two words"},
        {"endpoint_url": "https://api.example/v1", "endpoint_key": "schlüssel"},
    ],
)
async def test_a_setting_that_cannot_be_meant_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        await opened(tmp_path, **fields)


async def test_the_key_is_read_from_a_file_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYWORD_CLOUD_ENDPOINT_KEY", "sk-secret")
    loaded = CloudSettings.load()
    assert loaded.endpoint_key is not None
    assert loaded.endpoint_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in loaded.as_toml() + repr(loaded) + str(loaded)
    monkeypatch.delenv("WAYWORD_CLOUD_ENDPOINT_KEY")
    key = tmp_path / "key"
    key.write_text("sk-file\n")
    assert await opened(tmp_path, endpoint_url="https://api.example/v1", endpoint_key_file=key) is not None
    for content in ("", "two words", "a\nb"):
        key.write_text(content)
        with pytest.raises(StorageError):
            await opened(tmp_path, endpoint_url="https://api.example/v1", endpoint_key_file=key)


def test_pictures_go_out_inside_the_message_and_not_by_address() -> None:
    part = _picture(b"\xff\xd8")
    assert part["image_url"]["url"] == f"data:image/jpeg;base64,{base64.b64encode(bytes([255, 216])).decode()}"
