"""Downloading over https, going on where an earlier try stopped.

A half download is kept as ``<hash of the URL>.part`` beside the entity tag the server gave it; the next try asks for
the rest with ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and 14.2), so a file that changed starts anew.

Every wait ends: for a connection, for the next byte, and for the whole. The last is why this runs on asyncio inside: a
server that sends one byte of a header now and then never exceeds a limit of a single read.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import ssl
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

from shared.errors import PackCorrupt, PackSourceUnreachable
from shared.limits import MAX_PACK_DOWNLOAD_BYTES

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to reach the server."""
READ_TIMEOUT: Final = 20.0
"""Seconds without a byte."""
ATTEMPTS: Final = 3
"""Tries in one install; each goes on where the last one stopped."""
GRACE: Final = 60.0
"""Seconds any download may take, however small; they include connecting and all tries."""
SLOWEST_RATE: Final = 10_000.0
"""Bytes a second a download may come down to in the long run: 32 MB in an hour."""
LONGEST: Final = 3600.0
"""Seconds the largest download may take; the next install goes on from there."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_GONE: Final = frozenset({404, 410})


class FileNotServed(PackSourceUnreachable):
    """The server answers, but has no such file."""

    retryable = False


@dataclass(frozen=True)
class Answer:
    """A small document; `next_page` is the URL a Kinto server gives for the rest of a list, empty for none."""

    data: bytes
    next_page: str


def is_loopback(url: str) -> bool:
    """Whether a URL is of this machine, by the names that cannot be anybody else's.

    Raises:
        ValueError: it is no URL.
    """
    return urlsplit(url).hostname in _LOOPBACK


def download(
    url: str,
    target: Path,
    downloads: Path,
    *,
    limit: int = MAX_PACK_DOWNLOAD_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Download a file; returns `target`. Not inside a running event loop.

    Args:
        url: https, or http of this machine.
        target: where the whole file goes, on the same disk as `downloads`.
        downloads: folder of half downloads.
        limit: most bytes it may have; the time it may take follows from it.
        progress: told the bytes on disk so far, and how many there will be (0: the server does not say).

    Raises:
        FileNotServed: the server has no such file.
        PackSourceUnreachable: the server cannot be reached, refuses, stops answering or is too slow; what came is kept.
        PackCorrupt: the file is longer than `limit`.
        OSError: the disk refuses.
    """
    downloads.mkdir(parents=True, exist_ok=True)
    part = _Part(downloads / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.part")
    report = progress or (lambda _done, _total: None)
    hint = "Check the connection; the next try goes on from here"
    _run(url, limit, hint, lambda client: _fetch(client, url, part, limit, report))
    part.move_to(target)
    return target


def fetch(url: str, *, limit: int) -> Answer:
    """Download a small document into memory. Not inside a running event loop.

    Args:
        url: https, or http of this machine.
        limit: most bytes it may have, unpacked.

    Raises:
        FileNotServed: the server has no such document.
        PackSourceUnreachable: the server cannot be reached, refuses, stops answering or is too slow.
        PackCorrupt: the document is longer than `limit`, or is packed in a way that was not asked for.
    """
    return _run(url, 0, "Check the connection", lambda client: _read(client, url, limit))


def _run(url: str, size: int, hint: str, request: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """Try a request several times, within one deadline."""
    import httpx  # only the phone installs packs

    seconds = min(LONGEST, GRACE + size / SLOWEST_RATE)
    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)

    try:
        guard = _refuse_plain_http(url)
    except ValueError as error:
        raise PackSourceUnreachable(f"{url} is no URL: {error}") from error

    async def within_the_deadline() -> T:
        trusted = _trusted(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        hooks = {"request": [guard]}
        client = httpx.AsyncClient(verify=trusted, timeout=timeout, follow_redirects=True, event_hooks=hooks)
        async with asyncio.timeout(seconds), client:
            for _ in range(ATTEMPTS - 1):
                try:
                    return await request(client)
                except httpx.HTTPError:
                    continue  # the last try below says why
            return await request(client)

    try:
        return asyncio.run(within_the_deadline())
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise PackSourceUnreachable(f"{url} is no URL: {error}") from error
    except httpx.HTTPError as error:
        raise PackSourceUnreachable(
            f"cannot download {url}: {str(error) or type(error).__name__}", hint=hint
        ) from error
    except TimeoutError as error:
        raise PackSourceUnreachable(f"cannot download {url}: it took longer than {seconds:.0f} s", hint=hint) from error


@functools.cache
def _trusted(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    """The certificates httpx trusts under these settings, loaded once: that takes longer than a small request."""
    import httpx

    return httpx.create_ssl_context()


async def _fetch(
    client: httpx.AsyncClient, url: str, part: _Part, limit: int, progress: Callable[[int, int], None]
) -> None:
    """One request; returns when the file is whole."""
    import httpx

    done, tag = part.state()
    # Compression would make the bytes on the wire, which Range counts, differ from the file's.
    headers = {"Accept-Encoding": "identity"}
    if done and tag:
        headers |= {"Range": f"bytes={done}-", "If-Range": tag}
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:  # the part is as long as the file, or longer: only a fresh start tells
            part.drop()
            raise httpx.RemoteProtocolError("the server refuses to go on with this file", request=response.request)
        _refuse_errors(response, url)
        resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        if not resumed:
            done = 0
            part.drop()  # before its tag changes: a part must never stand beside another file's tag
        part.keep_tag(response.headers.get("ETag", ""))
        length = _content_length(response)
        expected = None if length is None else done + length
        with part.opened(resumed) as output:
            async for chunk in response.aiter_raw():  # as they arrive: a chunk of fixed size would be lost half full
                done += len(chunk)
                if done > limit:
                    break
                output.write(chunk)
                progress(done, expected or 0)
        if done > limit:
            part.drop()
            raise PackCorrupt(f"{url} is longer than the {limit} bytes it may have")
        if expected is not None and done != expected:
            raise httpx.RemoteProtocolError("the connection ended early", request=response.request)


async def _read(client: httpx.AsyncClient, url: str, limit: int) -> Answer:
    async with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
        _refuse_errors(response, url)
        data = bytearray()
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > limit:
                raise PackCorrupt(f"{url} is longer than the {limit} bytes it may have")
        plain = _unpacked(bytes(data), response.headers.get("Content-Encoding", "identity").lower(), url, limit)
        return Answer(plain, response.headers.get("Next-Page", ""))


def _unpacked(data: bytes, encoding: str, url: str, limit: int) -> bytes:
    """The document itself: some servers pack what was asked for plain."""
    if encoding in ("", "identity"):
        return data
    if encoding != "gzip":
        raise PackCorrupt(f"{url} is packed as {encoding[:20]!r}, which was not asked for")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise PackCorrupt(f"{url} is damaged: {error}") from error
    if len(plain) > limit:
        raise PackCorrupt(f"{url} is longer than the {limit} bytes it may have")
    return plain


def _refuse_errors(response: httpx.Response, url: str) -> None:
    if response.status_code in _GONE:
        raise FileNotServed(f"{url} answers {response.status_code} {response.reason_phrase}")
    if response.is_error:
        raise PackSourceUnreachable(f"{url} answers {response.status_code} {response.reason_phrase}")


def _content_length(response: httpx.Response) -> int | None:
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


@dataclass(frozen=True)
class _Part:
    """A half download and, beside it, the entity tag of the file it is half of."""

    path: Path

    @property
    def _tag(self) -> Path:
        return self.path.with_suffix(".etag")

    def state(self) -> tuple[int, str]:
        """Bytes that are there, and their tag; empty where there is none."""
        done = self.path.stat().st_size if self.path.is_file() else 0
        return done, self._tag.read_text() if done and self._tag.is_file() else ""

    def keep_tag(self, tag: str) -> None:
        # A weak tag may not be used with If-Range.
        self._tag.write_text("" if tag.startswith("W/") else tag)

    def opened(self, resumed: bool) -> BinaryIO:
        return self.path.open("ab") if resumed else self.path.open("wb")

    def drop(self) -> None:
        self.path.unlink(missing_ok=True)

    def move_to(self, target: Path) -> None:
        self.path.replace(target)
        self._tag.unlink(missing_ok=True)


def _refuse_plain_http(url: str) -> Callable[[httpx.Request], Awaitable[None]]:
    """Redirects included: what is not encrypted can be replaced on the way, manifest and hashes with it."""

    # Only what came from this machine may send us to it.
    from_here = is_loopback(url)

    async def guard(request: httpx.Request) -> None:
        here = from_here and request.url.host in _LOOPBACK
        if request.url.scheme != "https" and not here:
            raise PackSourceUnreachable(f"{request.url.host} redirects to an unencrypted address")

    return guard
