"""Limits on connections, so that nobody can hold the port by doing nothing, slowly, or too much."""

from __future__ import annotations

import resource
from typing import Final

from cloud.settings import CloudSettings
from shared.limits import MAX_RPC_BYTES

METADATA_BYTES: Final = 8 * 1024
"""Above this gRPC refuses some calls, as it likes, and all above twice as much. A token has half a kilobyte."""
STREAMS_PER_CONNECTION: Final = 256
"""Calls open at once on one connection; gRPC's clients wait with more."""
PING_EVERY_S: Final = 60.0
"""The server asks connections this often whether anybody is there."""
PING_TIMEOUT_S: Final = 20.0
CLIENT_PING_S: Final = 20.0
"""A client that pings more often than this is sent away; phones ping once a minute while a call is under way."""
AGE_GRACE_S: Final = 30.0
"""Calls under way on a connection that has reached its age get this long."""
OTHER_FILES: Final = 512
"""Open files besides connections: models, logs, databases."""


def connection_options(settings: CloudSettings) -> list[tuple[str, int]]:
    """gRPC's options for a port open to strangers."""
    return [
        ("grpc.max_receive_message_length", MAX_RPC_BYTES),
        ("grpc.max_send_message_length", MAX_RPC_BYTES),
        # Without this a second service on a taken port would quietly share its calls.
        ("grpc.so_reuseport", 0),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES),
        ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION),
        # Who connects and says nothing, or little by little, is cut off.
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.server_handshake_timeout_ms", _ms(settings.handshake_timeout_s)),
        ("grpc.http2.settings_timeout", _ms(settings.handshake_timeout_s)),
        ("grpc.max_connection_idle_ms", _ms(settings.connection_idle_s)),
        ("grpc.max_connection_age_ms", _ms(settings.connection_age_s)),
        ("grpc.max_connection_age_grace_ms", _ms(AGE_GRACE_S)),
        # Who is gone without a word is noticed; this also becomes TCP_USER_TIMEOUT, for those who do not read.
        ("grpc.keepalive_time_ms", _ms(PING_EVERY_S)),
        ("grpc.keepalive_timeout_ms", _ms(PING_TIMEOUT_S)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", _ms(CLIENT_PING_S)),
        ("grpc.http2.max_ping_strikes", 2),
    ]


def allow_open_files(connections: int) -> int:
    """Raise this process's own limit of open files to what the connections need, as far as the system lets it.

    Args:
        connections: wanted.

    Returns:
        The limit now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)
