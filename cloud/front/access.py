"""Which right each method asks for."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from grpc_health.v1 import health_pb2

from cloud.callers import Scope
from shared.messages.wayword.v1 import cloud_pb2, experiments_pb2, packs_pb2, places_pb2, telemetry_pb2


class Open(StrEnum):
    """Needs that are no scope."""

    ANYBODY = "anybody"
    """Even who does not say who they are."""
    KNOWN = "known"
    """Whoever may call anything at all."""


Need = Scope | Open

_READER: Final = cloud_pb2.DESCRIPTOR.services_by_name["Reader"].full_name
_PACKS: Final = packs_pb2.DESCRIPTOR.services_by_name["Packs"].full_name
_PLACES: Final = places_pb2.DESCRIPTOR.services_by_name["Places"].full_name
_TELEMETRY: Final = telemetry_pb2.DESCRIPTOR.services_by_name["Telemetry"].full_name
_EXPERIMENTS: Final = experiments_pb2.DESCRIPTOR.services_by_name["Experiments"].full_name
_HEALTH: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

NEEDS: Final[Mapping[str, Need]] = {
    f"/{_READER}/ReadStrip": Scope.READ,
    f"/{_READER}/Translate": Scope.READ,
    f"/{_READER}/ReadStrips": Scope.BATCH,
    f"/{_PACKS}/Catalogue": Scope.PACKS,
    f"/{_PACKS}/Manifest": Scope.PACKS,
    f"/{_PACKS}/Fetch": Scope.PACKS,
    f"/{_PLACES}/Lookup": Scope.PLACES,
    f"/{_PLACES}/Contribute": Scope.PLACES,
    f"/{_PLACES}/Forget": Scope.PLACES,
    f"/{_TELEMETRY}/Report": Scope.TELEMETRY,
    f"/{_EXPERIMENTS}/Assign": Scope.READ,
    # A load balancer asks without a token and learns nothing else. A watch stays open: for those who are known.
    f"/{_HEALTH}/Check": Open.ANYBODY,
    f"/{_HEALTH}/Watch": Open.KNOWN,
    # The methods are in the open source; the point is that a stream stays open.
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Open.KNOWN,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": Open.KNOWN,
}
"""By full name of the method, as in the path of a call."""


def need_of(method: str) -> Need:
    """What a caller of a method needs. A method that was forgotten here is the administrator's."""
    return NEEDS.get(method, Scope.ADMIN)
