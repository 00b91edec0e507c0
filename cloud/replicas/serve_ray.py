"""`wayword-cloud serve-ray`: the reader's service as a Ray Serve deployment, with this process as its front.

Ray keeps the replicas running, on one machine or on a cluster, and its ingress shares the calls out among them. It has
neither TLS nor tokens for callers, and much of Ray listens on every interface; so callers talk to the front, the
replicas answer nobody else (`cloud.replicas.fronting`), and Ray's own ports ask for a token that only this service has.
A firewall in front of them is wanted all the same.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cloud.replicas.fronting import FrontKey
from cloud.replicas.gateway import serve_gateway
from cloud.settings import CloudSettings
from shared.clock import Clock
from shared.errors import UsageError, WaywordError
from shared.messages.wayword.v1 import cloud_pb2

APPLICATION: Final = "wayword"
ADD_READER: Final = "shared.messages.wayword.v1.cloud_pb2_grpc.add_ReaderServicer_to_server"
ENVIRONMENT: Final = {
    # Ray's own proxy is Python and leaks INTERNAL when a replica dies; HAProxy in front of replicas that serve gRPC
    # themselves does neither.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # A household's service reports to nobody.
    "RAY_USAGE_STATS_ENABLED": "0",
    # A log line a request would be most of the disk's work.
    "RAY_SERVE_LOG_TO_STDERR": "0",
}
"""For Ray, where the user has not said otherwise."""
OBJECT_STORE_BYTES: Final = 100_000_000
"""Ray's shared memory on one machine: calls of 10 kB do not go through it."""
START_SECONDS: Final = 600.0
"""Starting Ray takes half a minute; on a cluster machines may have to be started first."""
STOP_SECONDS: Final = 60.0


class RayFailed(WaywordError):
    """Ray did not start, or did not take the deployment."""


async def serve_ray(
    settings: CloudSettings,
    clock: Clock,
    stop: asyncio.Future[int],
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Start Ray and the front, serve until `stop` has a result, and return it.

    Args:
        settings: of the service and its front; `ray_replicas`, `ray_address` and `ray_port` are for Ray.
        clock: of every wait and deadline.
        stop: gets the exit code when it is time to end.
        say: told in one line where the service is.
        warn: told in one line of what goes wrong without ending it.

    Raises:
        UsageError: Ray is not installed.
        WaywordError: it cannot start.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("Ray is not installed", hint="install 'wayword[cloud-ray]'")
    key = FrontKey()
    try:
        async with asyncio.timeout(START_SECONDS):
            starting = asyncio.create_task(asyncio.to_thread(_start, settings, key))
            await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
            if stop.done():
                return stop.result()
            await starting
        _keep_signals()
        own = settings.model_copy(update={"backends": (f"127.0.0.1:{settings.ray_port}",)})
        return await serve_gateway(
            own,
            clock,
            stop,
            say=say,
            warn=warn,
            front_key=key,
            services=(cloud_pb2.DESCRIPTOR.services_by_name["Reader"],),
        )
    except TimeoutError:
        raise RayFailed(f"Ray did not start within {START_SECONDS:.0f} s") from None
    finally:
        await asyncio.to_thread(_stop, settings)


def deployment_options(settings: CloudSettings) -> dict[str, Any]:
    """How Ray is to run the replicas."""
    return {
        "name": "Reader",
        "num_replicas": settings.ray_replicas,
        # The service admits or refuses by itself, knowing deadlines; Ray only guards against a flood.
        "max_ongoing_requests": settings.max_waiting + 4 * settings.workers,
        "max_queued_requests": settings.max_calls,
        "graceful_shutdown_timeout_s": settings.grace_s,
        "health_check_period_s": 2.0,
        "health_check_timeout_s": 120.0,
        "ray_actor_options": {"num_cpus": settings.workers},
    }


def settings_of_replicas(settings: CloudSettings) -> dict[str, Any]:
    """What replicas are to know: all that is not the default, secrets included, with paths that hold anywhere."""
    found = settings.model_dump(exclude_defaults=True)
    return {name: value.absolute() if isinstance(value, Path) else value for name, value in found.items()}


def _start(settings: CloudSettings, key: FrontKey) -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if settings.ray_address is None and "RAY_AUTH_MODE" not in os.environ:
        # Who reaches the ports of a Ray without this can run what they like.
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    # After the environment: Ray reads it when it is imported.
    import ray
    from ray import serve

    from cloud.replicas.ray_replica import ReaderReplica

    try:
        if settings.ray_address is None:
            ray.init(
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
                object_store_memory=OBJECT_STORE_BYTES,
                num_cpus=max(len(os.sched_getaffinity(0)), settings.ray_replicas * settings.workers),
                _node_ip_address="127.0.0.1",
            )
        else:
            ray.init(address=settings.ray_address, log_to_driver=False, logging_level="error")
        serve.start(
            http_options={"host": "127.0.0.1", "port": settings.ray_port + 1},
            grpc_options={"port": settings.ray_port, "grpc_servicer_functions": [ADD_READER]},
            logging_config={"log_level": "ERROR", "enable_access_log": False},
        )
        deployment = serve.deployment(**deployment_options(settings))(ReaderReplica)
        serve.run(
            deployment.bind(settings_of_replicas(settings), key.value),
            name=APPLICATION,
            route_prefix="/wayword",
        )
    except Exception as error:
        # Ray raises what it likes: all of it means that there is no service.
        lines = str(error).strip().splitlines()
        raise RayFailed(f"Ray does not serve: {lines[-1] if lines else type(error).__name__}") from error


def _keep_signals() -> None:
    """Take SIGTERM and SIGINT back: Ray has put handlers of its own, which end the process, below Python's."""
    for number in (signal.SIGTERM, signal.SIGINT):
        if (handler := signal.getsignal(number)) is not None:
            signal.signal(number, handler)
            # As asyncio has it: system calls go on after a signal.
            signal.siginterrupt(number, False)


def _stop(settings: CloudSettings) -> None:
    import ray
    from ray import serve

    if not ray.is_initialized():
        return
    if settings.ray_address is not None:
        serve.delete(APPLICATION)
    # What was started here ends with this process; `serve.shutdown` would wait half a minute for the same.
    ray.shutdown()
