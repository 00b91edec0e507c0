"""The front of the service, put together from its settings: gate, quotas, metrics, traces."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import grpc
from opentelemetry.sdk.trace import SpanProcessor

from cloud.callers import Scope
from cloud.front.access import need_of
from cloud.front.denied import DeniedDevices
from cloud.front.identity import Admission, Gate, GateRules, Shown, request_id_of
from cloud.front.interceptors import FrontInterceptor
from cloud.front.key_source import KeySource, key_source
from cloud.front.metrics import CloudMetrics
from cloud.front.metrics_http import MetricsServer
from cloud.front.quotas import QuotaRules, address_of
from cloud.front.tokens import TokenChecker, TokenRules
from cloud.front.tracing import Tracing, otlp_tracing
from cloud.settings import CloudSettings, host_and_port
from shared.clock import Clock
from shared.errors import UsageError
from shared.events import EventLog

LOGGED_PER_S: Final = 5.0
LOGGED_AT_ONCE: Final = 100.0
"""Refusals written to the event log: a flood of them must not fill the disk."""

logger = logging.getLogger("wayword.cloud")


@dataclass(frozen=True, slots=True)
class Front:
    """What stands before the handlers.

    Attributes:
        interceptors: for the gRPC server, outermost first.
        metrics: to which the parts of the service add their own gauges.
        gate: for other ways in, such as REST; see `admit`.
        metrics_address: HOST:PORT of the metrics page; None where it is not served.
    """

    interceptors: Sequence[grpc.aio.ServerInterceptor]
    metrics: CloudMetrics
    gate: Gate
    metrics_address: str | None = None

    async def admit(self, method: str, shown: Shown) -> Admission:
        """Let in a call that came some other way than gRPC, under the same rules.

        Serve it `with called_by(admission.caller)`, tell `admission.charge` the size of its body, and call
        `admission.leave` when it has ended.

        Args:
            method: full name of the gRPC method it stands for.
            shown: see `cloud.front.identity.shown_by`; `peer` as "ipv4:ADDRESS:PORT" or "ipv6:[ADDRESS]:PORT".

        Raises:
            Refusal: with the reason.
        """
        return await self.gate.admit(need_of(method), shown, request_id=request_id_of(shown))


@asynccontextmanager
async def front(
    settings: CloudSettings,
    clock: Clock,
    *,
    events: EventLog | None = None,
    warn: Callable[[str], None] = logger.warning,
    span_processor: SpanProcessor | None = None,
) -> AsyncIterator[Front]:
    """The front, working until the context ends.

    Args:
        settings: of the service.
        clock: of expiry, quotas and measurements.
        events: gets one "refused" event per refusal of the front, within a limit; None for none.
        warn: told in one line of what is open to others.
        span_processor: takes spans instead of the settings' collector; for benches and tests.

    Raises:
        UsageError: the settings would send tokens over plain text, or want something that is not installed.
        StorageError: a key cannot be had.
    """
    if (warning := check_exposure(settings)) is not None:
        warn(warning)
    metrics = CloudMetrics()
    keys = await _keys(settings, clock)
    tokens = None if keys is None else TokenChecker(keys, rules=_token_rules(settings), clock=clock)
    gate = Gate(
        tokens,
        rules=_gate_rules(settings),
        quotas=_quota_rules(settings),
        clock=clock,
        denied=frozenset() if settings.denied_devices is None else DeniedDevices(settings.denied_devices, clock=clock),
    )
    metrics.gauge("wayword_callers_remembered", "Devices and addresses with an account.", lambda: gate.accounts)
    tracing = _tracing(settings, span_processor)
    log = _RefusalLog(events, clock)
    interceptor = FrontInterceptor(
        gate,
        metrics=metrics,
        tracing=tracing,
        clock=clock,
        message_timeout_s=settings.message_timeout_s,
        certificates=settings.tls_client_ca is not None,
        on_refusal=log.write,
    )
    upkeep = None if keys is None else asyncio.create_task(keys.upkeep(), name="upkeep of token keys")
    page = MetricsServer(metrics)
    try:
        address = None
        if settings.metrics_listen is not None:
            host, wanted = host_and_port(settings.metrics_listen)
            port = await page.start(host, wanted)
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        yield Front((interceptor,), metrics, gate, address)
    finally:
        await page.close()
        if upkeep is not None:
            upkeep.cancel()
            with suppress(asyncio.CancelledError):
                await upkeep
        if tracing is not None:
            await asyncio.to_thread(tracing.close)


def check_exposure(settings: CloudSettings) -> str | None:
    """Whether what goes over the port is safe from those on the way.

    Returns:
        A warning; None where there is nothing to warn of.

    Raises:
        UsageError: tokens would go over the network in plain text, and nobody said that this is meant.
    """
    if settings.tls_certificate is not None or _listens_here(settings):
        return None
    if settings.insecure:
        return None
    if _asks_tokens(settings):
        raise UsageError(
            f"tokens would go over the network to {settings.listen} without encryption",
            hint="set tls_certificate and tls_key (`wayword-cloud certificates` makes them), or --insecure where "
            "something in front of this service encrypts",
        )
    return (
        f"anybody who reaches {settings.listen} may use this service, and what they send is not encrypted; "
        "see `wayword-cloud certificates` and `wayword-cloud token`"
    )


def _listens_here(settings: CloudSettings) -> bool:
    host, _ = settings.address()
    return host == "localhost" or address_of(f"ipv6:[{host}]:1" if ":" in host else f"ipv4:{host}:1") is None


def _asks_tokens(settings: CloudSettings) -> bool:
    return settings.token_secret_file is not None or settings.token_keys is not None


async def _keys(settings: CloudSettings, clock: Clock) -> KeySource | None:
    if not _asks_tokens(settings):
        return None
    return await key_source(secret=settings.token_secret_file, keys=settings.token_keys, clock=clock)


def _token_rules(settings: CloudSettings) -> TokenRules:
    return TokenRules(settings.token_issuer, settings.token_audience, settings.token_leeway_s)


def _gate_rules(settings: CloudSettings) -> GateRules:
    # Where nobody is asked who they are, only this machine's own may administer.
    anonymous = frozenset(Scope) if _listens_here(settings) else frozenset(Scope) - {Scope.ADMIN}
    return GateRules(
        certificates=settings.tls_client_ca is not None,
        certificate_scopes=frozenset(settings.certificate_scopes),
        bind=settings.bind_tokens,
        anonymous_scopes=anonymous,
    )


def _quota_rules(settings: CloudSettings) -> QuotaRules:
    return QuotaRules(
        calls_per_s=settings.quota_calls_per_s,
        burst_calls=settings.quota_burst_calls,
        bytes_per_s=settings.quota_bytes_per_s,
        burst_bytes=settings.quota_burst_bytes,
        open_calls=settings.quota_open_calls,
    )


def _tracing(settings: CloudSettings, processor: SpanProcessor | None) -> Tracing | None:
    """None where spans would go nowhere: making them would cost time for nothing."""
    if processor is not None:
        return Tracing(processor, ratio=settings.trace_ratio)
    if settings.otlp_endpoint is None:
        return None
    return otlp_tracing(settings.otlp_endpoint, ratio=settings.trace_ratio)


class _RefusalLog:
    """Writes refusals down, within a limit."""

    def __init__(self, events: EventLog | None, clock: Clock) -> None:
        self._events = events
        self._clock = clock
        self._tokens = LOGGED_AT_ONCE
        self._at = clock.monotonic()
        self._missed = 0

    def write(self, method: str, reason: str, request_id: str) -> None:
        """See `interceptors.OnRefusal`."""
        if self._events is None:
            return
        now = self._clock.monotonic()
        refill = (now - self._at) * LOGGED_PER_S
        self._tokens, self._at = min(self._tokens + refill, LOGGED_AT_ONCE), now
        if self._tokens < 1.0:
            self._missed += 1
            return
        self._tokens -= 1.0
        missed, self._missed = self._missed, 0
        self._events.write("refused", method=method, reason=reason, request_id=request_id, unwritten_before=missed)
