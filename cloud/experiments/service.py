"""`wayword.v1.Experiments`: tells phones their arms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import grpc

from cloud.calls import Call, unary
from cloud.experiments.running import Experiments
from cloud.refusals import Reason, Refusal
from shared.clock import Clock
from shared.messages.wayword.v1 import experiments_pb2

EXPERIMENTS_SERVICE: Final = experiments_pb2.DESCRIPTOR.services_by_name["Experiments"].full_name
MAX_DEVICE_CHARACTERS: Final = 64
"""Longest random name of a phone's installation."""


class ExperimentsService:
    """See experiments.proto.

    Args:
        experiments: that run.
        clock: deadlines and measurements.
        default_deadline_s: deadline of a call that states none.
    """

    def __init__(self, experiments: Experiments, *, clock: Clock, default_deadline_s: float) -> None:
        self._experiments = experiments
        self._clock = clock
        self._default_deadline_s = default_deadline_s

    @property
    def name(self) -> str:
        """See `HostedService`."""
        return EXPERIMENTS_SERVICE

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        """See `HostedService`."""
        return {
            "Assign": unary(
                "Assign",
                experiments_pb2.AssignRequest,
                self.assign,
                clock=self._clock,
                default_deadline_s=self._default_deadline_s,
            )
        }

    async def assign(self, request: experiments_pb2.AssignRequest, call: Call) -> experiments_pb2.AssignReply:
        """See experiments.proto. Any caller may ask: what it learns is about itself.

        Raises:
            Refusal: MALFORMED for a name that is too long.
        """
        if len(request.device) > MAX_DEVICE_CHARACTERS:
            raise Refusal(Reason.MALFORMED, f"a device's name has at most {MAX_DEVICE_CHARACTERS} characters")
        # Whoever has a name of the service's knowledge cannot choose another one's arms.
        arms = self._experiments.arms_of(call.caller.device or request.device)
        parameters = self._experiments.phone_parameters(arms)
        return experiments_pb2.AssignReply(
            version=self._experiments.version,
            assignments=[
                experiments_pb2.Assignment(experiment=name, arm=arm, parameters=parameters[name])
                for name, arm in arms.items()
            ],
            refresh_s=self._experiments.configuration.refresh_s,
        )

    async def upkeep(self) -> None:
        """See `HostedService`."""
        await self._experiments.run()

    async def close(self) -> None:
        """See `HostedService`."""
        await self._experiments.close()
