"""What the service counts, for Prometheus. Labels are methods, statuses and reasons, never callers or content."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram: from a refusal to the default deadline."""
SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
"""Upper bounds for counts of things."""
_STATUS: Final[Mapping[grpc.StatusCode, str]] = {code: code.name.lower() for code in grpc.StatusCode}


class MethodMetrics:
    """Counters of one method, looked up once so that a call looks nothing up. Get it from `CloudMetrics.method`."""

    __slots__ = ("_calls", "_counts", "_method", "_seconds")

    def __init__(self, method: str, calls: Counter, seconds: Histogram) -> None:
        self._method = method
        self._calls = calls
        self._seconds = seconds.labels(method)
        self._counts: dict[grpc.StatusCode, Counter] = {}

    def ended(self, status: grpc.StatusCode, seconds: float) -> None:
        """A call ended."""
        count = self._counts.get(status)
        if count is None:
            count = self._counts[status] = self._calls.labels(self._method, _STATUS[status])
        count.inc()
        self._seconds.observe(seconds)


class CloudMetrics:
    """The metrics of one service, in a registry of their own: two services in one process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._calls = Counter(
            "wayword_calls", "Calls that ended, by gRPC status.", ("method", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "wayword_call_seconds",
            "From a call's headers to its end.",
            ("method",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._refused = Counter(
            "wayword_turned_away",
            "Calls that the front refused before any handler, by reason.",
            ("reason",),
            registry=self._registry,
        )
        self.open_calls = 0
        """Calls under way; a plain number because every call changes it twice."""
        self.gauge("wayword_open_calls", "Calls under way.", lambda: self.open_calls)

    def method(self, name: str) -> MethodMetrics:
        """Counters of a method. Only for methods that exist: a label that callers choose would grow without bound."""
        return MethodMetrics(name, self._calls, self._seconds)

    def turned_away(self, reason: str) -> None:
        """The front refused a call."""
        self._refused.labels(reason).inc()

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A value that is asked for when somebody looks, such as the depth of a queue.

        Args:
            name: in snake_case with unit, beginning with "wayword_".
            what: one sentence.
            value: must be quick and must not raise; called from the event loop.
        """
        Gauge(name, what, registry=self._registry).set_function(value)

    def histogram(self, name: str, what: str, buckets: Sequence[float] = SIZES) -> Callable[[float], None]:
        """A distribution, such as lines of a batch.

        Args:
            name: in snake_case with unit, beginning with "wayword_".
            what: one sentence.
            buckets: upper bounds, rising.

        Returns:
            To be called with each value.
        """
        return Histogram(name, what, buckets=buckets, registry=self._registry).observe

    def counter(self, name: str, what: str) -> Callable[[float], None]:
        """A count.

        Args:
            name: in snake_case, beginning with "wayword_"; "_total" is added.
            what: one sentence.

        Returns:
            To be called with what is added.
        """
        return Counter(name, what, registry=self._registry).inc

    def collect(self, collector: Collector) -> None:
        """Values with labels, asked for when somebody looks.

        Args:
            collector: its labels must come from a bounded set; it must be quick and must not raise.
        """
        self._registry.register(collector)

    def page(self) -> bytes:
        """All of it, as Prometheus reads it (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)
