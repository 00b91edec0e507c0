"""The phone's part in experiments: it asks which arms it is in, and takes over what they may set.

Whatever the cloud says, the phone changes only what is on the list (`shared.experiments`), only within the list's
ranges, and never what the wearer has set. Nothing on the list touches privacy: rules of the wearer stand above every
policy. Without the cloud the last answer holds for a week, and after that the phone is as it was made.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from google.protobuf.message import Message

from phone.cascade.inputs import NetworkKind
from phone.database import Database
from phone.network import NetworkState
from phone.settings import PhoneSettings
from shared.clock import Clock
from shared.errors import CloudError, StorageError, UsageError
from shared.events import EventLog
from shared.experiments import MAX_EXPERIMENTS, NAME, PHONE_PARAMETERS, PhoneValue, phone_value, written
from shared.messages.wayword.v1 import experiments_pb2
from shared.wire.waiting import Backoff

ASSIGN: Final = f"/{experiments_pb2.DESCRIPTOR.services_by_name['Experiments'].full_name}/Assign"
CALL_S: Final = 5.0
LEAST_REFRESH_S: Final = 60.0
MOST_REFRESH_S: Final = 7 * 86_400.0
KEPT_S: Final = 7 * 86_400.0
"""How long an answer holds that nobody confirms: an arm that was switched off must not live on in a drawer."""
RETRY_FIRST_S: Final = 60.0
RETRY_CAP_S: Final = 3600.0
_KEY: Final = "experiments"
_DEVICE_KEY: Final = "installation"

ReplyT = TypeVar("ReplyT", bound=Message)


class AssignChannel(Protocol):
    """Carries the question; `phone.cloud_channel.CloudChannel` in production."""

    async def connect(self, deadline: float, *, method: str = "") -> None:
        """See `CloudChannel.connect`."""
        ...

    async def call(
        self,
        method: str,
        request: Message,
        reply_class: type[ReplyT],
        *,
        timeout: float,  # noqa: ASYNC109 - it goes on to the cloud
    ) -> ReplyT:
        """See `CloudChannel.call`."""
        ...


@dataclass(frozen=True, slots=True)
class Assigned:
    """What the cloud said last.

    Attributes:
        arms: experiment to arm.
        parameters: settings that the arms set, by name.
        refresh_s: seconds after which to ask again.
        asked_s: when it was said, in Unix seconds.
    """

    arms: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, PhoneValue] = field(default_factory=dict)
    refresh_s: float = 3600.0
    asked_s: float = 0.0

    def applied(self, settings: PhoneSettings) -> PhoneSettings:
        """The settings with what the arms set; what the wearer has set stays."""
        changes: dict[str, Any] = {
            name: value for name, value in self.parameters.items() if name not in settings.model_fields_set
        }
        if not changes:
            return settings
        # Not `model_copy`: these values come from outside, and are to pass the settings' own checks.
        return type(settings)(**{**settings.model_dump(), **changes})


NOTHING: Final = Assigned()


def assigned_of(reply: experiments_pb2.AssignReply, *, now_s: float) -> tuple[Assigned, list[str]]:
    """What a reply means to this phone, and what of it was not taken.

    Args:
        reply: of the cloud; nothing of it is trusted.
        now_s: Unix seconds.
    """
    arms: dict[str, str] = {}
    parameters: dict[str, PhoneValue] = {}
    refused: list[str] = []
    for assignment in reply.assignments[:MAX_EXPERIMENTS]:
        if not NAME.fullmatch(assignment.experiment) or not NAME.fullmatch(assignment.arm):
            refused.append("an experiment with a malformed name")
            continue
        arms[assignment.experiment] = assignment.arm
        for name, text in sorted(assignment.parameters.items())[: len(PHONE_PARAMETERS)]:
            try:
                parameters[name] = phone_value(name, text)
            except UsageError as error:
                refused.append(error.message)
    refresh_s = min(max(float(reply.refresh_s), LEAST_REFRESH_S), MOST_REFRESH_S)
    return Assigned(arms, parameters, refresh_s, now_s), refused


class ExperimentsClient:
    """Asks, remembers, and tells.

    Args:
        database: remembers the last answer, and the random name of this installation.
        channel: to the cloud.
        clock: of waits, and of the age of an answer.
        events: the log.
        network: it asks only over one that is known to cost nothing.
        use: told what is in force, at the start and whenever it changes.
        named: whether the cloud knows this phone by a token or certificate: then it is told no other name.
        backoff: pauses after failures.
        allowed: whether the wearer lets anything go to the cloud now; runs in a thread.
    """

    def __init__(
        self,
        database: Database,
        channel: AssignChannel,
        *,
        clock: Clock,
        events: EventLog,
        network: Callable[[], NetworkState],
        use: Callable[[Assigned], Awaitable[None]],
        named: bool,
        backoff: Backoff,
        allowed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._database = database
        self._channel = channel
        self._clock = clock
        self._events = events
        self._network = network
        self._use = use
        self._named = named
        self._backoff = backoff
        self._allowed = allowed
        self._current = NOTHING

    @property
    def arms(self) -> Mapping[str, str]:
        """Experiment to arm, as it is in force."""
        return self._current.arms

    async def remember(self) -> None:
        """Go on with the last answer, if it is not too old."""
        try:
            kept = await asyncio.to_thread(self._read)
        except StorageError as error:
            self._events.write("storage_failed", error=type(error).__name__, reason=str(error))
            return
        if kept is not None and 0 <= self._clock.wall() - kept.asked_s < KEPT_S:
            await self._take(kept)

    async def run(self) -> None:
        """Ask now and then, until cancelled."""
        while True:
            await self._clock.sleep(await self.ask())

    async def ask(self) -> float:
        """Ask, where that is cheap now.

        Returns:
            Seconds until the next time.
        """
        if self._current is not NOTHING and self._clock.wall() - self._current.asked_s >= KEPT_S:
            await self._take(NOTHING)
        network = self._network()
        if network.metered or network.kind not in {NetworkKind.WIFI, NetworkKind.CELLULAR}:
            return LEAST_REFRESH_S
        try:
            if not await asyncio.to_thread(self._allowed):
                return LEAST_REFRESH_S
            device = "" if self._named else await asyncio.to_thread(self._device)
            await self._channel.connect(self._clock.monotonic() + CALL_S, method=ASSIGN)
            request = experiments_pb2.AssignRequest(device=device)
            reply = await self._channel.call(ASSIGN, request, experiments_pb2.AssignReply, timeout=CALL_S)
            assigned, refused = assigned_of(reply, now_s=self._clock.wall())
            if refused:
                self._events.write("experiments_refused", reasons=refused[:8])
            await asyncio.to_thread(self._write, assigned)
        except CloudError:
            return self._backoff.next()
        except StorageError as error:
            # What cannot be remembered is not begun: after a restart the phone would be another one.
            self._events.write("storage_failed", error=type(error).__name__, reason=str(error))
            return LEAST_REFRESH_S
        self._backoff.reset()
        await self._take(assigned)
        return assigned.refresh_s

    async def _take(self, assigned: Assigned) -> None:
        before, self._current = self._current, assigned
        if (before.arms, before.parameters) != (assigned.arms, assigned.parameters):
            self._events.write("experiments_assigned", arms=dict(assigned.arms), parameters=dict(assigned.parameters))
            await self._use(assigned)

    def _device(self) -> str:
        """A random name; only a cloud that does not know its callers looks at it, and never with a sign."""
        rows = self._database.query("SELECT value FROM kept WHERE key = ?", (_DEVICE_KEY,))
        if rows:
            return str(rows[0][0])
        device = uuid.uuid4().hex
        self._database.execute("INSERT INTO kept (key, value) VALUES (?, ?)", (_DEVICE_KEY, device))
        return device

    def _read(self) -> Assigned | None:
        rows = self._database.query("SELECT value FROM kept WHERE key = ?", (_KEY,))
        if not rows:
            return None
        try:
            document = json.loads(str(rows[0][0]))
            # Checked anew: another version wrote it, perhaps with another list.
            parameters = {
                name: phone_value(name, text)
                for name, text in document["parameters"].items()
                if name in PHONE_PARAMETERS
            }
            arms = {str(name): str(arm) for name, arm in document["arms"].items()}
            return Assigned(arms, parameters, float(document["refresh_s"]), float(document["asked_s"]))
        except (ValueError, KeyError, TypeError, AttributeError, UsageError):
            return None  # nothing is lost by asking again

    def _write(self, assigned: Assigned) -> None:
        document = {
            "arms": dict(assigned.arms),
            "parameters": {name: written(value) for name, value in assigned.parameters.items()},
            "refresh_s": assigned.refresh_s,
            "asked_s": assigned.asked_s,
        }
        self._database.execute(
            "INSERT OR REPLACE INTO kept (key, value) VALUES (?, ?)", (_KEY, json.dumps(document, sort_keys=True))
        )


def forget(database: Database) -> None:
    """Forget the last answer, and the random name.

    Raises:
        StorageError: the disk refuses.
    """
    database.execute("DELETE FROM kept WHERE key IN (?, ?)", (_KEY, _DEVICE_KEY))
