"""Experiments and telemetry of a service, put together from its settings."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable

import platformdirs
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cloud.experiments.running import Experiments
from cloud.experiments.service import ExperimentsService
from cloud.experiments.state import StateFile
from cloud.hosting import HostedService
from cloud.settings import CloudSettings
from cloud.telemetry.service import TelemetryService
from cloud.telemetry.store import TelemetryStore
from shared.clock import Clock
from shared.events import EventLog


def open_experiments(
    settings: CloudSettings, clock: Clock, *, events: EventLog, warn: Callable[[str], None]
) -> Experiments:
    """The experiments of a service; SIGHUP has them look at their files at once. Call it inside a running event loop.

    Raises:
        UsageError: the file is no configuration.
        StorageError: the file or the state cannot be read.
    """
    path = settings.experiments
    state = None if path is None else StateFile(settings.experiments_state_path(path))
    experiments = Experiments(path, state=state, clock=clock, events=events, warn=warn)
    if path is not None:
        # Only the main thread of a process gets signals; elsewhere, as in tests, looking twice a second has to do.
        with contextlib.suppress(RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, experiments.reload_soon)
    return experiments


def experiment_services(
    settings: CloudSettings, clock: Clock, *, events: EventLog, experiments: Experiments
) -> list[HostedService]:
    """What tells phones their arms, and what takes their reports."""
    deadline_s = settings.default_deadline_s
    services: list[HostedService] = [ExperimentsService(experiments, clock=clock, default_deadline_s=deadline_s)]
    if settings.take_telemetry:
        path = settings.telemetry or platformdirs.user_data_path("wayword") / "telemetry.sqlite3"
        services.append(
            TelemetryService(
                lambda: TelemetryStore(path, keep_days=settings.telemetry_days, max_bytes=settings.telemetry_bytes),
                experiments=experiments,
                text_allowed=settings.telemetry_text,
                clock=clock,
                events=events,
                default_deadline_s=deadline_s,
                is_there=path.exists,
            )
        )
    return services


class ArmCollector(Collector):
    """What is counted of each arm, for Prometheus. Labels are experiments and arms of the file: at most 16 times 8.

    Args:
        experiments: that count.
    """

    def __init__(self, experiments: Experiments) -> None:
        self._experiments = experiments

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client.registry.Collector`."""
        labels = ("experiment", "arm")
        calls = CounterMetricFamily("wayword_arm_calls", "Calls of an arm.", labels=labels)
        refusals = CounterMetricFamily("wayword_arm_refusals", "Of these, refused.", labels=labels)
        cost = CounterMetricFamily("wayword_arm_cost", "Charged by external models.", labels=labels)
        names = {
            "error_rate": "Share of the calls that the service failed.",
            "empty_rate": "Share of the answers without a translation.",
            "agreement": "Share of the answers whose text is what the phone had read.",
            "confidence": "Mean confidence of the answers' weakest stage.",
            "p50_ms": "Median of computed answers, in milliseconds.",
            "p95_ms": "95th percentile of computed answers, in milliseconds.",
            "phone_agreement": "Share of the answers that confirmed the phone's reading, as phones report.",
            "phone_better": "Share of the answers that replaced the phone's reading, as phones report.",
            "phone_p95_ms": "95th percentile of calls as phones measured them, in milliseconds.",
        }
        gauges = {name: GaugeMetricFamily(f"wayword_arm_{name}", what, labels=labels) for name, what in names.items()}
        for key, metrics in self._experiments.metrics.items():
            summary = metrics.summary()
            calls.add_metric(key, metrics.calls)
            refusals.add_metric(key, metrics.refusals)
            cost.add_metric(key, metrics.cost)
            for name, gauge in gauges.items():
                value = summary[name]
                if value is not None:
                    gauge.add_metric(key, value)
        return (calls, refusals, cost, *gauges.values())
