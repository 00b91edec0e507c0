"""Shares per caller: so many calls and bytes a second, so many calls at once. Memory is bounded."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from cloud.refusals import Reason, Refusal
from shared.clock import Clock

MAX_ACCOUNTS: Final = 20_000
"""Callers remembered. The one unseen for longest is forgotten first, when its bucket is full again anyway
unless more callers than this come within seconds."""
NETWORK_BITS_V6: Final = 64
"""Addresses of IPv6 are counted by network: a subscriber has at least 2^64 of them (RFC 6177)."""


@dataclass(frozen=True, slots=True)
class QuotaRules:
    """One caller's share.

    Attributes:
        calls_per_s: refill of the bucket of calls; 0 for no limit.
        burst_calls: its size.
        bytes_per_s: refill of the bucket of request bytes; 0 for no limit.
        burst_bytes: its size.
        open_calls: at once; 0 for no limit.
    """

    calls_per_s: float = 50.0
    burst_calls: float = 200.0
    bytes_per_s: float = 16e6
    burst_bytes: float = 64e6
    open_calls: int = 64


class Account:
    """What one caller has used: two token buckets and a count. Use `Quotas.account` to get one."""

    __slots__ = ("_at", "_bytes", "_calls", "_clock", "_open", "_rules")

    def __init__(self, rules: QuotaRules, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._calls = rules.burst_calls
        self._bytes = rules.burst_bytes
        self._open = 0
        self._at = clock.monotonic()

    @property
    def open_calls(self) -> int:
        """Calls that have entered and not left."""
        return self._open

    def enter(self) -> None:
        """A call begins; `leave` must follow.

        Raises:
            Refusal: QUOTA, with the time after which the next call is within the share; nothing has begun then.
        """
        rules = self._rules
        now = self._clock.monotonic()
        passed = now - self._at
        self._at = now
        if rules.calls_per_s > 0:
            self._calls = min(self._calls + passed * rules.calls_per_s, rules.burst_calls)
            if self._calls < 1.0:
                raise _quota("calls", (1.0 - self._calls) / rules.calls_per_s)
        if rules.bytes_per_s > 0:
            self._bytes = min(self._bytes + passed * rules.bytes_per_s, rules.burst_bytes)
            if self._bytes < 0.0:
                raise _quota("bytes", -self._bytes / rules.bytes_per_s)
        if rules.open_calls > 0 and self._open >= rules.open_calls:
            raise _quota("calls at once", 1.0)
        self._calls -= 1.0
        self._open += 1

    def charge(self, count: int) -> None:
        """A call's message had so many bytes. The bucket may go below nothing: the size is known only when it is too
        late to refuse, so the next call pays for it."""
        self._bytes -= count

    def leave(self) -> None:
        """A call that entered has ended."""
        self._open -= 1


class Quotas:
    """The accounts of all callers.

    Args:
        rules: of each.
        clock: refills them.
        max_accounts: remembered at once.
    """

    def __init__(self, rules: QuotaRules, *, clock: Clock, max_accounts: int = MAX_ACCOUNTS) -> None:
        self._rules = rules
        self._clock = clock
        self._max_accounts = max_accounts
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def account(self, caller: str) -> Account:
        """A caller's account.

        Args:
            caller: names it: a device, or an address from `address_of`.
        """
        account = self._accounts.get(caller)
        if account is None:
            account = self._accounts[caller] = Account(self._rules, self._clock)
            if len(self._accounts) > self._max_accounts:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(caller)
        return account


def address_of(peer: str) -> str | None:
    """The address behind what gRPC calls a peer, such as "ipv4:192.0.2.7:5123" or "ipv6:%5B::1%5D:5123".

    Returns:
        An address, or the network of an IPv6 one; None for this machine.
    """
    kind, _, rest = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return None if kind == "unix" else peer[:64]
    try:
        address = ipaddress.ip_address(unquote(rest.rpartition(":")[0]).strip("[]").partition("%")[0])
    except ValueError:
        return peer[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            if address.is_loopback:
                return None
            return str(ipaddress.ip_network((address, NETWORK_BITS_V6), strict=False))
        address = address.ipv4_mapped
    return None if address.is_loopback else str(address)


def _quota(what: str, wait_s: float) -> Refusal:
    return Refusal(Reason.QUOTA, f"this caller has had its share of {what} for now", retry_after_s=wait_s)
