"""The REST twin on a real socket: TLS, slow clients, draining."""

from __future__ import annotations

import asyncio
import datetime
import signal
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.front.certificates import household
from cloud.front.identity import Admission, Shown
from cloud.refusals import Reason, Refusal
from cloud.rest import server as rest_server
from cloud.rest.app import RestTwin
from cloud.rest.server import RestServer
from shared.clock import SystemClock
from shared.errors import StorageError, UsageError
from shared.messages.wayword.v1 import cloud_pb2

ASKED = b'{"target":"en","lines":["a"]}'


class GatedHandlers:
    """Translates when the test opens the gate."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, call: Any) -> cloud_pb2.ReadStripReply:
        raise NotImplementedError

    async def translate(self, request: cloud_pb2.TranslateRequest, call: Any) -> cloud_pb2.TranslateReply:
        self.entered.set()
        await self.gate.wait()
        return cloud_pb2.TranslateReply(translation="Exit", direction=request.direction)


def twin_of(handlers: GatedHandlers, **fields: Any) -> Callable[[Callable[[], bool]], RestTwin]:
    return lambda ready: RestTwin(handlers, clock=SystemClock(), is_ready=ready, **fields)


@asynccontextmanager
async def served(handlers: GatedHandlers, *, admit: Any = None, **fields: Any) -> AsyncIterator[tuple[RestServer, int]]:
    server = RestServer(twin_of(handlers, admit=admit), listen=("127.0.0.1", 0), clock=SystemClock(), **fields)
    _, port = await server.start()
    try:
        yield server, port
    finally:
        handlers.gate.set()
        await server.drain()


def post(client: httpx.AsyncClient, port: int, scheme: str = "http") -> asyncio.Task[httpx.Response]:
    call = client.post(
        f"{scheme}://127.0.0.1:{port}/v1/translate", content=ASKED, headers={"Content-Type": "application/json"}
    )
    return asyncio.create_task(call)


async def test_a_drain_lets_the_call_in_flight_end_and_takes_no_other() -> None:
    handlers = GatedHandlers()
    async with served(handlers) as (server, port), httpx.AsyncClient() as client:
        call = post(client, port)
        await handlers.entered.wait()
        draining = asyncio.create_task(server.drain())
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                break
            writer.close()
        assert not call.done()
        handlers.gate.set()
        assert (await call).json()["translation"] == "Exit"
        await draining
        await server.drain()  # may be called again


async def test_the_programs_signal_handlers_stay_its_own() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    async with served(GatedHandlers()):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


async def test_a_client_that_sends_its_head_too_slowly_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest_server, "HEAD_SECONDS", 0.05)
    async with served(GatedHandlers()) as (_, port):
        for head in (b"", b"POST /v1/translate HTTP/1.1\r\nX-Slow: a"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()


async def test_a_head_without_end_is_refused() -> None:
    async with served(GatedHandlers()) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 40_000)
        assert (await reader.read(64)).startswith(b"HTTP/1.1 400")
        writer.close()


async def test_an_oversized_upload_gets_its_answer_and_not_a_reset() -> None:
    async with served(GatedHandlers()) as (_, port), httpx.AsyncClient() as client:
        answer = await client.post(
            f"http://127.0.0.1:{port}/v1/translate",
            content=b"x" * 3_000_000,
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 413


async def test_more_connections_than_allowed_are_turned_away() -> None:
    handlers = GatedHandlers()
    async with served(handlers, max_connections=2) as (_, port), httpx.AsyncClient() as client:
        first = post(client, port)
        await handlers.entered.wait()
        assert (await post(client, port)).status_code == 503
        handlers.gate.set()
        assert (await first).status_code == 200


async def test_the_certificate_of_grpc_serves_and_a_clients_says_who_it_is(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    household(tmp_path, hosts=["127.0.0.1"], devices=["phone-1"], days=1, now=now)
    authority = tmp_path / "ca.pem"
    assert authority.is_file()
    seen: list[Shown] = []

    async def admit(method: str, shown: Shown) -> Admission:
        seen.append(shown)
        raise Refusal(Reason.FORBIDDEN, "for this test")

    certificate = (tmp_path / "server.pem", tmp_path / "server-key.pem")
    async with served(GatedHandlers(), admit=admit, certificate=certificate, client_authority=authority) as (_, port):
        trusting = ssl.create_default_context(cafile=str(authority))
        async with httpx.AsyncClient(verify=trusting) as client:
            with pytest.raises(httpx.HTTPError):
                await post(client, port, "https")
        trusting.load_cert_chain(tmp_path / "devices" / "phone-1.pem", tmp_path / "devices" / "phone-1-key.pem")
        async with httpx.AsyncClient(verify=trusting) as client:
            assert (await post(client, port, "https")).status_code == 403
    assert seen[0].certificate[0] == "phone-1"
    assert len(seen) == 1


async def test_what_cannot_be_served_is_said_in_one_line(tmp_path: Path) -> None:
    async with served(GatedHandlers()) as (_, port):
        other = RestServer(twin_of(GatedHandlers()), listen=("127.0.0.1", port), clock=SystemClock())
        with pytest.raises(UsageError, match="cannot listen"):
            await other.start()
    missing = (tmp_path / "none.pem", tmp_path / "none.key")
    with pytest.raises(StorageError, match="certificate"):
        RestServer(twin_of(GatedHandlers()), listen=("127.0.0.1", 0), clock=SystemClock(), certificate=missing)
