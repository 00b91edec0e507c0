"""Who is let in: by token, by certificate, by nobody's leave; and how much of it."""

from __future__ import annotations

import errno
from collections.abc import Container
from pathlib import Path

import pytest
from front_world import StillClock, public_key, token

from cloud.callers import Scope
from cloud.front.access import NEEDS, Open, need_of
from cloud.front.denied import LOOK_EVERY_S, DeniedDevices
from cloud.front.identity import CHECKS, Admission, Gate, GateRules, Shown, request_id_of, shown_by
from cloud.front.key_source import FileKeys
from cloud.front.quotas import Account, QuotaRules, Quotas, address_of
from cloud.front.tokens import TokenChecker, TokenRules
from cloud.refusals import Reason, Refusal
from shared.errors import StorageError
from shared.messages.wayword.v1 import cloud_pb2, experiments_pb2, packs_pb2, places_pb2, telemetry_pb2

HERE = "ipv4:127.0.0.1:5000"
AWAY = "ipv4:192.0.2.7:5000"
TIGHT = QuotaRules(calls_per_s=1.0, burst_calls=2.0, bytes_per_s=100.0, burst_bytes=100.0, open_calls=2)
CERTIFICATES = GateRules(certificates=True, certificate_scopes=frozenset({Scope.READ}))


def gate(
    clock: StillClock,
    folder: Path | None = None,
    *,
    rules: GateRules | None = None,
    quotas: QuotaRules | None = None,
    denied: Container[str] = (),
) -> Gate:
    """With tokens where there is a folder for their key."""
    checker = None
    if folder is not None:
        keys = FileKeys(secret=None, public=Path(public_key(folder)), clock=clock)
        checker = TokenChecker(keys, rules=TokenRules("wayword", "wayword-cloud"), clock=clock)
    return Gate(checker, rules=rules or GateRules(), quotas=quotas or QuotaRules(), clock=clock, denied=denied)


async def admitted(
    at: Gate, need: Scope | Open = Scope.READ, *, peer: str = AWAY, word: str = "", names: tuple[str, ...] = ()
) -> Admission:
    authorization = (f"Bearer {word}",) if word else ()
    return await at.admit(need, Shown(peer, authorization, certificate=names), request_id="r")


async def refused(at: Gate, need: Scope | Open = Scope.READ, **shown: object) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await admitted(at, need, **shown)  # type: ignore[arg-type]
    return refusal.value


async def test_a_token_lets_in_with_its_scopes_and_no_further(tmp_path: Path) -> None:
    clock = StillClock()
    at = gate(clock, tmp_path)
    caller = (await admitted(at, word=token(clock))).caller
    assert (caller.device, caller.scopes, caller.request_id) == ("phone-1", {Scope.READ, Scope.PACKS}, "r")
    assert (await refused(at, Scope.BATCH, word=token(clock))).reason is Reason.FORBIDDEN
    assert (await admitted(at, Open.KNOWN, word=token(clock, scope=""))).caller.scopes == frozenset()


@pytest.mark.parametrize(
    "authorization",
    [(), ("",), ("Bearer",), ("Bearer ",), ("Basic dTpw",), ("Bearer a", "Bearer b"), ("Bearer x.y.z",)],
)
async def test_without_one_good_token_nobody_is_let_in(tmp_path: Path, authorization: tuple[str, ...]) -> None:
    at = gate(StillClock(), tmp_path)
    for need in (Scope.READ, Open.KNOWN):
        with pytest.raises(Refusal) as refusal:
            await at.admit(need, Shown(HERE, authorization), request_id="r")
        assert refusal.value.reason is Reason.UNAUTHENTICATED


async def test_anybody_may_ask_for_health_and_is_nobody(tmp_path: Path) -> None:
    caller = (await admitted(gate(StillClock(), tmp_path), Open.ANYBODY)).caller
    assert (caller.device, caller.scopes) == ("", frozenset())


async def test_a_certificate_lets_its_device_in(tmp_path: Path) -> None:
    at = gate(StillClock(), rules=CERTIFICATES)
    caller = (await admitted(at, names=("not a device", "phone-3"))).caller
    assert (caller.device, caller.scopes) == ("phone-3", {Scope.READ})
    assert (await refused(at, Scope.PACKS, names=("phone-3",))).reason is Reason.FORBIDDEN
    assert (await refused(at, names=())).reason is Reason.UNAUTHENTICATED


async def test_a_stolen_token_is_worth_nothing_without_the_certificate_of_its_device(tmp_path: Path) -> None:
    clock = StillClock()
    at = gate(clock, tmp_path, rules=CERTIFICATES)
    assert await admitted(at, word=token(clock), names=("phone-1",))
    for names in ((), ("phone-2",)):
        assert (await refused(at, word=token(clock), names=names)).reason is Reason.UNAUTHENTICATED
    assert (await refused(at, names=("phone-1",))).reason is Reason.UNAUTHENTICATED
    unbound = gate(clock, tmp_path, rules=GateRules(certificates=True, bind=False))
    assert (await admitted(unbound, word=token(clock), names=("gateway",))).caller.device == "phone-1"


async def test_a_device_that_was_lost_is_locked_out_within_seconds(tmp_path: Path) -> None:
    clock = StillClock()
    path = tmp_path / "denied"
    path.write_text("# nobody yet\n")
    denied = DeniedDevices(path, clock=clock)
    at = gate(clock, rules=CERTIFICATES, denied=denied)
    await admitted(at, names=("phone-3",))
    path.write_text("phone-2\n  phone-3  # left on a train\n")
    clock.ahead += LOOK_EVERY_S
    refusal = await refused(at, names=("phone-3",))
    assert (refusal.reason, refusal.message) == (Reason.UNAUTHENTICATED, "this device is locked out")
    assert await admitted(at, names=("phone-4",))
    path.unlink()
    clock.ahead += LOOK_EVERY_S
    assert (await refused(at, names=("phone-3",))).reason is Reason.UNAUTHENTICATED
    with pytest.raises(StorageError):
        DeniedDevices(path, clock=clock)


async def test_a_list_that_could_not_be_read_for_once_is_read_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many_files(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    clock = StillClock()
    path = tmp_path / "denied"
    path.write_text("")
    denied = DeniedDevices(path, clock=clock)
    path.write_text("phone-3")
    clock.ahead += LOOK_EVERY_S
    with monkeypatch.context() as full:
        full.setattr(Path, "open", too_many_files)
        assert "phone-3" not in denied
    clock.ahead += LOOK_EVERY_S
    assert "phone-3" in denied


async def test_forged_tokens_from_one_address_are_not_checked_without_end(tmp_path: Path) -> None:
    clock = StillClock()
    at = gate(clock, tmp_path)
    good = token(clock)
    await admitted(at, word=good)
    reasons = [(await refused(at, word=f"forged{n}")).reason for n in range(int(CHECKS.burst_calls) + 50)]
    assert set(reasons[:900]) == {Reason.UNAUTHENTICATED}
    assert reasons[-1] is Reason.QUOTA
    assert await admitted(at, word=good), "who was let in before is not affected"
    assert await admitted(at, word=token(clock, sub="other"), peer="ipv4:192.0.2.8:1"), "nor is another address"


async def test_each_device_has_its_own_share_wherever_it_calls_from(tmp_path: Path) -> None:
    clock = StillClock()
    at = gate(clock, tmp_path, quotas=TIGHT)
    word = token(clock)
    for peer in (HERE, AWAY):
        (await admitted(at, word=word, peer=peer)).leave()
    refusal = await refused(at, word=word)
    assert (refusal.reason, refusal.retry_after_s) == (Reason.QUOTA, 1.0)
    assert await admitted(at, word=token(clock, sub="phone-2"))
    clock.ahead += 1.0
    assert await admitted(at, word=word)


async def test_strangers_are_counted_by_address_and_this_machine_is_not() -> None:
    at = gate(StillClock(), quotas=TIGHT)
    for port in (1, 2):
        await admitted(at, peer=f"ipv4:192.0.2.7:{port}")
    assert (await refused(at, peer="ipv4:192.0.2.7:3")).reason is Reason.QUOTA
    assert await admitted(at, peer="ipv4:192.0.2.8:1")
    assert all([(await admitted(at, peer=HERE)).account is None for _ in range(10)])


def entered(account: Account) -> bool:
    try:
        account.enter()
    except Refusal:
        return False
    return True


def test_a_share_refills_with_time_and_not_beyond_its_size() -> None:
    clock = StillClock()
    account = Quotas(QuotaRules(calls_per_s=1.0, burst_calls=3.0, open_calls=0), clock=clock).account("a")
    assert [entered(account) for _ in range(4)] == [True, True, True, False]
    clock.ahead += 1000.0
    assert [entered(account) for _ in range(4)] == [True, True, True, False]


def test_a_large_message_is_paid_for_by_the_calls_after_it() -> None:
    clock = StillClock()
    account = Quotas(QuotaRules(bytes_per_s=100.0, burst_bytes=100.0), clock=clock).account("a")
    account.enter()
    account.charge(600)
    with pytest.raises(Refusal) as refusal:
        account.enter()
    assert refusal.value.retry_after_s == 5.0
    clock.ahead += 5.0
    account.enter()


def test_calls_at_once_are_counted_until_they_leave() -> None:
    account = Quotas(QuotaRules(open_calls=2), clock=StillClock()).account("a")
    assert [entered(account) for _ in range(3)] == [True, True, False]
    account.leave()
    assert entered(account)
    assert account.open_calls == 2


def test_callers_remembered_are_bounded() -> None:
    quotas = Quotas(QuotaRules(), clock=StillClock(), max_accounts=100)
    first = quotas.account("0")
    for number in range(1_000):
        quotas.account("0")  # seen again and again, so it stays
        quotas.account(str(number))
    assert len(quotas) == 100
    assert quotas.account("0") is first


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:5123", "192.0.2.7"),
        ("ipv4:127.0.0.1:5123", None),
        ("ipv6:%5B::1%5D:5123", None),
        ("ipv6:[2001:db8:1:2:3:4:5:6]:5123", "2001:db8:1:2::/64"),
        ("ipv6:%5B2001:db8:1:2::9%5D:1", "2001:db8:1:2::/64"),
        ("ipv6:%5B::ffff:192.0.2.7%5D:1", "192.0.2.7"),
        ("unix:/run/socket", None),
        ("ipv4:nonsense", "ipv4:nonsense"),
        ("", ""),
        ("x" * 1000, "x" * 64),
    ],
)
def test_addresses_are_told_apart_as_far_as_somebody_else_may_be_behind_them(peer: str, address: str | None) -> None:
    assert address_of(peer) == address


@pytest.mark.parametrize(("given", "kept"), [("a-1.B_2", True), ("", False), ("a b", False), ("x" * 65, False)])
def test_a_request_id_is_the_caller_s_own_where_it_is_well_formed(given: str, kept: bool) -> None:
    shown = shown_by([("x-request-id", given), ("x-request-id-bin", b"\0")], AWAY)
    found = request_id_of(shown)
    assert (found == given) is kept
    assert 1 <= len(found) <= 64


def test_every_method_of_every_service_has_a_need_of_its_own() -> None:
    modules = (cloud_pb2, packs_pb2, places_pb2, telemetry_pb2, experiments_pb2)
    methods = {
        f"/{service.full_name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods <= set(NEEDS)
    assert Open.ANYBODY not in {need_of(method) for method in methods}
    assert need_of("/wayword.v1.New/Method") is Scope.ADMIN
