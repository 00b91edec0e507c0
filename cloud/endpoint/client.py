"""One question to an OpenAI-compatible endpoint: bounded in time, bytes and tries, and typed in how it fails.

The dialect is `POST /chat/completions` with ``response_format: json_schema``, which hosted services and local servers
(llama.cpp, vLLM, Ollama) share.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import httpx

from cloud.endpoint.costs import Usage
from shared.clock import Clock

MAX_REPLY_BYTES: Final = 256 * 1024
MAX_CONTENT_CHARACTERS: Final = 64 * 1024
MAX_TOKENS_OF_A_CALL: Final = 10_000_000
"""More tokens than this in `usage` are no statement but an error."""
CONNECT_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 0.25
"""With less time left nothing is begun, retries included."""
RETRY_PAUSE_S: Final = 0.2
"""Before the one retry, where the endpoint asks for no longer pause."""
_HOPELESS: Final = frozenset({401, 403, 404, 405})


class Failure(StrEnum):
    """How a question ended without an answer."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUSY = "busy"
    """Status 429, after the retry."""
    REFUSED = "refused"
    """The key, the model or the address is wrong (status 401, 403, 404 or 405, or a redirect)."""
    UNFIT = "unfit"
    """This question is not taken (another status 4xx): it may be the sign's fault, as with a filter of content."""
    BROKEN = "broken"
    """Status 5xx, after the retry."""
    NONSENSE = "nonsense"
    """The reply is too large, no JSON, or not of the schema."""


class EndpointFailed(Exception):
    """There is no answer. Internal to the endpoint's modules, where every failure ends as "our own answer stays".

    Args:
        failure: how.
        usage: tokens that were billed nevertheless; None where that is not known.
        billed: whether anything may have been billed.
    """

    def __init__(self, failure: Failure, *, usage: Usage | None = None, billed: bool = True) -> None:
        super().__init__(failure.value)
        self.failure = failure
        self.usage = usage
        self.billed = billed


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        content: the JSON object the model wrote, not yet checked.
        usage: tokens; None where the endpoint did not say, or not credibly.
    """

    content: Mapping[str, Any]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        instruction: of the operator, never with content of a sign.
        data: the user's message: text, or parts as the dialect has them. Text is a plain string because some servers
            without vision take no parts.
        name: of the schema.
        schema: JSON schema of the answer.
        max_tokens: of the answer.
    """

    instruction: str
    data: str | Sequence[Mapping[str, Any]]
    name: str
    schema: Mapping[str, Any]
    max_tokens: int

    def body(self, model: str) -> bytes:
        """The request."""
        return json.dumps(
            {
                "model": model,
                "temperature": 0,
                "max_tokens": self.max_tokens,
                "messages": [
                    {"role": "system", "content": self.instruction},
                    {"role": "user", "content": self.data if isinstance(self.data, str) else list(self.data)},
                ],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": self.name, "strict": True, "schema": self.schema},
                },
            },
            ensure_ascii=False,
        ).encode()


class EndpointClient:
    """Asks.

    Args:
        url: base address, such as "https://api.example/v1".
        model: name of the model there.
        key: bearer key; empty for none.
        clock: of deadlines.
    """

    def __init__(self, *, url: str, model: str, key: str, clock: Clock) -> None:
        self._model = model
        self._clock = clock
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._address = f"{url.rstrip('/')}/chat/completions"
        # No proxies, .netrc or redirects: the key goes to the address the operator wrote and nowhere else.
        self._http = httpx.AsyncClient(
            headers=headers,
            # Plain http has nothing to verify, and loading the authorities takes longer than a local answer.
            verify=httpx.URL(self._address).scheme != "http",
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=60.0),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def ask(self, question: Question, *, deadline: float) -> Reply:
        """Ask once, and once more where the first try failed at once and there is time.

        Args:
            question: what to ask.
            deadline: on the clock; no longer is waited.

        Raises:
            EndpointFailed: with how.
        """
        body = question.body(self._model)
        try:
            return await self._try(body, deadline)
        except _Again as again:
            pause = max(again.pause_s, RETRY_PAUSE_S)
            if not self._clock.monotonic() + pause + LEAST_SECONDS <= deadline:
                raise EndpointFailed(again.failure, billed=False) from None
        await self._clock.sleep(pause)
        try:
            return await self._try(body, deadline)
        except _Again as again:
            raise EndpointFailed(again.failure, billed=False) from None

    async def _try(self, body: bytes, deadline: float) -> Reply:
        left = deadline - self._clock.monotonic()
        if left < LEAST_SECONDS:
            raise EndpointFailed(Failure.TIMEOUT, billed=False)
        try:
            async with (
                asyncio.timeout(left),
                self._http.stream(
                    "POST",
                    self._address,
                    content=body,
                    timeout=httpx.Timeout(left, connect=min(left, CONNECT_SECONDS)),
                ) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise _of_status(response)
                return _reply(await _content(response))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise _Again(Failure.UNREACHABLE) from None
        except (TimeoutError, httpx.TimeoutException):
            # The endpoint may be at work, and bill for it.
            raise EndpointFailed(Failure.TIMEOUT) from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise EndpointFailed(Failure.UNREACHABLE) from None


class _Again(Exception):
    """A try that may be repeated."""

    def __init__(self, failure: Failure, pause_s: float = 0.0) -> None:
        super().__init__(failure.value)
        self.failure = failure
        self.pause_s = pause_s


def _of_status(response: httpx.Response) -> Exception:
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return _Again(Failure.BUSY, _pause(response))
    if response.status_code >= 500:
        return _Again(Failure.BROKEN, _pause(response))
    hopeless = response.status_code < 400 or response.status_code in _HOPELESS
    return EndpointFailed(Failure.REFUSED if hopeless else Failure.UNFIT, billed=False)


def _pause(response: httpx.Response) -> float:
    """Seconds of Retry-After; dates, which nobody sends here, count as nothing."""
    try:
        seconds = float(response.headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 0.0


async def _content(response: httpx.Response) -> bytes:
    """The body up to its cap. It is taken raw: nobody asked for compression, which could hide a bomb."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise EndpointFailed(Failure.NONSENSE)
    found = bytearray()
    async for chunk in response.aiter_raw():
        found += chunk
        if len(found) > MAX_REPLY_BYTES:
            raise EndpointFailed(Failure.NONSENSE)
    return bytes(found)


def _reply(body: bytes) -> Reply:
    usage: Usage | None = None
    try:
        document = json.loads(body)
        usage = _usage(document.get("usage"))
        content = document["choices"][0]["message"]["content"]
        if not isinstance(content, str) or len(content) > MAX_CONTENT_CHARACTERS:
            raise EndpointFailed(Failure.NONSENSE, usage=usage)
        answer = json.loads(content)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise EndpointFailed(Failure.NONSENSE, usage=usage) from None
    if not isinstance(answer, dict):
        raise EndpointFailed(Failure.NONSENSE, usage=usage)
    return Reply(answer, usage)


def _usage(stated: object) -> Usage | None:
    if not isinstance(stated, dict):
        return None
    counts = [stated.get("prompt_tokens"), stated.get("completion_tokens")]
    if not all(type(count) is int and 0 <= count <= MAX_TOKENS_OF_A_CALL for count in counts):
        return None
    return Usage(counts[0], counts[1])  # type: ignore[arg-type]  # checked in the line above
