"""The REST twin: the same handlers, problems instead of statuses, and bounds on what a stranger may send."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from cloud.callers import ANYONE, Caller, current_caller
from cloud.calls import STATUS, Call, Outcome
from cloud.front.identity import Admission, Shown
from cloud.refusals import Reason, Refusal
from cloud.rest.app import RestTwin
from cloud.rest.bodies import MAX_BODY_BYTES, MAX_PARTS, parts_of
from cloud.rest.calls import Admit, RestRules
from cloud.rest.problems import http_status, problem
from shared.clock import SystemClock
from shared.errors import PackUnsupported
from shared.messages.wayword.v1 import cloud_pb2, types_pb2

SECRET = "what is on the sign"
QUAD = [0.0, 0.0, 90.0, 0.0, 90.0, 30.0, 0.0, 30.0]
JPEG = b"\xff\xd8\xff\xe0 a picture"
LINE = {"quad": QUAD, "image": base64.b64encode(JPEG).decode()}
Answer = Callable[[], Awaitable[None]]


class FakeHandlers:
    """Remembers what it was asked, waits as the test says, and answers or raises."""

    def __init__(self, *, failure: Exception | None = None, before: Answer | None = None) -> None:
        self.requests: list[Any] = []
        self.calls: list[Call] = []
        self.left: list[float] = []
        self.callers: list[Caller] = []
        self.cancelled = 0
        self.failure = failure
        self._before = before

    async def _take(self, request: Any, call: Call) -> None:
        self.requests.append(request)
        self.calls.append(call)
        self.left.append(call.deadline - SystemClock().monotonic())
        self.callers.append(current_caller())
        try:
            if self._before is not None:
                await self._before()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply:
        await self._take(request, call)
        reading = types_pb2.Reading(
            text="Saída",
            translation="Exit",
            direction=types_pb2.Direction(source="pt", target="en"),
            engine=types_pb2.ENGINE_PHRASEBOOK,
            confidence=types_pb2.Confidence(recognition=0.5, translation=1.0),
            translation_pack=types_pb2.PackRef(name="phrasebook"),
            lines=[types_pb2.ReadLine(text="Saída", quad=types_pb2.Quad(xy=QUAD), recognition_confidence=0.5)],
            stage_times=[types_pb2.StageTime(stage="recognise", milliseconds=1.5)],
        )
        return cloud_pb2.ReadStripReply(reading=reading)

    async def translate(self, request: cloud_pb2.TranslateRequest, call: Call) -> cloud_pb2.TranslateReply:
        await self._take(request, call)
        return cloud_pb2.TranslateReply(
            direction=types_pb2.Direction(target="en"),
            engine=types_pb2.ENGINE_NONE,
            unreadable=types_pb2.UNREADABLE_LANGUAGE_UNKNOWN,
        )


class Client(httpx.AsyncClient):
    """A client of a twin without a socket between them."""

    def __init__(self, handlers: FakeHandlers, *, admit: Admit | None = None, **rules: Any) -> None:
        self.ends: list[tuple[str, str]] = []
        self.ready = True
        self.twin = RestTwin(
            handlers,
            clock=SystemClock(),
            admit=admit,
            rules=RestRules(**rules),
            is_ready=lambda: self.ready,
            on_end=lambda method, status, seconds: self.ends.append((method, status.name)),
        )
        super().__init__(transport=httpx.ASGITransport(self.twin.asgi), base_url="http://twin")


def asked(**fields: Any) -> dict[str, Any]:
    return {"target": "en", "lines": ["Saída"], **fields}


async def never() -> None:
    await asyncio.Event().wait()


async def test_a_translation_calls_the_handler_of_grpc() -> None:
    handlers = FakeHandlers()
    async with Client(handlers) as client:
        headers = {"Idempotency-Key": "k1", "X-Request-Id": "r-7"}
        answer = await client.post("/v1/translate", json=asked(source="pt"), headers=headers)
    assert answer.status_code == 200
    (request,) = handlers.requests
    assert (request.idempotency_key, list(request.lines)) == ("k1", ["Saída"])
    assert (request.direction.source, request.direction.target) == ("pt", "en")
    assert answer.json()["engine"] == "none"
    assert answer.json()["unreadable"] == "language_unknown"
    assert answer.json()["source"] is None
    assert answer.headers["x-request-id"] == "r-7"
    assert handlers.callers[0].request_id == "r-7"
    assert client.ends == [("Translate", "OK")]


async def test_lines_come_as_base64_or_as_parts_and_mean_the_same() -> None:
    handlers = FakeHandlers()
    fields = {"target": "en", "encoding": "jpeg", "local_text": "Saida"}
    async with Client(handlers) as client:
        first = await client.post("/v1/read", json={**fields, "lines": [LINE, LINE]})
        bare = {**fields, "lines": [{"quad": QUAD}, {"quad": QUAD}]}
        files = [("request", (None, json.dumps(bare))), ("line", ("a.jpg", JPEG)), ("line", ("b.jpg", JPEG))]
        second = await client.post("/v1/read", files=files)
    assert first.status_code == second.status_code == 200
    one, other = handlers.requests
    assert one == other
    assert [line.image for line in one.strip.lines] == [JPEG, JPEG]
    assert one.strip.encoding == types_pb2.IMAGE_ENCODING_JPEG
    assert not one.strip.is_frame
    answer = first.json()
    assert answer["lines"] == [{"text": "Saída", "quad": QUAD, "recognition_confidence": 0.5}]
    assert answer["confidence"] == {
        "detection": None, "recognition": 0.5, "script": None, "language": None, "translation": 1.0,
    }  # fmt: skip
    assert answer["translation_pack"] == {"name": "phrasebook", "version": ""}
    assert answer["stage_ms"] == {"recognise": 1.5}


@pytest.mark.parametrize(
    ("picture", "encoding"),
    [(JPEG, types_pb2.IMAGE_ENCODING_JPEG), (b"RIFF....WEBP", types_pb2.IMAGE_ENCODING_WEBP)],
)
async def test_a_picture_is_read_as_a_frame(picture: bytes, encoding: int) -> None:
    handlers = FakeHandlers()
    async with Client(handlers) as client:
        raw = await client.post(
            "/v1/picture?target=en&source=pt", content=picture, headers={"Content-Type": "image/jpeg"}
        )
        form = await client.post("/v1/picture?target=en&source=pt", files={"picture": picture})
    assert raw.status_code == form.status_code == 200
    one, other = handlers.requests
    assert one == other
    assert one.strip.is_frame
    assert one.strip.encoding == encoding
    assert one.strip.lines[0].image == picture


async def test_every_refusal_is_a_problem_document() -> None:
    handlers = FakeHandlers()
    async with Client(handlers) as client:
        for reason in Reason:
            handlers.failure = Refusal(reason, "not now", retry_after_s=0.12)
            answer = await client.post("/v1/translate", json=asked())
            assert answer.status_code >= 400
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["retry-after"] == "1"
            document = answer.json()
            assert document["status"] == answer.status_code
            assert (document["reason"], document["detail"]) == (reason.value, "not now")
            assert document["retry_after_ms"] == 120
    assert client.ends == [("Translate", STATUS[reason].name) for reason in Reason]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Reason.UNDECODABLE, 400),
        (Reason.UNAUTHENTICATED, 401),
        (Reason.FORBIDDEN, 403),
        (Reason.PICTURE_TOO_LARGE, 413),
        (Reason.TARGET_UNSUPPORTED, 422),
        (Reason.QUOTA, 429),
        (Reason.OVERLOADED, 503),
        (Reason.DRAINING, 503),
        (Reason.EXPIRED, 504),
    ],
)
def test_statuses_are_those_a_web_client_expects(reason: Reason, status: int) -> None:
    assert http_status(Outcome(reason.value, STATUS[reason], "")) == status


def test_who_is_not_known_is_told_how_to_say_so() -> None:
    answer = problem(Outcome(Reason.UNAUTHENTICATED, STATUS[Reason.UNAUTHENTICATED], "this needs a token"))
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_failing_model_is_500_and_a_strangers_exception_does_not_say_what_it_holds() -> None:
    for failure, detail in ((PackUnsupported("the pack is odd"), "the pack is odd"), (ValueError(SECRET), None)):
        async with Client(FakeHandlers(failure=failure)) as client:
            answer = await client.post("/v1/translate", json=asked())
        assert answer.status_code == 500
        assert SECRET not in answer.text
        assert detail is None or answer.json()["detail"] == detail


async def chunks(sent: list[int], count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        sent.append(number)
        yield b"x" * 65536


async def test_a_body_is_refused_as_soon_as_it_is_over_the_cap() -> None:
    handlers = FakeHandlers()
    sent: list[int] = []
    kind = {"Content-Type": "application/json"}
    async with Client(handlers) as client:
        stated = await client.post("/v1/translate", content=b"x" * (MAX_BODY_BYTES + 1), headers=kind)
        streamed = await client.post("/v1/translate", content=chunks(sent, 1000), headers=kind)
    assert stated.status_code == streamed.status_code == 413
    assert handlers.requests == []


class Uploading:
    """A server's side of a request whose body goes on for ever."""

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.taken = 0
        self.sent: list[dict[str, Any]] = []
        self.scope = {
            "type": "http", "method": "POST", "path": "/v1/translate", "raw_path": b"/v1/translate", "headers": headers,
            "query_string": b"", "root_path": "", "scheme": "http", "http_version": "1.1", "client": None,
        }  # fmt: skip

    async def receive(self) -> dict[str, Any]:
        self.taken += 65536
        return {"type": "http.request", "body": b"x" * 65536, "more_body": True}

    async def send(self, message: Any) -> None:
        self.sent.append({**message, "taken": self.taken})


async def test_the_answer_to_an_endless_body_is_sent_before_more_than_the_cap_was_read() -> None:
    upload = Uploading([(b"content-type", b"application/json")])
    await Client(FakeHandlers()).twin.asgi(upload.scope, upload.receive, upload.send)
    start = upload.sent[0]
    assert start["status"] == 413
    assert (b"connection", b"close") in start["headers"]
    assert start["taken"] <= MAX_BODY_BYTES + 65536
    assert not upload.sent[-1]["more_body"]
    assert upload.sent[-1]["taken"] < 6_000_000


WRONG: list[tuple[str, str, bytes, int]] = [
    ("/v1/translate", "text/plain", b"{}", 415),
    ("/v1/picture?target=en", "image/png", b"\x89PNG", 415),
    ("/v1/translate", "application/json", b"{", 400),
    ("/v1/translate", "application/json", b'{"target":"en","lines":[]}', 400),
    ("/v1/translate", "application/json", b'{"target":"en","lines":["a"],"what is on the sign":1}', 400),
    ("/v1/translate", "application/json", b'{"target":"what is on the sign","lines":["a"]}', 400),
    ("/v1/read", "application/json", b'{"target":"en","lines":[{"quad":[1]}]}', 400),
    ("/v1/read", "application/json", json.dumps({"target": "en", "lines": [{"quad": QUAD}]}).encode(), 400),
    ("/v1/read", "application/json", json.dumps({"target": "en", "lines": [LINE | {"image": "?"}]}).encode(), 400),
    ("/v1/read", "multipart/form-data", b"", 400),
    ("/v1/read", "multipart/form-data; boundary=b", b"--b\r\n\r\n--b--", 400),
    ("/v1/picture?target=en", "multipart/form-data; boundary=b", b"--b--", 400),
    ("/v1/picture", "image/jpeg", JPEG, 400),
]


async def test_a_wrong_request_is_told_what_is_wrong_and_not_what_it_said() -> None:
    handlers = FakeHandlers()
    async with Client(handlers) as client:
        for path, kind, body, status in WRONG:
            answer = await client.post(path, content=body, headers={"Content-Type": kind})
            assert answer.status_code == status, (body, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
            assert SECRET not in answer.text
    assert handlers.requests == []


async def test_parts_are_counted_and_a_line_without_its_picture_is_refused() -> None:
    request = (None, json.dumps({"target": "en", "lines": [{"quad": QUAD}, {"quad": QUAD}]}))
    async with Client(FakeHandlers()) as client:
        answer = await client.post("/v1/read", files=[("request", request), ("line", JPEG)])
    assert answer.status_code == 400
    body = b"--b\r\n" + b'content-disposition: form-data; name="line"\r\n\r\nx\r\n--b\r\n' * (MAX_PARTS + 1) + b"--b--"
    with pytest.raises(Refusal):
        parts_of(body, "multipart/form-data; boundary=b")


def test_a_part_may_hold_what_looks_like_a_boundary_but_for_the_line_break() -> None:
    picture = b"\xff\xd8--b\r\n-b--\r\n\r\n--c"
    body = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="--b"\r\n\r\n' + picture + b"\r\n--b--\r\n"
    (part,) = parts_of(body, 'multipart/form-data; boundary="b"')
    assert (part.name, part.content) == ("picture", picture)


async def test_the_deadline_is_the_callers_and_is_capped() -> None:
    handlers = FakeHandlers()
    async with Client(handlers, default_deadline_s=7.0) as client:
        for header in ({}, {"X-Timeout-Ms": "900"}, {"X-Timeout-Ms": "99999999"}):
            answer = await client.post("/v1/translate", json=asked(), headers=header)
            assert answer.status_code == 200
        wrong = await client.post("/v1/translate", json=asked(), headers={"X-Timeout-Ms": "soon"})
    assert handlers.left == pytest.approx([7.0, 0.9, 120.0], abs=0.5)
    assert wrong.status_code == 400


async def test_a_call_that_is_late_is_ended_and_its_computation_cancelled() -> None:
    handlers = FakeHandlers(before=never)
    async with Client(handlers) as client:
        answer = await client.post("/v1/translate", json=asked(), headers={"X-Timeout-Ms": "20"})
    assert answer.status_code == 504
    assert handlers.cancelled == 1
    assert client.ends == [("Translate", "DEADLINE_EXCEEDED")]


async def test_when_the_caller_goes_away_the_computation_is_cancelled() -> None:
    entered, gone = asyncio.Event(), asyncio.Event()

    async def before() -> None:
        entered.set()
        await never()

    handlers = FakeHandlers(before=before)
    client = Client(handlers)
    body = [{"type": "http.request", "body": json.dumps(asked()).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if body:
            return body.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    upload = Uploading([(b"content-type", b"application/json")])
    call = asyncio.create_task(client.twin.asgi(upload.scope, receive, upload.send))
    await entered.wait()
    gone.set()
    await call
    assert handlers.cancelled == 1
    assert client.ends == [("Translate", "CANCELLED")]


async def test_more_calls_than_allowed_are_refused_at_once() -> None:
    entered, gate = asyncio.Event(), asyncio.Event()

    async def before() -> None:
        entered.set()
        await gate.wait()

    async with Client(FakeHandlers(before=before), max_calls=1) as client:
        first = asyncio.create_task(client.post("/v1/translate", json=asked()))
        await entered.wait()
        second = await client.post("/v1/translate", json=asked())
        gate.set()
        assert (await first).status_code == 200
        third = await client.post("/v1/translate", json=asked())
    assert (second.status_code, second.json()["reason"]) == (503, "overloaded")
    assert "retry-after" in second.headers
    assert third.status_code == 200


async def dripping() -> AsyncIterator[bytes]:
    yield b"{"
    await never()


async def test_a_body_that_does_not_arrive_is_not_waited_for() -> None:
    async with Client(FakeHandlers(), body_seconds=0.02) as client:
        answer = await client.post("/v1/translate", content=dripping(), headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["reason"]) == (408, "slow_body")


class FakeGate:
    """Lets in who says "Bearer good", and keeps the account."""

    def __init__(self) -> None:
        self.charged: list[int] = []
        self.open = 0
        self.asked: list[tuple[str, Shown]] = []

    async def admit(self, method: str, shown: Shown) -> Admission:
        self.asked.append((method, shown))
        if shown.authorization != ("Bearer good",):
            raise Refusal(Reason.UNAUTHENTICATED, "this needs a token")
        self.open += 1
        return Admission(Caller("phone-1", ANYONE.scopes, shown.request_id), self)  # type: ignore[arg-type]

    def charge(self, count: int) -> None:
        self.charged.append(count)

    def leave(self) -> None:
        self.open -= 1


async def test_callers_are_let_in_by_the_gate_of_grpc() -> None:
    gate, handlers = FakeGate(), FakeHandlers()
    async with Client(handlers, admit=gate.admit) as client:
        stranger = await client.post("/v1/translate", json=asked())
        known = await client.post("/v1/translate", json=asked(), headers={"Authorization": "Bearer good"})
        health = await client.get("/healthz")
    assert stranger.status_code == 401
    assert known.status_code == health.status_code == 200
    method, shown = gate.asked[1]
    assert method == "/wayword.v1.Reader/Translate"
    assert shown.peer == "ipv4:127.0.0.1:123"
    assert handlers.callers[0].device == "phone-1"
    assert handlers.calls[0].caller is handlers.callers[0]
    assert gate.charged == [handlers.requests[0].ByteSize()]
    assert gate.open == 0


async def test_who_is_not_let_in_has_no_body_read() -> None:
    upload = Uploading([(b"content-type", b"application/json")])
    await Client(FakeHandlers(), admit=FakeGate().admit).twin.asgi(upload.scope, upload.receive, upload.send)
    assert (upload.sent[0]["status"], upload.sent[0]["taken"]) == (401, 0)


async def test_health_says_alive_and_readiness_says_whether_to_come() -> None:
    async with Client(FakeHandlers()) as client:
        assert (await client.get("/readyz")).status_code == 200
        client.ready = False
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_a_wrong_path_or_method_is_a_problem_too() -> None:
    async with Client(FakeHandlers()) as client:
        assert (await client.get("/v2/read")).status_code == 404
        answer = await client.get("/v1/read")
    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "POST"


async def test_browsers_may_not_guess_what_an_answer_is_nor_show_it_to_other_sites() -> None:
    async with Client(FakeHandlers()) as client:
        for path in ("/healthz", "/v2/read", "/docs", "/openapi.json"):
            answer = await client.get(path, headers={"Origin": "https://evil.example"})
            assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
            assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_the_page_for_people_needs_nothing_from_elsewhere() -> None:
    async with Client(FakeHandlers()) as client:
        page = await client.get("/docs")
        document = (await client.get("/openapi.json")).json()
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in page.text
    assert set(re.findall(r'(?:src|href)="([^#"][^"]*)"', page.text)) == {"openapi.json"}
    for path in ("/v1/read", "/v1/picture", "/v1/translate", "/healthz", "/readyz"):
        assert path in page.text
        assert path in document["paths"]


async def test_the_openapi_document_is_whole() -> None:
    async with Client(FakeHandlers()) as client:
        document = (await client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)):
        assert name in schemas, name
    undescribed = [
        f"{name}.{field}"
        for name in ("ReadIn", "LineIn", "TranslateIn", "ProblemOut")
        for field, about in schemas[name]["properties"].items()
        if not about.get("description") and not about.get("examples")
    ]
    assert undescribed == []
