"""`wayword.v1.Telemetry`: takes what phones report, each record once, and nothing that is not on the lists.

Nothing about the caller is kept with a record; who may call at all, and how often, is decided before (`cloud.callers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc

from cloud.callers import Scope
from cloud.calls import Call, unary
from cloud.experiments.running import Experiments
from cloud.refusals import Reason, Refusal
from cloud.telemetry.store import Taken, TelemetryStore
from shared.clock import Clock
from shared.errors import InputError, StorageError, reason_of
from shared.events import EventLog
from shared.messages.wayword.v1 import telemetry_pb2
from shared.telemetry import MAX_RECORDS, check

TELEMETRY_SERVICE: Final = telemetry_pb2.DESCRIPTOR.services_by_name["Telemetry"].full_name
MAX_WAITING: Final = 32
"""Reports that may wait for the disk; phones come back later."""
RETRY_S: Final = 30.0
"""When to come back after a refusal for want of room: nobody waits for telemetry."""
PRUNE_S: Final = 300.0


class TelemetryService:
    """See telemetry.proto.

    Args:
        open_store: makes the store, at the first report; runs in a thread.
        experiments: whose arms phones report about.
        text_allowed: whether texts of wearers who opted in are kept.
        clock: wall time of retention.
        events: one "telemetry" event per report, with counts only.
        default_deadline_s: deadline of a call that states none.
        is_there: whether an earlier run has left a store; runs in a thread.
    """

    def __init__(
        self,
        open_store: Callable[[], TelemetryStore],
        *,
        experiments: Experiments,
        text_allowed: bool,
        clock: Clock,
        events: EventLog,
        default_deadline_s: float,
        is_there: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_there = is_there
        self._open_store = open_store
        self._store: TelemetryStore | None = None
        self._experiments = experiments
        self._text_allowed = text_allowed
        self._clock = clock
        self._events = events
        self._default_deadline_s = default_deadline_s
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0

    @property
    def name(self) -> str:
        """See `HostedService`."""
        return TELEMETRY_SERVICE

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """See `HostedService`."""
        return {
            "Report": unary(
                "Report",
                telemetry_pb2.ReportRequest,
                self.report,
                clock=self._clock,
                default_deadline_s=self._default_deadline_s,
            )
        }

    async def report(self, request: telemetry_pb2.ReportRequest, call: Call) -> telemetry_pb2.ReportReply:
        """See telemetry.proto.

        Raises:
            Refusal: FORBIDDEN, MALFORMED, or OVERLOADED and EXPIRED when the disk is too slow.
            StorageError: the disk refuses; nothing was taken.
        """
        if Scope.TELEMETRY not in call.caller.scopes:
            raise Refusal(Reason.FORBIDDEN, "this caller may not report")
        if len(request.records) > MAX_RECORDS:
            raise Refusal(Reason.MALFORMED, f"a report has at most {MAX_RECORDS} records")
        if not all(record.id for record in request.records):
            raise Refusal(Reason.MALFORMED, "a record has no id")
        sound: list[telemetry_pb2.TelemetryRecord] = []
        refused: list[str] = []
        for record in request.records:
            try:
                check(record, text_allowed=self._text_allowed)
            except InputError:
                refused.append(record.id)
            else:
                sound.append(record)
        if self._waiting >= MAX_WAITING:
            raise Refusal(Reason.OVERLOADED, "too many reports wait for the disk", retry_after_s=RETRY_S)
        self._waiting += 1
        try:
            async with self._one_at_a_time:
                if self._clock.monotonic() >= call.deadline:
                    raise Refusal(Reason.EXPIRED, "the deadline passed while the report waited")
                taken = await asyncio.to_thread(self._take, sound)
        finally:
            self._waiting -= 1
        for record in taken.fresh:
            if record.kind == "cloud_call":
                milliseconds = record.numbers.get("ms")
                self._experiments.observe_phone(
                    dict(record.arms),
                    record.labels.get("outcome", ""),
                    None if milliseconds is None else milliseconds / 1e3,
                )
        refused += taken.too_old
        self._events.write("telemetry", accepted=len(taken.fresh), duplicates=taken.duplicates, refused=len(refused))
        return telemetry_pb2.ReportReply(accepted=len(taken.fresh), duplicates=taken.duplicates, refused=refused)

    def _take(self, records: list[telemetry_pb2.TelemetryRecord]) -> Taken:
        if self._store is None:
            self._store = self._open_store()
        return self._store.take(records, now_ms=int(self._clock.wall() * 1000), known_arms=self._experiments.existing)

    async def upkeep(self) -> None:
        """Delete what is too old or too much, now and then, until cancelled."""
        while True:
            async with self._one_at_a_time:
                try:
                    await asyncio.to_thread(self._prune)
                except (StorageError, OSError) as error:
                    self._events.write("telemetry_failed", reason=reason_of(error))
            await self._clock.sleep(PRUNE_S)

    def _prune(self) -> None:
        # Also where nobody reports any more: what is there has its time all the same.
        if self._store is None and self._is_there():
            self._store = self._open_store()
        if self._store is not None:
            self._store.prune(now_ms=int(self._clock.wall() * 1000))

    async def close(self) -> None:
        """See `HostedService`."""
        async with self._one_at_a_time:
            if self._store is not None:
                self._store.close()
                self._store = None
