"""Tokens: what is accepted, for how long, and what is not."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from front_world import SetClock, claims
from jwt.algorithms import OKPAlgorithm

from cloud.callers import Scope
from cloud.front import tokens
from cloud.front.key_source import KEYS_LIFE_S, MAX_STALE_S, RETRY_S, FetchedKeys, FileKeys, key_source
from cloud.front.minting import create_key, create_secret, load_secret, mint, signing_key
from cloud.front.token_keys import MAX_KEY_FILE_BYTES, file_keys, jwks_keys, secret_key
from cloud.front.tokens import TokenChecker, TokenRules
from cloud.refusals import Reason, Refusal
from shared.clock import Clock
from shared.errors import StorageError, UsageError

RULES = TokenRules("wayword", "wayword-cloud")
ED = ed25519.Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)
ADDRESS = "https://issuer.example/keys"


def public_pem(key: Any) -> bytes:
    encoded: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def written(folder: Path, content: bytes, name: str = "key") -> Path:
    path = folder / name
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def checker(folder: Path, clock: Clock, key: Any = ED) -> TokenChecker:
    keys = FileKeys(secret=None, public=written(folder, public_pem(key)), clock=clock)
    return TokenChecker(keys, rules=RULES, clock=clock)


def too_many_files(*_: object) -> None:
    raise OSError(errno.EMFILE, "Too many open files")


async def refused(checked: TokenChecker, word: str) -> str:
    with pytest.raises(Refusal) as refusal:
        await checked.check(word)
    assert refusal.value.reason is Reason.UNAUTHENTICATED
    assert checked.remembered(word) is None
    return refusal.value.message


@pytest.mark.parametrize(("key", "algorithm"), [(ED, "EdDSA"), (EC, "ES256"), (RSA, "RS256")])
async def test_a_token_of_a_known_key_says_who_calls_and_what_they_may(
    tmp_path: Path, key: Any, algorithm: str
) -> None:
    clock = SetClock()
    checked = checker(tmp_path, clock, key)
    word = jwt.encode(claims(clock, scope="read batch cook"), key, algorithm=algorithm)
    identity = await checked.check(word)
    assert (identity.device, identity.scopes) == ("phone-1", {Scope.READ, Scope.BATCH})
    assert checked.remembered(word) == identity


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"exp": 1.0}, "expired"),
        ({"exp": None}, "how long"),
        ({"exp": True}, "how long"),
        ({"exp": float("inf")}, "how long"),
        ({"exp": 10**400}, "how long"),
        ({"exp": "tomorrow"}, "how long"),
        ({"nbf": 4e9}, "not hold yet"),
        ({"iss": "another"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another"}, "another service"),
        ({"aud": ["a", "b"]}, "another service"),
        ({"aud": None}, "another service"),
        ({"sub": None}, "no device"),
        ({"sub": "a b"}, "no device"),
        ({"sub": "x" * 200}, "no device"),
        ({"sub": 7}, "no device"),
    ],
)
async def test_a_token_that_does_not_say_what_it_must_is_refused(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    clock = SetClock()
    word = jwt.encode(claims(clock, **changes), ED, algorithm="EdDSA", headers=None)
    assert says in await refused(checker(tmp_path, clock), word)


def forged_with_public_key(clock: Clock) -> str:
    """Signed by HMAC with the public key as the secret (PyJWT would not do that)."""
    import hashlib
    import hmac

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    body = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims(clock))
    return (
        body + b"." + base64.urlsafe_b64encode(hmac.digest(public_pem(ED), body, hashlib.sha256)).rstrip(b"=")
    ).decode()


def unsigned(clock: Clock) -> str:
    return jwt.encode(claims(clock), "", algorithm="none")


def of_a_stranger(clock: Clock) -> str:
    return jwt.encode(claims(clock), ed25519.Ed25519PrivateKey.generate(), algorithm="EdDSA")


def changed_after_signing(clock: Clock) -> str:
    head, _, signature = jwt.encode(claims(clock), ED, algorithm="EdDSA").split(".")
    other = jwt.encode(claims(clock, sub="admin"), ED, algorithm="EdDSA").split(".")[1]
    return f"{head}.{other}.{signature}"


def renamed_algorithm(clock: Clock) -> str:
    return jwt.encode(claims(clock), "k" * 32, algorithm="HS256")


@pytest.mark.parametrize(
    "forge",
    [
        forged_with_public_key,
        unsigned,
        of_a_stranger,
        changed_after_signing,
        renamed_algorithm,
        lambda clock: "",
        lambda clock: "a.b.c",
        lambda clock: "." * 3000,
        lambda clock: "é" * 20,
        lambda clock: "x" * 100_000,
    ],
)
async def test_a_forged_or_broken_token_is_refused(tmp_path: Path, forge: Callable[[Clock], str]) -> None:
    clock = SetClock()
    await refused(checker(tmp_path, clock), forge(clock))


async def test_clocks_may_differ_by_the_leeway_and_not_more(tmp_path: Path) -> None:
    clock = SetClock()
    checked = checker(tmp_path, clock)
    assert await checked.check(jwt.encode(claims(clock, exp=clock.wall() - 20), ED, algorithm="EdDSA"))
    assert await checked.check(jwt.encode(claims(clock, nbf=clock.wall() + 20), ED, algorithm="EdDSA"))
    await refused(checked, jwt.encode(claims(clock, exp=clock.wall() - 40), ED, algorithm="EdDSA"))


async def test_what_is_remembered_ends_with_the_token(tmp_path: Path) -> None:
    clock = SetClock()
    checked = checker(tmp_path, clock)
    word = jwt.encode(claims(clock, exp=clock.wall() + 60), ED, algorithm="EdDSA")
    await checked.check(word)
    clock.ahead += 80
    assert checked.remembered(word) is not None
    clock.ahead += 20
    assert checked.remembered(word) is None
    await refused(checked, word)


async def test_a_key_that_is_taken_away_counts_no_more_though_its_tokens_are_remembered(tmp_path: Path) -> None:
    clock = SetClock()
    path = written(tmp_path, public_pem(ED))
    keys = FileKeys(secret=None, public=path, clock=clock)
    checked = TokenChecker(keys, rules=RULES, clock=clock)
    word = jwt.encode(claims(clock), ED, algorithm="EdDSA")
    await checked.check(word)
    path.write_bytes(public_pem(EC))
    keys.refresh()
    await refused(checked, word)


async def test_a_key_file_that_is_being_written_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    clock = SetClock()
    path = written(tmp_path, public_pem(ED))
    keys = FileKeys(secret=None, public=path, clock=clock)
    path.write_bytes(b"-----BEGIN")
    keys.refresh()
    assert await TokenChecker(keys, rules=RULES, clock=clock).check(jwt.encode(claims(clock), ED, algorithm="EdDSA"))


async def test_keys_that_could_not_be_read_for_once_are_read_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    path = written(tmp_path, public_pem(ED))
    keys = FileKeys(secret=None, public=path, clock=clock)
    path.write_bytes(public_pem(EC))
    with monkeypatch.context() as full:
        full.setattr(Path, "open", too_many_files)
        keys.refresh()
    keys.refresh()
    assert await TokenChecker(keys, rules=RULES, clock=clock).check(jwt.encode(claims(clock), EC, algorithm="ES256"))


def test_a_key_that_does_not_fit_on_the_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, content: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fdopen", lambda handle, mode: (os.close(handle), Full())[1])
        with pytest.raises(StorageError, match="No space"):
            create_secret(tmp_path / "s")
    assert not (tmp_path / "s").exists()


async def test_remembered_tokens_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED_TOKENS", 2)
    clock = SetClock()
    checked = checker(tmp_path, clock)
    words = [jwt.encode(claims(clock, sub=f"phone-{n}"), ED, algorithm="EdDSA") for n in range(3)]
    for word in words:
        await checked.check(word)
    assert [checked.remembered(word) is not None for word in words] == [False, True, True]


async def test_a_household_s_secret_serves_both_ends(tmp_path: Path) -> None:
    clock = SetClock()
    path = tmp_path / "secret"
    create_secret(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    word = mint(load_secret(path), device="phone-2", scopes=[Scope.READ], days=1, rules=RULES, now=clock.wall())
    checked = TokenChecker(FileKeys(secret=path, public=None, clock=clock), rules=RULES, clock=clock)
    assert (await checked.check(word)).device == "phone-2"
    with pytest.raises(StorageError, match="there already"):
        create_secret(path)


async def test_a_made_key_serves_both_ends(tmp_path: Path) -> None:
    clock = SetClock()
    public = create_key(tmp_path / "key")
    word = mint(signing_key(tmp_path / "key"), device="p", scopes=[], days=1, rules=RULES, now=clock.wall())
    checked = TokenChecker(FileKeys(secret=None, public=public, clock=clock), rules=RULES, clock=clock)
    assert (await checked.check(word)).scopes == frozenset()


@pytest.mark.parametrize(("device", "days"), [("a b", 1.0), ("", 1.0), ("a", 0.0), ("a", 1e6), ("a", float("nan"))])
def test_no_token_is_made_that_would_be_refused(tmp_path: Path, device: str, days: float) -> None:
    create_secret(tmp_path / "s")
    with pytest.raises(UsageError):
        mint(secret_key(tmp_path / "s"), device=device, scopes=[], days=days, rules=RULES, now=0.0)


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    create_secret(tmp_path / "s")
    (tmp_path / "s").chmod(0o644)
    with pytest.raises(StorageError, match="open to others"):
        secret_key(tmp_path / "s")


@pytest.mark.parametrize("content", [b"", b"short", base64.b64encode(b"x" * 31), b"\xff" * 64])
def test_a_weak_or_broken_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(StorageError):
        secret_key(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (ED.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), "private key"),
        (public_pem(ec.generate_private_key(ec.SECP384R1())), "none of"),
        (public_pem(rsa.generate_private_key(65537, 1024)), "none of"),
        (b"nothing", "neither"),
        (b"{}", "no JWKS"),
        (b'{"keys": 5}', "no list"),
        (b'{"keys": []}', "no key"),
        (b"{" + b" " * MAX_KEY_FILE_BYTES, "too large"),
    ],
)
def test_a_file_without_public_keys_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(StorageError, match=says):
        file_keys(written(tmp_path, content))


def jwk(key: ed25519.Ed25519PrivateKey, **fields: object) -> dict[str, object]:
    return {**OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), **fields}


def jwks(*entries: dict[str, object]) -> bytes:
    return json.dumps({"keys": entries}).encode()


def test_only_public_signature_keys_of_a_jwks_document_are_used() -> None:
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode(), "alg": "HS256", "kid": "oct"}
    document = jwks(
        jwk(ED, kid="good"),
        jwk(ED, kid="enc", use="enc"),
        jwk(ED, kid="alg", alg="HS256"),
        secret,
        {"kty": "OKP"},
        {"kty": ["OKP"]},
    )
    assert [key.name for key in jwks_keys(document, source="x")] == ["good"]


def answering(status: int, content: bytes = b"", **headers: str) -> httpx.Response:
    """An answer that comes in parts, as from a network."""

    async def parts() -> AsyncIterator[bytes]:
        yield content[:10]
        yield content[10:]

    return httpx.Response(status, content=parts(), headers=headers)


class Issuer:
    """A JWKS address."""

    def __init__(self, *entries: dict[str, object]) -> None:
        self.answer: Callable[[], httpx.Response] = lambda: answering(200, jwks(*entries))
        self.asked = 0

    def client(self) -> httpx.AsyncClient:
        def handle(request: httpx.Request) -> httpx.Response:
            assert str(request.url) == ADDRESS
            self.asked += 1
            return self.answer()

        return httpx.AsyncClient(transport=httpx.MockTransport(handle))


def signed(clock: Clock, key: Any, name: str) -> str:
    return jwt.encode(claims(clock), key, algorithm="EdDSA", headers={"kid": name})


async def test_fetched_keys_are_kept_and_a_new_name_is_looked_for_but_not_too_often() -> None:
    clock, issuer = SetClock(), Issuer(jwk(ED, kid="one"))
    keys = await key_source(secret=None, keys=ADDRESS, clock=clock, client=issuer.client)
    checked = TokenChecker(keys, rules=RULES, clock=clock)
    assert await checked.check(signed(clock, ED, "one"))
    for name in ("two", "three"):
        await refused(checked, signed(clock, ED, name))
    assert issuer.asked == 1  # just fetched
    clock.ahead += RETRY_S + 1
    other = ed25519.Ed25519PrivateKey.generate()
    issuer.answer = lambda: answering(200, jwks(jwk(ED, kid="one"), jwk(other, kid="two")))
    assert await checked.check(signed(clock, other, "two"))
    for name in ("four", "five"):
        await refused(checked, signed(clock, ED, name))
    assert issuer.asked == 2


async def test_keys_outlive_their_source_for_a_day() -> None:
    clock, issuer = SetClock(), Issuer(jwk(ED, kid="one"))
    keys = FetchedKeys(ADDRESS, clock=clock, client=issuer.client)
    await keys.start()
    issuer.answer = lambda: answering(503)
    clock.ahead += KEYS_LIFE_S + 1
    assert await keys.named("one")
    clock.ahead += MAX_STALE_S
    with pytest.raises(Refusal) as refusal:
        await keys.named("one")
    assert refusal.value.reason is Reason.UNREACHABLE


@pytest.mark.parametrize(
    "answer",
    [
        lambda: answering(404),
        lambda: answering(302, location="https://elsewhere.example/"),
        lambda: answering(200, b"[]"),
        lambda: answering(200, b" " * (MAX_KEY_FILE_BYTES + 1)),
    ],
)
async def test_a_service_that_could_let_nobody_in_does_not_start(answer: Callable[[], httpx.Response]) -> None:
    issuer = Issuer()
    issuer.answer = answer
    with pytest.raises(StorageError):
        await key_source(secret=None, keys=ADDRESS, clock=SetClock(), client=issuer.client)


async def test_keys_are_fetched_from_addresses_that_are_some_and_not_in_plain_text() -> None:
    with pytest.raises(StorageError, match="cannot fetch"):
        await key_source(secret=None, keys="https://issuer.example:port/keys", clock=SetClock())
    with pytest.raises(UsageError, match="https"):
        await key_source(secret=None, keys="http://issuer.example/keys", clock=SetClock())
