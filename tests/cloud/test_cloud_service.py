"""The service over a real socket, with readers the test controls."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cloud.callers import ANYONE
from cloud.calls import STATUS, Call
from cloud.reading.readers import LineReading, SignReading
from cloud.reading.service import READER_SERVICE, ReaderService
from cloud.reading.validation import ReadJob
from cloud.refusals import Refusal
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.errors import PackUnsupported, StorageError, UsageError
from shared.events import EventLog
from shared.limits import MAX_RPC_BYTES
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc, types_pb2
from shared.models.calibration import Calibration
from shared.models.packs import InstalledPack, PackManifest, Task
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck
from shared.models.sign_translation import SignTranslation, TranslationEngine

PACK = InstalledPack(
    PackManifest(
        name="ocr-small-rec",
        version="6.0",
        task=Task.RECOGNITION,
        languages=("pt",),
        direction=None,
        files=(),
        encoding_version=1,
        licence="Apache-2.0",
        source="a test",
        card={},
    ),
    Path("/nowhere"),
)
SQUARE = np.array([[0, 0], [90, 0], [90, 30], [0, 30]], np.float32)


class FakeReader:
    """A reader that answers when its gate is open; the secret stands for what is on the sign."""

    def __init__(self, *, failure: Exception | None = None) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.computed = 0
        self._failure = failure

    def __call__(self, job: ReadJob) -> SignReading:
        self.computed += 1
        self.entered.set()
        assert self.gate.wait(20), "the test never opened the gate"
        if self._failure is not None:
            raise self._failure
        recognition = Recognition("Saída", 0.99, 0.98, (0.99,) * 5)
        line = LineReading(SQUARE, recognition, ScriptCheck(Script.LATIN, 1.0, True), 0.9)
        translation = SignTranslation("Exit", TranslationEngine.PHRASEBOOK, source="pt", pack_name="phrasebook")
        return SignReading((line,), None, translation, 0, {"recognise": 1.5})


class Cloud:
    """A running service and a client of it."""

    def __init__(
        self, service: ReaderService, server: CloudServer, channel: grpc.aio.Channel, reader: FakeReader, address: str
    ) -> None:
        self.address = address
        self.service = service
        self.server = server
        self.channel = channel
        self.reader = reader
        self.stub = cloud_pb2_grpc.ReaderStub(channel)

    async def busy(self) -> asyncio.Task[cloud_pb2.ReadStripReply]:
        """Occupy the only worker."""
        call = asyncio.create_task(self.read(request("busy")))
        assert await asyncio.to_thread(self.reader.entered.wait, 10)
        return call

    async def read(self, message: cloud_pb2.ReadStripRequest, *, seconds: float = 20.0) -> cloud_pb2.ReadStripReply:
        return await self.stub.ReadStrip(message, timeout=seconds)


@asynccontextmanager
async def running(
    reader: FakeReader, *, events: Path | None = None, seconds_per_line: float = 0.1, **overrides: object
) -> AsyncIterator[Cloud]:
    clock = SystemClock()
    log = EventLog(events, tier="cloud", clock=clock)
    settings = CloudSettings.load(None, **{"listen": "127.0.0.1:0", **overrides})
    service = ReaderService(
        [reader],
        seconds_per_line=seconds_per_line,
        targets=frozenset({"en"}),
        recognition_pack=PACK,
        calibration=Calibration.builtin(),
        settings=settings,
        clock=clock,
        events=log,
    )
    server = CloudServer([service], settings)
    try:
        address = ":".join(map(str, await server.start()))
        async with grpc.aio.insecure_channel(address) as channel:
            yield Cloud(service, server, channel, reader, address)
    finally:
        reader.gate.set()
        await server.drain()
        log.close()


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader()


def request(key: str = "", *, lines: int = 1) -> cloud_pb2.ReadStripRequest:
    done, picture = cv2.imencode(".webp", np.full((40, 120, 3), 200, np.uint8))
    assert done
    line = types_pb2.StripLine(
        image=bytes(picture), quad=types_pb2.Quad(xy=SQUARE.reshape(-1).tolist()), detection_confidence=0.9
    )
    return cloud_pb2.ReadStripRequest(
        idempotency_key=key,
        strip=types_pb2.Strip(
            frame_id=7, region_id=3, encoding=types_pb2.IMAGE_ENCODING_WEBP, lines=[line] * lines, captured_us=1
        ),
        direction=types_pb2.Direction(source="pt", target="en"),
        local_text="Saida",
    )


async def refused(cloud: Cloud, message: cloud_pb2.ReadStripRequest, *, seconds: float = 20.0) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await cloud.read(message, seconds=seconds)
    return failure.value


async def test_an_answer_carries_everything_the_phone_needs(reader: FakeReader) -> None:
    reader.gate.set()
    async with running(reader) as cloud:
        reply = await cloud.read(request("key"))
    reading = reply.reading
    assert reply.idempotency_key == "key"
    assert (reading.frame_id, reading.region_id) == (7, 3)
    assert (reading.text, reading.translation) == ("Saída", "Exit")
    assert (reading.direction.source, reading.direction.target) == ("pt", "en")
    assert (reading.tier, reading.state) == (types_pb2.TIER_CLOUD, types_pb2.READING_STATE_REFINED)
    assert reading.engine == types_pb2.ENGINE_PHRASEBOOK
    assert (reading.recognition_pack.name, reading.recognition_pack.version) == ("ocr-small-rec", "6.0")
    assert reading.translation_pack.name == "phrasebook"
    assert reading.unreadable == types_pb2.UNREADABLE_UNSPECIFIED
    assert [stage.stage for stage in reading.stage_times] == ["queue", "recognise"]
    assert [list(line.quad.xy) for line in reading.lines] == [SQUARE.reshape(-1).tolist()]
    assert reading.confidence.detection == pytest.approx(0.9)
    assert 0 < reading.confidence.recognition <= 1
    assert not reading.confidence.HasField("language"), "the phone stated the language"


def spoil_picture(message: cloud_pb2.ReadStripRequest) -> None:
    message.strip.lines[0].image = b"RIFF and nothing else"


def spoil_direction(message: cloud_pb2.ReadStripRequest) -> None:
    message.direction.target = "English"


def spoil_target(message: cloud_pb2.ReadStripRequest) -> None:
    message.direction.target = "fi"


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda message: message.strip.ClearField("lines"), grpc.StatusCode.INVALID_ARGUMENT),
        (lambda message: message.ClearField("strip"), grpc.StatusCode.INVALID_ARGUMENT),
        (spoil_picture, grpc.StatusCode.INVALID_ARGUMENT),
        (spoil_direction, grpc.StatusCode.INVALID_ARGUMENT),
        (spoil_target, grpc.StatusCode.UNIMPLEMENTED),
        (lambda message: message.strip.lines.extend([message.strip.lines[0]] * 24), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
    ids=["no lines", "no strip", "no picture", "malformed direction", "unsupported target", "too many lines"],
)
async def test_bad_input_is_refused_by_its_code_and_never_computed(
    reader: FakeReader, spoil: Callable[[cloud_pb2.ReadStripRequest], object], status: grpc.StatusCode
) -> None:
    message = request()
    spoil(message)
    async with running(reader) as cloud:
        error = await refused(cloud, message)
    assert error.code() is status
    assert reader.computed == 0


async def test_bytes_that_are_no_message_are_refused_and_recorded(reader: FakeReader, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    reader.gate.set()
    async with running(reader, events=log) as cloud:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await cloud.channel.unary_unary("/wayword.v1.Reader/ReadStrip")(b"\xff" * 50, timeout=20)
        assert (await cloud.read(request())).reading.text
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [json.loads(line)["outcome"] for line in log.read_text().splitlines()] == ["malformed", "answered"]


async def test_an_oversize_message_is_refused(reader: FakeReader) -> None:
    message = request()
    message.strip.lines[0].image += b"\0" * MAX_RPC_BYTES
    async with running(reader) as cloud:
        error = await refused(cloud, message)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reader.computed == 0


async def test_a_call_whose_deadline_has_passed_is_not_computed(reader: FakeReader) -> None:
    # No client can time a call that is late when it reaches the handler, so the handler is called as gRPC would.
    async with running(reader) as cloud:
        with pytest.raises(Refusal) as refusal:
            await cloud.service.read_strip(request(), Call(ANYONE, SystemClock().monotonic()))
    assert STATUS[refusal.value.reason] is grpc.StatusCode.DEADLINE_EXCEEDED
    assert reader.computed == 0


async def test_a_call_that_states_no_deadline_gets_the_service_s_own(reader: FakeReader) -> None:
    async with running(reader, seconds_per_line=4.0, default_deadline_s=5.0) as cloud:
        call = await cloud.busy()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await cloud.stub.ReadStrip(request("patient"))
        reader.gate.set()
        await call
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_overloaded_service_says_at_once_when_to_come_back(reader: FakeReader) -> None:
    async with running(reader, seconds_per_line=100.0) as cloud:
        call = await cloud.busy()
        error = await refused(cloud, request("late"), seconds=5.0)
        reader.gate.set()
        await call
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    metadata = dict(error.trailing_metadata() or ())
    assert 50_000 < int(metadata["retry-after-ms"]) <= 100_000
    assert reader.computed == 1


async def test_a_full_queue_is_overload(reader: FakeReader) -> None:
    async with running(reader, max_waiting=0) as cloud:
        call = await cloud.busy()
        error = await refused(cloud, request("late"))
        reader.gate.set()
        await call
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "retry-after-ms" in dict(error.trailing_metadata() or ())


async def test_a_call_cancelled_while_it_waits_is_not_computed(reader: FakeReader, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    async with running(reader, events=log) as cloud:
        first = await cloud.busy()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await cloud.read(request("impatient"), seconds=0.3)
        assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # The client knows before the service does, which on a busy machine takes its time.
        async with asyncio.timeout(20):
            while not any(event["outcome"] == "cancelled" for event in read_events(log)):
                await SystemClock().sleep(0.01)
        reader.gate.set()
        await first
        await cloud.read(request("after"))
    assert reader.computed == 2
    assert [event["outcome"] for event in read_events(log)] == ["cancelled", "answered", "answered"]


async def test_the_same_key_is_computed_once(reader: FakeReader) -> None:
    reader.gate.set()
    async with running(reader) as cloud:
        one = await cloud.read(request("same"))
        other = await cloud.read(request("same"))
    assert one == other
    assert reader.computed == 1


async def test_two_calls_with_one_key_share_a_computation(reader: FakeReader) -> None:
    async with running(reader) as cloud:
        first = await cloud.busy()
        second = asyncio.create_task(cloud.read(request("busy")))
        reader.gate.set()
        assert await first == await second
    assert reader.computed == 1


async def test_a_key_shared_by_two_questions_reveals_nothing(reader: FakeReader) -> None:
    reader.gate.set()
    async with running(reader) as cloud:
        await cloud.read(request("same"))
        other = request("same")
        other.strip.region_id = 99
        assert (await cloud.read(other)).reading.region_id == 99
    assert reader.computed == 2


async def test_without_a_key_every_call_is_computed(reader: FakeReader) -> None:
    reader.gate.set()
    async with running(reader) as cloud:
        await cloud.read(request())
        await cloud.read(request())
    assert reader.computed == 2


async def test_drain_finishes_what_is_in_flight_and_takes_nothing_new(reader: FakeReader) -> None:
    async with running(reader) as cloud:
        call = await cloud.busy()
        watch = health_pb2_grpc.HealthStub(cloud.channel).Watch(health_pb2.HealthCheckRequest(service=READER_SERVICE))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        draining = asyncio.create_task(cloud.server.drain())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        error = await refused(cloud, request("too late"), seconds=5.0)
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        reader.gate.set()
        assert (await call).reading.text == "Saída"
        await draining


async def test_drain_does_not_wait_beyond_the_grace(reader: FakeReader) -> None:
    async with running(reader, grace_s=0.0) as cloud:
        call = await cloud.busy()
        draining = asyncio.create_task(cloud.server.drain())
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        reader.gate.set()
        await draining


async def test_health(reader: FakeReader) -> None:
    async with running(reader) as cloud:
        stub = health_pb2_grpc.HealthStub(cloud.channel)
        for service in ("", READER_SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_the_service(reader: FakeReader) -> None:
    async with running(reader) as cloud:
        stub = reflection_pb2_grpc.ServerReflectionStub(cloud.channel)
        call = stub.ServerReflectionInfo(timeout=10)
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await call.done_writing()
        answer = await call.read()
    assert READER_SERVICE in {service.name for service in answer.list_services_response.service}


@pytest.mark.parametrize(
    ("failure", "details"),
    [
        (PackUnsupported("model x/model.onnx cannot run: no"), "model x/model.onnx cannot run: no"),
        (ValueError("secret text of a sign"), "the service failed on this call"),
    ],
    ids=["a model", "a defect"],
)
async def test_a_failing_reader_is_an_internal_error_without_content(
    failure: Exception, details: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = FakeReader(failure=failure)
    reader.gate.set()
    log = tmp_path / "events.jsonl"
    async with running(reader, events=log) as cloud:
        error = await refused(cloud, request())
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, details)
    assert [event["outcome"] for event in read_events(log)] == [type(failure).__name__]
    assert "secret" not in caplog.text + log.read_text()


async def test_events_hold_no_content(reader: FakeReader, tmp_path: Path) -> None:
    reader.gate.set()
    log = tmp_path / "events.jsonl"
    async with running(reader, events=log) as cloud:
        await cloud.read(request("key", lines=2))
        message = request()
        message.strip.lines[0].image = b""
        await refused(cloud, message)
    answered, undecodable = read_events(log)
    assert (answered["event"], answered["lines"], answered["outcome"]) == ("read", 2, "answered")
    assert float(str(answered["ms"])) > 0
    assert undecodable["outcome"] == "undecodable"
    assert not {"Saída", "Saida", "Exit", "key"} & set(log.read_text().replace('"', " ").split())


async def test_with_a_certificate_the_port_speaks_tls(reader: FakeReader, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    async with running(reader, tls_certificate=certificate, tls_key=key) as cloud:
        credentials = grpc.ssl_channel_credentials(certificate.read_bytes())
        async with grpc.aio.secure_channel(cloud.address, credentials) as channel:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_certificate_that_cannot_be_read_is_an_error(reader: FakeReader, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"key\.pem"):
        async with running(reader, tls_certificate=tmp_path / "certificate.pem", tls_key=tmp_path / "key.pem"):
            pytest.fail("it serves without its key")


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wayword test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def test_a_port_in_use_is_an_error(reader: FakeReader) -> None:
    async with running(reader) as cloud:
        with pytest.raises(UsageError, match="cannot listen"):
            async with running(FakeReader(), listen=cloud.address):
                pytest.fail("two services share a port")


def read_events(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines()]
