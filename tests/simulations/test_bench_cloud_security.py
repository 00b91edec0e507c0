"""The security bench, on a server of this process: what is refused counts as refused, and what is not as not."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc

from cloud.calls import Call, unary
from cloud.front.stack import front
from cloud.server import CloudServer
from cloud.settings import CloudSettings
from shared.clock import SystemClock
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from simulations.bench.cloud.security import _row
from simulations.bench.cloud.security_attacks import ATTACKS
from simulations.bench.cloud.security_world import SecurityWorld, make_credentials

QUICK = (
    "no token",
    "expired token",
    "token with the public key as secret",
    "no client certificate",
    "malformed protobuf",
    "more calls than a device's share",
    "HTTP/1.1 in plain text",
)


class Trusting:
    """Reads nothing and answers everything."""

    name = "wayword.v1.Reader"

    async def read_strip(self, request: cloud_pb2.ReadStripRequest, call: Call) -> cloud_pb2.ReadStripReply:
        return cloud_pb2.ReadStripReply(reading=types_pb2.Reading(text="a"))

    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
        method = unary(
            "ReadStrip", cloud_pb2.ReadStripRequest, self.read_strip, clock=SystemClock(), default_deadline_s=5.0
        )
        return {"ReadStrip": method}

    async def upkeep(self) -> None:
        return

    async def close(self) -> None:
        return


@asynccontextmanager
async def world(folder: Path, *, guarded: bool) -> AsyncIterator[SecurityWorld]:
    credentials = make_credentials(folder)
    files = credentials.settings()
    if not guarded:
        del files["token_keys"]
        files["certificate_scopes"] = ("read",)
    settings = CloudSettings.load(None, listen="127.0.0.1:0", grace_s=0.0, quota_burst_calls=20.0, **files)
    async with front(settings, SystemClock()) as built:
        server = CloudServer([Trusting()], settings, interceptors=built.interceptors)
        try:
            _, port = await server.start()
            found = SecurityWorld(credentials, port=port, pid=os.getpid())
            async with found.open(cloud_pb2.ReadStripRequest()):
                yield found
        finally:
            await server.drain()


async def test_attacks_on_a_guarded_service_are_refused_while_good_calls_are_answered(tmp_path: Path) -> None:
    async with world(tmp_path, guarded=True) as at:
        for attack in ATTACKS:
            if attack.name not in QUICK:
                continue
            async with at.watched() as watched:
                seen = await attack.run(at, 2)
            row = _row(attack, seen, watched)
            assert len(seen) == 2, row
            assert row.met, row
            assert not watched.failed
            assert watched.good_ms


async def test_a_service_that_asks_for_no_token_is_found_out(tmp_path: Path) -> None:
    attack = next(attack for attack in ATTACKS if attack.name == "no token")
    async with world(tmp_path, guarded=False) as at, at.watched() as watched:
        seen = await attack.run(at, 2)
    assert [one.how for one in seen] == ["ANSWERED"] * 2
    assert not _row(attack, seen, watched).met


def test_every_attack_has_a_name_of_its_own_and_says_what_must_come_of_it() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    for attack in ATTACKS:
        assert attack.refusals
        assert not attack.expected("ANSWERED")
        assert not attack.expected("STILL OPEN")
