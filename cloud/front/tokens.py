"""Tokens: a caller's name and rights, signed by whoever issued them (RFC 7519, RFC 8725)."""

from __future__ import annotations

import hashlib
import math
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from cloud.callers import Scope
from cloud.front.key_source import KeySource
from cloud.front.token_keys import MAX_KEY_NAME, TokenKey
from cloud.refusals import Reason, Refusal
from shared.clock import Clock

MAX_TOKEN_CHARACTERS: Final = 4096
"""Longest token; one of `wayword-cloud token` has about 400 characters."""
MAX_REMEMBERED_TOKENS: Final = 8192
"""Accepted tokens whose check is not repeated."""
REMEMBERED_S: Final = 300.0
"""Longest time a check holds, so that a key taken away counts soon. A judgement."""
MAX_TRIED_KEYS: Final = 4
"""Keys tried with a token that names none."""
DEVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}")
"""How a device may be called."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token has to say.

    Attributes:
        issuer: its `iss`.
        audience: in its `aud`.
        leeway_s: by which clocks may differ.
    """

    issuer: str
    audience: str
    leeway_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token is about.

    Attributes:
        device: its `sub`.
        scopes: what of its `scope` this service knows.
    """

    device: str
    scopes: frozenset[Scope]


class TokenChecker:
    """Checks tokens and remembers, for a while and by hash, those it accepted.

    Args:
        keys: to check signatures with.
        rules: what they have to say.
        clock: of their expiry.
    """

    def __init__(self, keys: KeySource, *, rules: TokenRules, clock: Clock) -> None:
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._accepted: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._generation = keys.generation

    def remembered(self, token: str) -> Identity | None:
        """Whom a token was found to be about, where that still holds."""
        if self._generation != self._keys.generation:
            self._accepted.clear()
            self._generation = self._keys.generation
        digest = _digest(token)
        found = self._accepted.get(digest)
        if found is None:
            return None
        identity, until = found
        if self._clock.wall() >= until:
            del self._accepted[digest]
            return None
        return identity

    async def check(self, token: str) -> Identity:
        """Whom a token is about.

        Raises:
            Refusal: UNAUTHENTICATED, or that its key cannot be fetched now.
        """
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise unauthenticated("the token is too long")
        claims = self._signed(token, await self._candidates(token))
        now = self._clock.wall()
        expiry = self._expiry(claims, now)
        if claims.get("iss") != self._rules.issuer:
            raise unauthenticated("the token is of another issuer")
        audience = claims.get("aud")
        if self._rules.audience not in (audience if isinstance(audience, list) else [audience]):
            raise unauthenticated("the token is for another service")
        device = claims.get("sub")
        if not isinstance(device, str) or not DEVICE.fullmatch(device):
            raise unauthenticated("the token names no device")
        identity = Identity(device, _scopes(claims.get("scope")))
        self._accepted[_digest(token)] = identity, min(expiry, now + REMEMBERED_S)
        if len(self._accepted) > MAX_REMEMBERED_TOKENS:
            self._accepted.popitem(last=False)
        return identity

    async def _candidates(self, token: str) -> Sequence[TokenKey]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise unauthenticated("the token is malformed") from None
        name = header.get("kid")
        if name is None:
            keys = self._keys.keys
            if len(keys) > MAX_TRIED_KEYS:
                raise unauthenticated("the token does not name its key")
            return keys
        if not isinstance(name, str) or len(name) > MAX_KEY_NAME:
            raise unauthenticated("the token is malformed")
        found = await self._keys.named(name)
        # A key that has no name of its own, as a PEM file, may be meant by any.
        return found or [key for key in self._keys.keys if not key.name][:MAX_TRIED_KEYS]

    def _signed(self, token: str, keys: Sequence[TokenKey]) -> Mapping[str, Any]:
        for key in keys:
            try:
                # Only the signature: PyJWT would take the machine's clock for the claims.
                checks = {"verify_signature": True} | dict.fromkeys(
                    ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"),
                    False,
                )
                claims: Mapping[str, Any] = jwt.decode(token, key.key, algorithms=[key.algorithm.value], options=checks)  # type: ignore[arg-type]
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
                continue
            return claims
        raise unauthenticated("the token is not signed with a key of this service")

    def _expiry(self, claims: Mapping[str, Any], now: float) -> float:
        """When the token ends, leeway included.

        Raises:
            Refusal: it has ended, has not begun, or does not say.
        """
        expires, begins = _seconds(claims.get("exp")), _seconds(claims.get("nbf", 0))
        if expires is None or begins is None:
            raise unauthenticated("the token does not say how long it holds")
        if now >= expires + self._rules.leeway_s:
            raise unauthenticated("the token has expired")
        if now < begins - self._rules.leeway_s:
            raise unauthenticated("the token does not hold yet")
        return expires + self._rules.leeway_s


def unauthenticated(message: str) -> Refusal:
    """The refusal of someone who is not known."""
    return Refusal(Reason.UNAUTHENTICATED, message)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _scopes(value: object) -> frozenset[Scope]:
    """Of a space-separated list (RFC 8693, 4.2); words of other services are passed over."""
    words = set(value.split()) if isinstance(value, str) else set()
    return frozenset(scope for scope in Scope if scope.value in words)


def _digest(token: str) -> bytes:
    return hashlib.blake2b(token.encode("utf-8", "surrogateescape"), digest_size=32).digest()
