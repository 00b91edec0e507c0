"""The endpoint as part of the service: from the settings to something that improves answers, or to nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cloud.front.metrics import CloudMetrics
from cloud.reading.improving import Improver
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import StorageError, UsageError

MAX_KEY_BYTES: Final = 4096


class HostedEndpoint:
    """The endpoint while the service runs, or nothing where none is asked for.

    Args:
        use: improves answers; None for nothing.
        close: called at the end.
    """

    def __init__(self, use: Improver | None = None, close: Callable[[], Awaitable[None]] | None = None) -> None:
        self.use = use
        self._close = close

    async def close(self) -> None:
        """Close its connections."""
        if self._close is not None:
            await self._close()


def open_endpoint(
    settings: CloudSettings, clock: Clock, metrics: CloudMetrics, *, on_spent: Callable[[float], None] | None = None
) -> HostedEndpoint:
    """What the settings ask for. Nothing is sent yet.

    Args:
        settings: of the service.
        clock: measures.
        metrics: gets the endpoint's.
        on_spent: told the money of each call, in the task of the read that asked.

    Raises:
        UsageError: settings are missing, or the key would go over the network in plain text.
        StorageError: the key or the file of costs cannot be read.
    """
    if settings.endpoint_url is None:
        return HostedEndpoint()
    # Here, because it takes a second that a service without an endpoint need not wait for.
    from cloud.endpoint.client import EndpointClient
    from cloud.endpoint.costs import Ledger, Prices
    from cloud.endpoint.model import Ending, Endpoint
    from cloud.endpoint.use import EndpointUse

    _check_address(settings.endpoint_url)
    if not settings.endpoint_model:
        raise UsageError("the endpoint needs a model", hint="set endpoint_model to the name it has there")
    if settings.endpoint_price_in is None or settings.endpoint_price_out is None:
        raise UsageError(
            "the endpoint needs its prices, or its daily cap would mean nothing",
            hint="set endpoint_price_in and endpoint_price_out, money for a million tokens; 0 for a model of your own",
        )
    ledger = Ledger(
        settings.endpoint_costs if settings.endpoint_costs is not None else _default_costs(),
        prices=Prices(settings.endpoint_price_in, settings.endpoint_price_out),
        daily_cap=settings.endpoint_daily_cap,
        clock=clock,
    )
    if on_spent is not None:
        ledger.on_spent = on_spent
    counters = {
        ending: metrics.counter(
            f"wayword_endpoint_{ending.value}", f"Questions to the endpoint that ended {ending.value}."
        )
        for ending in Ending
    }
    endpoint = Endpoint(
        EndpointClient(url=settings.endpoint_url, model=settings.endpoint_model, key=_key(settings), clock=clock),
        ledger,
        mode=settings.endpoint_mode,
        clock=clock,
        max_seconds=settings.endpoint_timeout_s,
        max_open=settings.endpoint_calls,
        on_end=lambda ending: counters[ending](1),
    )
    metrics.gauge("wayword_endpoint_spent_today", "Money the endpoint cost today (UTC).", lambda: ledger.spent)
    metrics.gauge(
        "wayword_endpoint_daily_cap", "Most money the endpoint may cost a day.", lambda: settings.endpoint_daily_cap
    )
    metrics.gauge(
        "wayword_endpoint_tokens_today",
        "Tokens of the endpoint's answers and questions today (UTC).",
        lambda: ledger.tokens.prompt + ledger.tokens.completion,
    )
    metrics.gauge(
        "wayword_endpoint_is_resting", "1 while it failed too often to be asked.", lambda: endpoint.is_resting
    )
    return HostedEndpoint(EndpointUse(endpoint, model=settings.endpoint_model, clock=clock), endpoint.close)


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise UsageError("endpoint_url is no address", hint="write https://HOST/v1") from None
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or parts.username:
        raise UsageError("endpoint_url is not of the form https://HOST/v1", hint="the key has a setting of its own")
    if parts.scheme == "http" and not _is_here(host):
        raise UsageError(
            "the key and what is on signs would go to the endpoint in plain text",
            hint="use https, or http with a loopback address",
        )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key(settings: CloudSettings) -> str:
    if settings.endpoint_key_file is None:
        if settings.endpoint_key is None:
            return ""
        key = settings.endpoint_key.get_secret_value().strip()
        if not _is_key(key):
            raise UsageError("endpoint_key is no key", hint="a key has printable ASCII characters and no spaces")
        return key
    if settings.endpoint_key is not None:
        raise UsageError("endpoint_key and endpoint_key_file are both set", hint="set one of them")
    path = settings.endpoint_key_file
    try:
        with path.open("rb") as file:
            content = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    key = content.decode("ascii", "replace").strip()
    if len(content) > MAX_KEY_BYTES or not _is_key(key):
        raise StorageError(f"{path} does not hold a key in its one line")
    return key


def _is_key(key: str) -> bool:
    """Whether it can stand in a header as it is."""
    return bool(key) and len(key) <= MAX_KEY_BYTES and key.isascii() and key.isprintable() and " " not in key


def _default_costs() -> Path:
    import platformdirs  # only here, as in `shared.models.packs`

    return Path(platformdirs.user_state_dir("wayword", appauthor=False)) / "endpoint-costs.json"
