"""Downloading one file over https, going on where an earlier try stopped.

A half download is kept as ``<hash of the URL>.part`` beside the entity tag the server gave it; the next try asks for
the rest with ``Range`` and ``If-Range`` (RFC 9110, sections 13.1.5 and 14.2), so a file that changed starts anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.errors import PackCorrupt, PackSourceUnreachable
from shared.limits import MAX_PACK_DOWNLOAD_BYTES

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to reach the server."""
READ_TIMEOUT: Final = 20.0
"""Seconds without a byte."""
ATTEMPTS: Final = 3
"""Tries in one install; each goes on where the last one stopped."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


def download(
    url: str,
    target: Path,
    downloads: Path,
    *,
    limit: int = MAX_PACK_DOWNLOAD_BYTES,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Download a file; returns `target`.

    Args:
        url: https, or http of this machine.
        target: where the whole file goes, on the same disk as `downloads`.
        downloads: folder of half downloads.
        limit: most bytes it may have.
        progress: told the bytes on disk so far.

    Raises:
        PackSourceUnreachable: the server cannot be reached, refuses, or stops answering; what came is kept.
        PackCorrupt: the file is longer than `limit`.
        OSError: the disk refuses.
    """
    import httpx  # only the phone installs packs

    downloads.mkdir(parents=True, exist_ok=True)
    part = downloads / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.part"
    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    with httpx.Client(timeout=timeout, follow_redirects=True, event_hooks={"request": [_refuse_plain_http]}) as client:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                _fetch(client, url, part, limit, progress or (lambda _: None))
                break
            except httpx.InvalidURL as error:
                raise PackSourceUnreachable(f"{url} is no URL: {error}") from error
            except httpx.HTTPError as error:
                if attempt == ATTEMPTS:
                    reason = str(error) or type(error).__name__
                    raise PackSourceUnreachable(
                        f"cannot download {url}: {reason}", hint="Check the connection; the next try goes on from here"
                    ) from error
    part.replace(target)
    _tag_file(part).unlink(missing_ok=True)
    return target


def _fetch(client: httpx.Client, url: str, part: Path, limit: int, progress: Callable[[int], None]) -> None:
    """One request; returns when the file is whole."""
    import httpx

    done = part.stat().st_size if part.is_file() else 0
    tag = _tag_file(part).read_text() if done and _tag_file(part).is_file() else ""
    # Compression would make the bytes on the wire, which Range counts, differ from the file's.
    headers = {"Accept-Encoding": "identity"}
    if done and tag:
        headers |= {"Range": f"bytes={done}-", "If-Range": tag}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == 416:  # the part is as long as the file, or longer: only a fresh start tells
            part.unlink(missing_ok=True)
            raise httpx.RemoteProtocolError("the server refuses to go on with this file", request=response.request)
        if response.is_error:
            raise PackSourceUnreachable(f"{url} answers {response.status_code} {response.reason_phrase}")
        resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        if not resumed:
            done = 0
            part.unlink(missing_ok=True)  # before its tag changes: a part must never stand beside another file's tag
        tag = response.headers.get("ETag", "")
        if tag.startswith("W/"):
            tag = ""  # a weak tag may not be used with If-Range
        _tag_file(part).write_text(tag)
        expected = done + int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None
        with part.open("ab" if resumed else "wb") as output:
            for chunk in response.iter_bytes():  # as they arrive: a chunk of fixed size would be lost half full
                done += len(chunk)
                if done > limit:
                    break
                output.write(chunk)
                progress(done)
        if done > limit:
            part.unlink()
            raise PackCorrupt(f"{url} is longer than the {limit} bytes it may have")
        if expected is not None and done != expected:
            raise httpx.RemoteProtocolError("the connection ended early", request=response.request)


def _tag_file(part: Path) -> Path:
    return part.with_suffix(".etag")


def _refuse_plain_http(request: httpx.Request) -> None:
    """Redirects included: what is not encrypted can be replaced on the way, manifest and hashes with it."""
    if request.url.scheme != "https" and request.url.host not in _LOOPBACK:
        raise PackSourceUnreachable(f"{request.url.host} redirects to an unencrypted address")
