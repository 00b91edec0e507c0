"""`wayword.v1.Places`: look-ups, contributions, and taking them back."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import grpc

from cloud.callers import Scope
from cloud.calls import Call, unary
from cloud.places.sharing import SharedPlaces
from cloud.places.store import Taken
from cloud.refusals import Reason, Refusal
from shared.clock import Clock
from shared.errors import StorageError
from shared.events import EventLog
from shared.limits import MAX_CONTRIBUTED_SIGNS, MAX_LOOKUP_CELLS, MAX_LOOKUP_SIGNS
from shared.messages.wayword.v1 import places_pb2
from shared.places.cells import check_cell
from shared.places.memory import DAY_S
from shared.places.messages import reading_of, to_message

PLACES_SERVICE: Final = places_pb2.DESCRIPTOR.services_by_name["Places"].full_name
SWEEP_S: Final = 3600.0
"""How often votes past their time are removed; they count for nothing before that."""
_LANGUAGE: Final = re.compile(r"[a-z]{2}")

logger = logging.getLogger("wayword.cloud")


class PlacesService:
    """The RPCs of places; see places.proto. Needs the scope PLACES.

    Args:
        places: what is known; closed with the service.
        clock: deadlines and measurements.
        events: one event per call, without content.
        default_deadline_s: deadline of a call that states none.
    """

    def __init__(self, places: SharedPlaces, *, clock: Clock, events: EventLog, default_deadline_s: float) -> None:
        self._places = places
        self._clock = clock
        self._events = events
        self._default_deadline_s = default_deadline_s

    @property
    def name(self) -> str:
        """See `HostedService`."""
        return PLACES_SERVICE

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """See `HostedService`."""
        return {
            "Lookup": unary(
                "Lookup",
                places_pb2.LookupRequest,
                self.lookup,
                clock=self._clock,
                default_deadline_s=self._default_deadline_s,
                on_end=lambda request, outcome, seconds: self._record(
                    "places_lookup", len(request.cells), outcome, seconds
                ),
            ),
            "Contribute": unary(
                "Contribute",
                places_pb2.ContributeRequest,
                self.contribute,
                clock=self._clock,
                default_deadline_s=self._default_deadline_s,
                on_end=lambda request, outcome, seconds: self._record(
                    "places_contribute", len(request.signs), outcome, seconds
                ),
            ),
            "Forget": unary(
                "Forget",
                places_pb2.ForgetRequest,
                self.forget,
                clock=self._clock,
                default_deadline_s=self._default_deadline_s,
                on_end=lambda _, outcome, seconds: self._record("places_forget", 0, outcome, seconds),
            ),
        }

    async def lookup(self, request: places_pb2.LookupRequest, call: Call) -> places_pb2.LookupReply:
        """Signs of the cells asked for, most trusted first, at most `MAX_LOOKUP_SIGNS`.

        Raises:
            Refusal: the caller may not, or asks for too many cells.
            InputError: a cell or the target is malformed.
            StorageError: the store fails.
        """
        _require(call)
        if len(request.cells) > MAX_LOOKUP_CELLS:
            raise Refusal(Reason.QUOTA, f"at most {MAX_LOOKUP_CELLS} cells in one look-up")
        if not _LANGUAGE.fullmatch(request.target):
            raise Refusal(Reason.MALFORMED, "the target is no lower-case ISO 639-1 code")
        cells = [check_cell(cell) for cell in request.cells]
        found = await self._places.recall(cells, request.target)
        return places_pb2.LookupReply(signs=[to_message(sign) for sign in found[:MAX_LOOKUP_SIGNS]])

    async def contribute(self, request: places_pb2.ContributeRequest, call: Call) -> places_pb2.ContributeReply:
        """Count readings as the calling device's.

        Raises:
            Refusal: the caller may not, sends too many at once, or has had its share for today.
            InputError: one of them is malformed; none was taken.
            StorageError: the store fails; those before it were taken, and sending all again is harmless.
        """
        _require(call)
        if len(request.signs) > MAX_CONTRIBUTED_SIGNS:
            raise Refusal(Reason.QUOTA, f"at most {MAX_CONTRIBUTED_SIGNS} readings in one contribution")
        readings = [reading_of(sign) for sign in request.signs]
        accepted = 0
        for reading in readings:
            taken = await self._places.contribute(reading, device=call.caller.device)
            if taken is Taken.DEVICE_FULL:
                until = DAY_S - self._clock.wall() % DAY_S
                raise Refusal(Reason.QUOTA, "this device has contributed enough for today", retry_after_s=until)
            accepted += taken is Taken.YES
        return places_pb2.ContributeReply(accepted=accepted)

    async def forget(self, request: places_pb2.ForgetRequest, call: Call) -> places_pb2.ForgetReply:
        """Withdraw all that the calling device contributed.

        Raises:
            Refusal: the caller may not.
            StorageError: the store fails; what is left is withdrawn by calling again.
        """
        del request
        _require(call)
        return places_pb2.ForgetReply(forgotten=await self._places.forget(device=call.caller.device))

    async def upkeep(self) -> None:
        """Remove votes past their time, now and every hour."""
        while True:
            try:
                removed = await self._places.expire()
            except StorageError as error:
                logger.warning("old places could not be removed: %s", error.message)
            else:
                self._events.write("places_expired", votes=removed)
            await self._clock.sleep(SWEEP_S)

    async def close(self) -> None:
        """See `HostedService`."""
        await self._places.close()

    def _record(self, event: str, items: int, outcome: str, seconds: float) -> None:
        self._events.write(event, items=items, outcome=outcome, ms=round(seconds * 1e3, 3))


def _require(call: Call) -> None:
    if Scope.PLACES not in call.caller.scopes:
        raise Refusal(Reason.FORBIDDEN, "the caller has no right to places")
