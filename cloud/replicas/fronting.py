"""What goes with a forwarded call: the caller's own metadata, and for replicas that check nobody, who the caller is.

Ray's ingress listens on every interface and knows no tokens. The front that starts it therefore makes a key at random,
gives it to the replicas, and sends it with every call; a call without it is refused. So whoever reaches Ray's port
directly gets nothing, and what the front says of a caller can be believed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cloud.callers import Caller, Scope
from cloud.calls import PUSHBACK_KEY
from cloud.refusals import Reason, Refusal

KEY: Final = "wayword-front-key"
TIMEOUT_MS: Final = "wayword-timeout-ms"
"""Milliseconds the caller still waits: Ray does not tell its replicas the deadline of a call."""
DEVICE: Final = "wayword-device"
SCOPES: Final = "wayword-scopes"
REQUEST_ID: Final = "wayword-request-id"
ANSWERED: Final = "wayword-answered"
"""Trailing metadata of whatever a replica itself answers, its failures included. Without it a failure is that of what
lies between, such as Ray's proxy, whose UNKNOWN and INTERNAL only say that a replica has gone."""
OWN: Final = frozenset({KEY, TIMEOUT_MS, DEVICE, SCOPES, REQUEST_ID, ANSWERED})
"""Only a front and its replicas say these; from anybody else they are dropped."""
_OF_THE_HOP: Final = frozenset({"user-agent", "te", "content-type", "host", "connection", "accept-encoding"})
"""Headers that belong to one connection."""


def passed_on(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[tuple[str, str], ...]:
    """Metadata that goes on with a call, or comes back with its answer: all but the hop's own and the front's own."""
    return tuple(
        (name, value)
        for name, value in metadata
        if isinstance(value, str)
        and (name == PUSHBACK_KEY or not name.startswith(("grpc-", ":")))
        and name not in _OF_THE_HOP
        and name not in OWN
    )


@dataclass(frozen=True, slots=True)
class FrontCall:
    """What a front says of a call.

    Attributes:
        caller: whom it has checked.
        seconds: that the caller still waits.
    """

    caller: Caller
    seconds: float


class FrontKey:
    """The key that a front and its replicas share.

    Args:
        value: the key; None for a new one.
    """

    def __init__(self, value: str | None = None) -> None:
        self.value = value if value is not None else secrets.token_urlsafe(32)

    def __repr__(self) -> str:
        return "FrontKey(…)"  # it is a secret, and logs print objects

    def metadata(self, caller: Caller, seconds: float) -> tuple[tuple[str, str], ...]:
        """What is sent with a call."""
        found = [(KEY, self.value), (TIMEOUT_MS, str(max(round(seconds * 1e3), 0)))]
        if caller.device:
            found.append((DEVICE, caller.device))
        if caller.request_id:
            found.append((REQUEST_ID, caller.request_id))
        found.append((SCOPES, ",".join(sorted(scope.value for scope in caller.scopes))))
        return tuple(found)

    def check(self, metadata: Sequence[tuple[str, str]], *, default_seconds: float) -> FrontCall:
        """What a front said.

        Args:
            metadata: of the call.
            default_seconds: where it says no time.

        Raises:
            Refusal: UNAUTHENTICATED: no front sent this.
        """
        found: Mapping[str, str] = dict(metadata)
        if not hmac.compare_digest(found.get(KEY, "").encode(), self.value.encode()):
            raise Refusal(Reason.UNAUTHENTICATED, "this address is not for callers")
        stated = found.get(TIMEOUT_MS, "")
        seconds = int(stated) / 1e3 if stated.isascii() and stated.isdigit() else default_seconds
        known = {scope.value: scope for scope in Scope}
        names = found.get(SCOPES, "").split(",")
        scopes = frozenset(known[name] for name in names if name in known)
        return FrontCall(Caller(found.get(DEVICE, ""), scopes, found.get(REQUEST_ID, "")), seconds)
