"""What the service counts, for Prometheus. Labels are methods, statuses and reasons, never callers or content."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
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
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency histogram: from a refusal to the default deadline."""
SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
"""Upper bounds for counts of things."""


class MethodMetrics:
    """Counts of one method: plain numbers, for every call changes them, and one thread does. Get it from
    `CloudMetrics.method`.
    """

    __slots__ = ("buckets", "counts", "name", "seconds")

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: dict[grpc.StatusCode, int] = {}
        """Calls that ended, by status."""
        self.buckets = [0] * (len(SECONDS) + 1)
        """Calls by seconds: up to each bound and above the one before; the last for those above all."""
        self.seconds = 0.0
        """All of them together."""

    def ended(self, status: grpc.StatusCode, seconds: float) -> None:
        """A call ended. In the event loop only."""
        self.counts[status] = self.counts.get(status, 0) + 1
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds


class _MethodCollector(Collector):
    """Shows what `MethodMetrics` counted."""

    def __init__(self) -> None:
        self.methods: dict[str, MethodMetrics] = {}

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("wayword_calls", "Calls that ended, by gRPC status.", labels=("method", "status"))
        took = HistogramMetricFamily("wayword_call_seconds", "From a call's headers to its end.", labels=("method",))
        for name, method in self.methods.items():
            for status, count in method.counts.items():
                calls.add_metric((name, status.name.lower()), count)
            bounds = [*(str(bound) for bound in SECONDS), "+Inf"]
            buckets = list(zip(bounds, accumulate(method.buckets), strict=True))
            took.add_metric((name,), buckets, method.seconds)
        yield calls
        yield took


class CloudMetrics:
    """The metrics of one service, in a registry of their own: two services in one process do not mix."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._methods = _MethodCollector()
        self._registry.register(self._methods)
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
        return self._methods.methods.setdefault(name, MethodMetrics(name))

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
