"""How a plain gRPC client should call the cloud: over every replica, and once more where a call was not served.

Wayword's phone does its own retrying and hedging (it counts bytes and knows its battery); this is for everybody else,
and for the cloud's own gateway. It is a gRPC service config, which every gRPC library takes as channel option
``grpc.service_config``: https://grpc.io/docs/guides/retry/ and gRFC A6.
"""

from __future__ import annotations

import json
from typing import Any, Final

RETRYABLE: Final = ("UNAVAILABLE", "CANCELLED")
"""Status codes of a call that no replica has answered: the connection broke, or the replica drains; CANCELLED, where
the client itself did not cancel, is how a replica ends calls that outlast its grace.

Not INTERNAL or DEADLINE_EXCEEDED: another replica has the same models and no more time.
"""
FULL: Final = "RESOURCE_EXHAUSTED"
"""The answer of an overloaded service. A client repeats it, and not at once, which would keep the service overloaded:
the service itself says in ``grpc-retry-pushback-ms`` (gRFC A6) after how long, or that it is pointless. The gateway
does not: it passes the answer on.
"""
SERVICE_CONFIG: Final[dict[str, Any]] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "wayword.v1.Reader"}],
            "retryPolicy": {
                # 1.5 s of waiting in all, more than a client takes to be back at a replica that has started anew: in
                # a rolling restart the other one may stop in that moment.
                "maxAttempts": 5,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": [*RETRYABLE, FULL],
            },
        }
    ],
    # When more than half of the calls fail, retries stop: they would only add to what the service suffers from.
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.5},
}
"""Calls of `Reader` only: they are idempotent (see `idempotency_key`), whatever became of the first attempt."""


def channel_options(*, retries: bool = True) -> tuple[tuple[str, str | int], ...]:
    """Options of a channel under this policy.

    Args:
        retries: False for the same balancing without them.
    """
    config = SERVICE_CONFIG if retries else {"loadBalancingConfig": SERVICE_CONFIG["loadBalancingConfig"]}
    return (
        ("grpc.service_config", json.dumps(config)),
        ("grpc.enable_retries", int(retries)),
        # What a name server says of the service config is no business of this client.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    )
