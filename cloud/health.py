"""`wayword-cloud health`: whether a service serves, as an exit code, for supervisors that cannot ask over gRPC."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.errors import CloudUnavailable, StorageError, UsageError

ADDRESS: Final = "127.0.0.1:50051"
TIMEOUT_S: Final = 3.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `health` to `wayword-cloud`."""
    parser = commands.add_parser("health", help="ask a service whether it serves; the exit code says so")
    parser.add_argument("address", nargs="?", default=ADDRESS, metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--ca", type=Path, metavar="F", help="PEM file that signs its certificate: ask over TLS")
    parser.add_argument("--name", default="", metavar="NAME", help="in its certificate, where that is not the host")
    parser.add_argument("--certificate", type=Path, metavar="F", help="PEM of a client, where the service asks for one")
    parser.add_argument("--key", type=Path, metavar="F", help="PEM private key of that certificate")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="S", help="default: %(default)s")
    parser.set_defaults(body=run)


def run(options: argparse.Namespace) -> int:
    """Body of `wayword-cloud health`."""
    check(
        options.address,
        authority=options.ca,
        name=options.name,
        certificate=options.certificate,
        key=options.key,
        timeout=options.timeout,
    )
    return 0


def check(
    address: str,
    *,
    authority: Path | None = None,
    name: str = "",
    certificate: Path | None = None,
    key: Path | None = None,
    timeout: float = TIMEOUT_S,
) -> None:
    """Ask a service by the standard health protocol (`grpc.health.v1`).

    Args:
        address: HOST:PORT.
        authority: PEM file for TLS; None for plain text.
        name: expected in its certificate; empty for the host.
        certificate: PEM file of the asking client; None for none.
        key: its private key.
        timeout: seconds.

    Raises:
        CloudUnavailable: it does not serve.
        StorageError: a PEM file cannot be read.
        UsageError: what goes only together is not together.
    """
    if (certificate is None) != (key is None) or (certificate is not None and authority is None):
        raise UsageError("--certificate goes with --key and --ca")
    options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
    if name:
        options.append(("grpc.ssl_target_name_override", name))
    if authority is None:
        channel = grpc.insecure_channel(address, options=options)
    else:
        credentials = grpc.ssl_channel_credentials(_pem(authority), _pem(key), _pem(certificate))
        channel = grpc.secure_channel(address, credentials, options=options)
    with channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise CloudUnavailable(f"{address} does not answer: {error.code().name}") from error
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        raise CloudUnavailable(f"{address} does not serve now")


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read the certificate {path}: {error.strerror}") from error
