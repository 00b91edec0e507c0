"""Traces of some calls, for OpenTelemetry: how long, how it ended, under whose request id; never what was in it."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Callable, Iterator
from typing import Final

import grpc
from opentelemetry import context as contexts
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.errors import UsageError

_PARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,64})?")
"""W3C Trace Context, 3.2.2. A header that is none counts as not there."""


class Tracing:
    """Spans of calls: of those whose caller traces them, and of a share of those whose caller says nothing.

    That is the SDK's ParentBased(TraceIdRatioBased), with the ratio drawn here, so that for a call that is not traced
    the SDK is not asked at all.

    Args:
        processor: takes finished spans.
        ratio: share of calls without a parent that are traced, 0..1.
        draw: gives numbers in 0..1; for tests.
    """

    def __init__(self, processor: SpanProcessor, *, ratio: float, draw: Callable[[], float] = random.random) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON),
            resource=Resource.create({"service.name": "wayword-cloud"}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("wayword.cloud")
        self._propagator = TraceContextTextMapPropagator()
        self._ratio = ratio
        self._draw = draw

    def begin(self, method: str, traceparent: str, request_id: str) -> Span | None:
        """A span of a call, which `end` must follow; None for a call that is not traced.

        Args:
            method: full name.
            traceparent: W3C trace context of the caller; empty for none.
            request_id: of the call.
        """
        parent = contexts.Context()
        if _PARENT.fullmatch(traceparent):
            parent = self._propagator.extract({"traceparent": traceparent}, context=parent)
        # It knows more rules than the pattern, and leaves out what breaks them.
        if not get_current_span(parent).get_span_context().is_valid and self._draw() >= self._ratio:
            return None
        span = self._tracer.start_span(method, context=parent, kind=SpanKind.SERVER)
        if span.is_recording():
            service, _, name = method.lstrip("/").partition("/")
            span.set_attributes(
                {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name, "wayword.request_id": request_id}
            )
        return span

    def end(self, span: Span, status: grpc.StatusCode) -> None:
        """The call ended."""
        if span.is_recording():
            span.set_attribute("rpc.grpc.status_code", status.value[0])
            if status is not grpc.StatusCode.OK:
                span.set_status(Status(StatusCode.ERROR, status.name))
        span.end()

    def close(self) -> None:
        """Send what is left; takes as long as the exporter's own limits allow, so call it in a thread."""
        self._provider.shutdown()


@contextlib.contextmanager
def within(span: Span) -> Iterator[None]:
    """Make a span the parent of what is done meanwhile."""
    token = contexts.attach(set_span_in_context(span))
    try:
        yield
    finally:
        contexts.detach(token)


def otlp_tracing(endpoint: str, *, ratio: float) -> Tracing:
    """Tracing that sends spans to a collector by OTLP over HTTP, in a thread, dropping what it cannot take.

    Args:
        endpoint: such as "https://collector.example/v1/traces".
        ratio: see `Tracing`.

    Raises:
        UsageError: the exporter is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ModuleNotFoundError:
        raise UsageError(
            "otlp_endpoint is set, and the exporter is not installed", hint="pip install 'wayword[cloud-otlp]'"
        ) from None
    return Tracing(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)), ratio=ratio)
