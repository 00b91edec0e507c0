"""From what a call shows of itself, a token or a certificate, to a `Caller`, or a refusal."""

from __future__ import annotations

import re
import secrets
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from cloud.callers import Caller, Scope
from cloud.front.access import Need, Open
from cloud.front.quotas import Account, QuotaRules, Quotas, address_of
from cloud.front.tokens import DEVICE, Identity, TokenChecker, unauthenticated
from cloud.refusals import Reason, Refusal
from shared.clock import Clock

REQUEST_ID_KEY: Final = "x-request-id"
"""Metadata that names a call, there and back."""
CHECKS: Final = QuotaRules(calls_per_s=200.0, burst_calls=1000.0, bytes_per_s=0.0, open_calls=0)
"""How many tokens that were not seen before are checked for one address. A judgement: a small share of a core for one
address with forged ones, and yet ten thousand phones behind one gateway are let in within a minute."""
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ANYBODY: Final = frozenset[Scope]()


@dataclass(frozen=True, slots=True)
class Shown:
    """What a call shows of itself before its message is read.

    Attributes:
        peer: where it comes from, as gRPC says.
        authorization: every value of that header.
        request_id: as the caller named it; empty when it did not.
        traceparent: W3C trace context; empty for none.
        certificate: names in the certificate of the connection, the common name first; empty without one.
    """

    peer: str
    authorization: tuple[str, ...] = ()
    request_id: str = ""
    traceparent: str = ""
    certificate: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """A call that was let in; `account.leave` must follow when it has ended.

    Attributes:
        caller: who makes it.
        account: what it is charged to; None where nothing is counted.
    """

    caller: Caller
    account: Account | None

    def charge(self, count: int) -> None:
        """Its message had so many bytes."""
        if self.account is not None:
            self.account.charge(count)

    def left(self, _context: object) -> None:
        """`leave`, as gRPC's callback."""
        self.leave()

    def leave(self) -> None:
        """It has ended."""
        if self.account is not None:
            self.account.leave()


@dataclass(frozen=True, slots=True)
class GateRules:
    """Who is let in.

    Attributes:
        certificates: whether the connection's certificate says who calls.
        certificate_scopes: what a caller may do who is known by certificate alone.
        bind: whether a token counts only over a connection with its own device's certificate.
        anonymous_scopes: what anybody may do where neither tokens nor certificates are asked for.
    """

    certificates: bool = False
    certificate_scopes: frozenset[Scope] = _ANYBODY
    bind: bool = True
    anonymous_scopes: frozenset[Scope] = frozenset(Scope)


class Gate:
    """Lets calls in: who, with what right, within which share.

    Args:
        tokens: checks them; None where none are asked for.
        rules: who is let in.
        quotas: of each caller.
        clock: of the limits.
        denied: devices that are locked out.
    """

    def __init__(
        self,
        tokens: TokenChecker | None,
        *,
        rules: GateRules,
        quotas: QuotaRules,
        clock: Clock,
        denied: Container[str] = frozenset(),
    ) -> None:
        self._tokens = tokens
        self._denied = denied
        self._rules = rules
        self._quotas = Quotas(quotas, clock=clock)
        self._checks = Quotas(CHECKS, clock=clock)

    @property
    def accounts(self) -> int:
        """Callers remembered."""
        return len(self._quotas)

    async def admit(self, need: Need, shown: Shown, *, request_id: str) -> Admission:
        """Let a call in.

        Args:
            need: of its method.
            shown: by the call.
            request_id: names it.

        Raises:
            Refusal: UNAUTHENTICATED, FORBIDDEN, QUOTA, or that keys cannot be had.
        """
        device, scopes, known = "", _ANYBODY, False
        if need is not Open.ANYBODY:
            device, scopes = await self._who(shown)
            known = True
            if device and device in self._denied:
                raise unauthenticated("this device is locked out")
            if isinstance(need, Scope) and need not in scopes:
                raise Refusal(Reason.FORBIDDEN, f"this needs the scope {need.value}")
        account = self._account(device, shown, known=known)
        if account is not None:
            account.enter()
        return Admission(Caller(device, scopes, request_id), account)

    def _account(self, device: str, shown: Shown, *, known: bool) -> Account | None:
        if device:
            return self._quotas.account(f"device {device}")
        address = address_of(shown.peer)
        # This machine's own processes are not counted: who is on it has other means.
        if address is None:
            return None
        return self._quotas.account(f"address {address}" if known else f"stranger {address}")

    async def _who(self, shown: Shown) -> tuple[str, frozenset[Scope]]:
        certificate = self._certificate(shown) if self._rules.certificates else ""
        if self._tokens is None:
            if self._rules.certificates:
                if not certificate:
                    raise unauthenticated("this needs a client certificate that names a device")
                return certificate, self._rules.certificate_scopes
            return "", self._rules.anonymous_scopes
        identity = await self._identity(self._tokens, shown)
        if self._rules.certificates and self._rules.bind and identity.device not in shown.certificate:
            raise unauthenticated("the token is of another device than the certificate")
        return identity.device, identity.scopes

    async def _identity(self, tokens: TokenChecker, shown: Shown) -> Identity:
        if not shown.authorization:
            raise unauthenticated("this needs a token")
        scheme, _, token = shown.authorization[0].partition(" ")
        if len(shown.authorization) > 1 or scheme.lower() != "bearer" or not token:
            raise unauthenticated("the authorization is not one bearer token")
        identity = tokens.remembered(token)
        if identity is None:
            checks = self._checks.account(address_of(shown.peer) or "here")
            checks.enter()
            try:
                identity = await tokens.check(token)
            finally:
                checks.leave()
        return identity

    def _certificate(self, shown: Shown) -> str:
        return next((name for name in shown.certificate if DEVICE.fullmatch(name)), "")


def request_id_of(shown: Shown) -> str:
    """The name a call goes by: the caller's own where it is well formed."""
    return shown.request_id if _REQUEST_ID.fullmatch(shown.request_id) else secrets.token_hex(8)


def shown_by(
    pairs: Iterable[tuple[str, str | bytes]], peer: str, certificate: Mapping[str, Iterable[bytes]] | None = None
) -> Shown:
    """What metadata or headers show.

    Args:
        pairs: keys in lower case, values.
        peer: see `Shown`.
        certificate: gRPC's `auth_context`; None where certificates are not looked at.
    """
    authorization: tuple[str, ...] = ()
    request_id = traceparent = ""
    for key, value in pairs:
        if not isinstance(value, str):
            continue
        if key == "authorization":
            authorization = (*authorization, value)
        elif key == REQUEST_ID_KEY:
            request_id = value
        elif key == "traceparent":
            traceparent = value
    return Shown(peer, authorization, request_id, traceparent, _names(certificate) if certificate else ())


def _names(certificate: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """Only from a certificate that was verified, which gRPC alone puts there."""
    keys = ("x509_common_name", "x509_subject_alternative_name")
    return tuple(name.decode("utf-8", "replace") for key in keys for name in certificate.get(key, ()))[:16]
