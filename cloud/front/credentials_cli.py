"""`wayword-cloud token` and `wayword-cloud certificates`: what a household needs to keep others out."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from cloud.callers import PHONE_SCOPES, Scope
from shared.clock import Clock
from shared.errors import UsageError

_PHONE: Final = " ".join(scope.value for scope in Scope if scope in PHONE_SCOPES)


def add_credentials_parsers(commands: Any, *, clock: Clock, say: Callable[[str], None]) -> None:
    """Add both commands.

    Args:
        commands: what `add_subparsers` returned.
        clock: for how long they hold.
        say: prints a line.
    """
    token = commands.add_parser(
        "token",
        help="make a token for a device",
        epilog="With --secret the service is given the same file as token_secret_file; with --key, the file FILE.pub "
        "as token_keys. The phone is given the token as cloud_token_file.",
    )
    source = token.add_mutually_exclusive_group(required=True)
    source.add_argument("--secret", type=Path, metavar="FILE", help="sign with a household's secret (HS256)")
    source.add_argument("--key", type=Path, metavar="FILE", help="sign with a private key (Ed25519, P-256 or RSA, PEM)")
    token.add_argument("--create", action="store_true", help="make the secret or the key when it is not there")
    token.add_argument("--device", required=True, metavar="NAME", help="whom the token is for")
    token.add_argument("--days", type=float, default=365.0, metavar="N", help="for how long it holds (default: 365)")
    token.add_argument(
        "--scope",
        action="append",
        choices=[scope.value for scope in Scope],
        metavar="S",
        help=f"what it allows, repeatable: {', '.join(Scope)} (default: what a phone needs, {_PHONE})",
    )
    token.add_argument("--issuer", default="wayword", metavar="I", help="the service's token_issuer")
    token.add_argument("--audience", default="wayword-cloud", metavar="A", help="the service's token_audience")
    token.add_argument("--key-name", default="", metavar="KID", help="name of the key, where the service has several")
    token.add_argument("--out", type=Path, metavar="FILE", help="write it here, for its owner only, instead of showing")
    token.set_defaults(body=lambda options: _token(options, clock, say))

    certificates = commands.add_parser(
        "certificates",
        help="make an authority, and certificates for the service and for devices",
        epilog="Run it again for more devices. Keep ca-key.pem off the machine that serves.",
    )
    certificates.add_argument("folder", type=Path, metavar="DIR", help="where they are, or will be")
    certificates.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="name or address under which phones reach the service, repeatable (default: localhost and 127.0.0.1)",
    )
    certificates.add_argument("--device", action="append", default=[], metavar="NAME", help="a device, repeatable")
    certificates.add_argument("--days", type=float, default=397.0, metavar="N", help="they hold so long (default: 397)")
    certificates.set_defaults(body=lambda options: _certificates(options, clock, say))


def _token(options: argparse.Namespace, clock: Clock, say: Callable[[str], None]) -> int:
    # Imported late: the libraries take a moment that other commands need not wait for.
    from cloud.front.minting import create_key, create_secret, load_secret, mint, signing_key, write_new
    from cloud.front.tokens import TokenRules

    if options.secret is not None:
        if options.key_name:
            raise UsageError("--key-name goes with --key")
        if options.create and not options.secret.exists():
            create_secret(options.secret)
        key = load_secret(options.secret)
    else:
        if options.create and not options.key.exists():
            create_key(options.key)
        key = signing_key(options.key, name=options.key_name)
    scopes = PHONE_SCOPES if options.scope is None else frozenset(Scope(word) for word in options.scope)
    rules = TokenRules(options.issuer, options.audience)
    token = mint(key, device=options.device, scopes=scopes, days=options.days, rules=rules, now=clock.wall())
    if options.out is None:
        say(token)
    else:
        write_new(options.out, f"{token}\n".encode())
    return 0


def _certificates(options: argparse.Namespace, clock: Clock, say: Callable[[str], None]) -> int:
    from cloud.front.certificates import household

    now = datetime.datetime.fromtimestamp(clock.wall(), datetime.UTC)
    exists = (options.folder / "server.pem").exists()
    hosts = options.host or ([] if exists else ["localhost", "127.0.0.1"])
    if exists and options.host:
        raise UsageError(
            f"{options.folder / 'server.pem'} is there already", hint="delete it and server-key.pem to make another"
        )
    made = household(options.folder, hosts=hosts, devices=options.device, days=options.days, now=now)
    for path in made:
        say(str(path))
    return 0
