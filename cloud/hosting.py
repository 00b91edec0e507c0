"""What the server asks of each service it hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import grpc


class HostedService(Protocol):
    """One gRPC service with its upkeep."""

    @property
    def name(self) -> str:
        """Full name, such as "wayword.v1.Reader"."""
        ...

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """Its methods by name; see `cloud.calls.unary`."""
        ...

    async def upkeep(self) -> None:
        """Do what has to be done now and then, until cancelled. Returns at once where there is nothing."""
        ...

    async def close(self) -> None:
        """Return when everything under way is done; no call comes any more."""
        ...
