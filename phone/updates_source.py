"""Where the phone's updates come from: a folder, an https server, or the cloud it talks to anyway."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import TimeoutError as NotInTime
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc

from phone.cloud_channel import CloudChannel
from phone.cloud_credentials import CloudCredentials
from phone.settings import PhoneSettings
from shared.clock import Clock
from shared.errors import CloudError, UpdateUnreachable, UsageError
from shared.messages.wayword.v1 import packs_pb2
from shared.updates.repositories import FolderRepository, HttpsRepository, NotThere, RangeRepository, Repository

FROM_CLOUD: Final = "cloud"
"""The word for it in the setting `updates`."""
_FETCH: Final = f"/{packs_pb2.DESCRIPTOR.services_by_name['Packs'].full_name}/Fetch"
_CALL_S: Final = 60.0
"""Longest wait for one range: 256 kB at 4 kB/s. A call that hangs is given up and made again."""
_CONNECT_S: Final = 10.0
_PAUSE_S: Final = 1.0
"""Before a call after one that failed: a channel tries to connect again within two seconds."""
_LEEWAY_S: Final = 5.0
"""A call ends itself; this is for a loop that does not."""


def is_folder(text: str) -> bool:
    """Whether a setting `updates` names a folder: then no network is needed."""
    return text != FROM_CLOUD and "://" not in text


@contextmanager
def repository_of(text: str, settings: PhoneSettings, *, clock: Clock) -> Iterator[Repository]:
    """The repository a user named. Use it outside of any event loop.

    Args:
        text: a folder, an https URL, or "cloud".
        settings: which cloud, and with which credentials.
        clock: of the deadlines.

    Raises:
        UsageError: it is none of these, or "cloud" without a cloud.
        StorageError: the cloud's credentials cannot be read.
    """
    if text == FROM_CLOUD:
        if settings.cloud is None:
            raise UsageError("updates come from the cloud, and no cloud is set", hint="Set cloud = HOST:PORT")
        with _CloudFetch(settings.cloud, cloud_credentials(settings), clock) as fetch:
            yield RangeRepository(fetch, clock=clock)
    elif is_folder(text):
        yield FolderRepository(Path(text).expanduser())
    else:
        yield HttpsRepository(text)


def cloud_credentials(settings: PhoneSettings) -> CloudCredentials:
    """What the phone shows its cloud."""
    return CloudCredentials(
        tls=settings.cloud_tls,
        certificate_authority=settings.cloud_certificate_authority,
        client_certificate=settings.cloud_client_certificate,
        client_key=settings.cloud_client_key,
        token_file=settings.cloud_token_file,
    )


class _CloudFetch:
    """`Packs.Fetch` over the phone's channel, for callers that wait; see `repositories.FetchRange`."""

    def __init__(self, address: str, credentials: CloudCredentials, clock: Clock) -> None:
        self._address = address
        self._credentials = credentials
        self._clock = clock
        self._failed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wayword-updates", daemon=True)

    def __enter__(self) -> _CloudFetch:
        self._thread.start()
        try:
            self._channel = asyncio.run_coroutine_threadsafe(self._connected(), self._loop).result()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._channel.close(), self._loop).result(_LEEWAY_S)
        finally:
            self._end()

    def __call__(self, path: str, offset: int, length: int, seconds: float) -> tuple[bytes, int]:
        seconds = min(seconds, _CALL_S)
        request = packs_pb2.FetchRequest(path=path, offset=offset, length=length)
        future = asyncio.run_coroutine_threadsafe(self._fetch(request, seconds), self._loop)
        try:
            reply = future.result(seconds + _LEEWAY_S)
        except CloudError as error:
            raise _typed(error) from error
        except NotInTime as error:
            future.cancel()
            raise UpdateUnreachable("the cloud did not answer in time") from error
        return reply.data, reply.total

    async def _connected(self) -> CloudChannel:
        return CloudChannel(self._address, clock=self._clock, credentials=self._credentials)

    async def _fetch(self, request: packs_pb2.FetchRequest, seconds: float) -> packs_pb2.FetchReply:
        started = self._clock.monotonic()
        if self._failed:
            await self._clock.sleep(min(_PAUSE_S, seconds))  # a cloud that has just gone is not back at once
        self._failed = True
        await self._channel.connect(started + min(seconds, _CONNECT_S), method=_FETCH)
        left = max(started + seconds - self._clock.monotonic(), 0.0)
        reply = await self._channel.call(_FETCH, request, packs_pb2.FetchReply, timeout=left)
        self._failed = False
        return reply

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _typed(error: CloudError) -> UpdateUnreachable:
    cause = error.__cause__
    status = cause.code() if isinstance(cause, grpc.aio.AioRpcError) else None
    if status is grpc.StatusCode.NOT_FOUND:
        return NotThere(error.message)
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return UpdateUnreachable("this cloud publishes no packs", hint="Its setting is packs_repository")
    return UpdateUnreachable(error.message, hint=error.hint)
