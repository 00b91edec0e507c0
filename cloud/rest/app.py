"""The REST twin of `Reader.ReadStrip` and `Reader.Translate`: JSON for those without gRPC. Paths and their description.

What happens to a call is in `rest_calls`, the server around it in `rest_server`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, Protocol

import grpc
from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Receive, Scope, Send

from cloud.calls import Call, Outcome, outcome_of
from cloud.refusals import Reason, Refusal
from cloud.rest.answers import read_out, translate_out
from cloud.rest.bodies import one_part, parsed, parts_of, picture_message, read_message, translate_message
from cloud.rest.calls import MAX_TIMEOUT_MS, SEND_SECONDS, Admit, OnEnd, RestCalls, RestRules, body_of
from cloud.rest.models import HealthOut, KeyHeader, ProblemOut, ReadIn, ReadOut, TranslateIn, TranslateOut
from cloud.rest.page import SECURITY_HEADERS, documentation
from cloud.rest.problems import PROBLEM_TYPE, Body, problem
from shared.clock import Clock
from shared.messages.wayword.v1 import cloud_pb2


class Handlers(Protocol):
    """What is called: see `cloud.reading.service.ReaderService`."""

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply: ...

    async def translate(self, request: cloud_pb2.TranslateRequest, call: Call) -> cloud_pb2.TranslateReply: ...


_DESCRIPTION: Final = f"""Reads signs and translates them. This is the thin REST twin of the gRPC service: the same code
answers, with the same caps, and a phone should rather use gRPC.

Every call may carry `Authorization: Bearer TOKEN`, `X-Timeout-Ms` (its deadline, counted from the arrival of the
head of the request) and `Idempotency-Key` (same key and question, same answer, computed once).

A call that is not answered gets a problem document (RFC 9457, {PROBLEM_TYPE}); `Retry-After` says when to come back.

Pictures are never stored."""
_MEANINGS: Final = {
    400: "malformed, or a picture that does not decode",
    401: "no token, or one that is not accepted",
    403: "the caller may not do this",
    408: "the body did not arrive in time",
    413: "over a cap of size",
    415: "a body of another kind",
    422: "nothing here translates into the target language",
    429: "the device has had its share for now",
    500: "a model failed",
    503: "no capacity before the deadline, or shutting down; see Retry-After",
    504: "the deadline passed",
}
_PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": meaning, "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}}
    for status, meaning in _MEANINGS.items()
}
_BINARY: Final = {"type": "string", "contentMediaType": "application/octet-stream"}

Timeout = Annotated[
    int | None,
    Header(
        alias="X-Timeout-Ms",
        ge=1,
        description=f"deadline in milliseconds from the arrival of the request; at most {MAX_TIMEOUT_MS}",
    ),
]
Key = Annotated[KeyHeader, Header(alias="Idempotency-Key", description="same key and question, same answer")]


class RestTwin:
    """The application. `asgi` is what a server runs.

    Args:
        handlers: called for every read and translation.
        clock: deadlines and measurements.
        admit: lets calls in, by the rules of gRPC; None to ask nobody.
        rules: bounds.
        is_ready: whether new calls should come here.
        on_end: see `OnEnd`.
    """

    def __init__(
        self,
        handlers: Handlers,
        *,
        clock: Clock,
        admit: Admit | None = None,
        rules: RestRules | None = None,
        is_ready: Callable[[], bool] = lambda: True,
        on_end: OnEnd | None = None,
    ) -> None:
        self._handlers = handlers
        self._calls = RestCalls(clock=clock, admit=admit, rules=RestRules() if rules is None else rules, on_end=on_end)
        self._is_ready = is_ready
        self.app = self._application()
        self._page = ""

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Nothing gets past this: no exception, no call beyond the deadline, none beyond the number allowed."""
        if scope["type"] != "http":
            return
        started = False
        body = Body(receive)

        async def sending(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        longest = MAX_TIMEOUT_MS / 1e3 + SEND_SECONDS
        try:
            async with asyncio.timeout(longest):
                await self.app(scope, body, sending)
        except Exception as error:  # noqa: BLE001  # the boundary: the server would log the exception's own text
            outcome = outcome_of(error, method="REST")
            if not started:
                await problem(outcome)(scope, body, sending)

    # Routes -------------------------------------------------------------------------------------

    def _application(self) -> FastAPI:
        app = FastAPI(
            title="Wayword cloud",
            version="1",
            description=_DESCRIPTION,
            docs_url=None,
            redoc_url=None,
            exception_handlers={RequestValidationError: _bad_parameter, HTTPException: _http_error},
        )
        app.add_api_route(
            "/v1/read",
            self._read,
            methods=["POST"],
            summary="Read the lines of one sign",
            response_model=ReadOut,
            responses=_PROBLEMS,
            openapi_extra=_body(
                {
                    "application/json": {"schema": ReadIn},
                    "multipart/form-data": {
                        "schema": {
                            "type": "object",
                            "required": ["request", "line"],
                            "properties": {
                                "request": {"$ref": "#/components/schemas/ReadIn"},
                                "line": {"type": "array", "items": _BINARY, "description": "pictures, in order"},
                            },
                        }
                    },
                }
            ),
        )
        app.add_api_route(
            "/v1/picture",
            self._picture,
            methods=["POST"],
            summary="Read a whole picture",
            response_model=ReadOut,
            responses=_PROBLEMS,
            openapi_extra=_body(
                {
                    "image/jpeg": {"schema": _BINARY},
                    "image/webp": {"schema": _BINARY},
                    "multipart/form-data": {
                        "schema": {"type": "object", "required": ["picture"], "properties": {"picture": _BINARY}}
                    },
                }
            ),
        )
        app.add_api_route(
            "/v1/translate",
            self._translate,
            methods=["POST"],
            summary="Translate the lines of one sign",
            response_model=TranslateOut,
            responses=_PROBLEMS,
            openapi_extra=_body({"application/json": {"schema": TranslateIn}}),
        )
        app.add_api_route("/healthz", self._healthy, methods=["GET"], summary="Alive?", response_model=HealthOut)
        app.add_api_route(
            "/readyz",
            self._ready,
            methods=["GET"],
            summary="Takes calls?",
            response_model=HealthOut,
            responses={503: {"model": HealthOut, "description": "shutting down"}},
        )
        app.add_api_route("/docs", self._docs, methods=["GET"], include_in_schema=False)
        make = app.openapi

        def openapi() -> dict[str, Any]:
            document = make()
            # Bodies are read by hand, under their cap, so FastAPI does not know their models by itself.
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for model in (ReadIn, TranslateIn, ProblemOut):
                schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(schema.pop("$defs", {}))
                schemas[model.__name__] = schema
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            return document

        app.openapi = openapi  # type: ignore[method-assign]  # FastAPI documents this way of extending it
        return app

    async def _read(self, request: Request, timeout_ms: Timeout = None, key: Key = "") -> Response:
        """Rectified lines of one sign, each as a picture of its own: as JSON with base64, or as multipart with a part
        `request` (the same JSON without pictures) and a part `line` for each picture.

            curl -F 'request={"target":"en","encoding":"jpeg","lines":[{"quad":[0,0,400,0,400,60,0,60]}]}' \\
                 -F line=@line.jpg http://HOST:PORT/v1/read
        """

        async def message() -> cloud_pb2.ReadStripRequest:
            body, kind = await body_of(request, "application/json", "multipart/form-data")
            if kind == "application/json":
                return read_message(parsed(body, ReadIn), (), key=key)
            parts = parts_of(body, request.headers["content-type"])
            asked = one_part(parts, "request")
            if asked is None:
                raise Refusal(Reason.MALFORMED, "the multipart body has no part named request")
            pictures = [part.content for part in parts if part.name == "line"]
            return read_message(parsed(asked, ReadIn), pictures, key=key)

        return await self._calls.serve("ReadStrip", request, timeout_ms, message, self._handlers.read_strip, read_out)

    async def _picture(
        self,
        request: Request,
        target: Annotated[str, Query(description="language wanted, ISO 639-1", examples=["en"])],
        source: Annotated[str, Query(description="language of the sign; left out: it is identified")] = "",
        timeout_ms: Timeout = None,
        key: Key = "",
    ) -> Response:
        """A whole picture, JPEG or WebP, at most 1280 pixels on its longer side; all lines in it are found, read and
        translated. Their corners are in pixels of the picture.

            curl --data-binary @sign.jpg -H 'Content-Type: image/jpeg' 'http://HOST:PORT/v1/picture?target=en'
        """

        async def message() -> cloud_pb2.ReadStripRequest:
            body, kind = await body_of(request, "image/jpeg", "image/webp", "multipart/form-data")
            picture: bytes | None = body
            if kind == "multipart/form-data":
                picture = one_part(parts_of(body, request.headers["content-type"]), "picture")
            if picture is None:
                raise Refusal(Reason.MALFORMED, "the multipart body has no part named picture")
            return picture_message(picture, source=source, target=target, key=key)

        return await self._calls.serve("ReadStrip", request, timeout_ms, message, self._handlers.read_strip, read_out)

    async def _translate(self, request: Request, timeout_ms: Timeout = None, key: Key = "") -> Response:
        """The lines of one sign as text.

        curl -H 'Content-Type: application/json' -d '{"target":"en","lines":["Proibido estacionar"]}' http://HOST:PORT/v1/translate
        """

        async def message() -> cloud_pb2.TranslateRequest:
            body, _ = await body_of(request, "application/json")
            return translate_message(parsed(body, TranslateIn), key=key)

        return await self._calls.serve(
            "Translate", request, timeout_ms, message, self._handlers.translate, translate_out
        )

    async def _healthy(self) -> HealthOut:
        """The process lives and its event loop turns."""
        return HealthOut(status="ok")

    async def _ready(self) -> Response:
        """New calls are welcome; 503 while the service shuts down."""
        ready = self._is_ready()
        return JSONResponse(
            HealthOut(status="ok" if ready else "draining").model_dump(),
            HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    async def _docs(self) -> HTMLResponse:
        self._page = self._page or documentation(self.app.openapi())
        return HTMLResponse(self._page, headers=SECURITY_HEADERS)


def _body(contents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A request body for the OpenAPI document; models stand for references to them."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                kind: {
                    **content,
                    "schema": content["schema"]
                    if isinstance(content["schema"], dict)
                    else {"$ref": f"#/components/schemas/{content['schema'].__name__}"},
                }
                for kind, content in contents.items()
            },
        }
    }


async def _bad_parameter(request: Request, error: Exception) -> Response:
    """A header or query parameter that is missing or wrong: said without what stood in it."""
    del request
    where = "a parameter"
    if isinstance(error, RequestValidationError) and error.errors():
        first = error.errors()[0]
        where = f"{'.'.join(str(step)[:40] for step in first['loc'][:4])}: {first['msg']}"
    return problem(Outcome(Reason.MALFORMED, grpc.StatusCode.INVALID_ARGUMENT, where))


async def _http_error(request: Request, error: Exception) -> Response:
    """No such path or method."""
    del request
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    name = Reason.NOT_FOUND if status is HTTPStatus.NOT_FOUND else Reason.MALFORMED
    answer = problem(Outcome(name, grpc.StatusCode.NOT_FOUND, status.phrase), status=status)
    answer.headers.update(error.headers or {})  # a 405 must say what is allowed (RFC 9110, section 15.5.6)
    return answer
