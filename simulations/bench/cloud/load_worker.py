"""The generator's process: ``python -m simulations.bench.cloud.load_worker FOLDER``. See `load`.

It knows requests as bytes only: an idempotency key is appended, which protobuf reads as the field's value.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import numpy as np

from cloud.calls import RETRY_AFTER_KEY
from cloud.replicas.retry_policy import channel_options
from simulations.bench.cloud.load import Arrivals, Load

BUSY_WAIT_S: Final = 0.002
"""Arrivals this close are not waited for: a timer is no finer under load."""
CONNECT_S: Final = 10.0

Call = Callable[..., Any]


def main() -> int:
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "load.json").read_text(encoding="utf-8"))
    settings |= {
        "addresses": tuple(settings["addresses"]),
        "arrivals": Arrivals(settings["arrivals"]),
        "metadata": tuple((name, value) for name, value in settings["metadata"]),
    }
    load = Load(**settings)
    requests = list(_requests((folder / "requests").read_bytes()))
    gc.freeze()
    asyncio.run(_Generator(load, requests, folder / "result.npz").run())
    return 0


def _requests(encoded: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(encoded):
        size = int.from_bytes(encoded[at : at + 4], "little")
        yield encoded[at + 4 : at + 4 + size]
        at += 4 + size


class _Generator:
    def __init__(self, load: Load, requests: list[bytes], result: Path) -> None:
        self._load = load
        self._requests = requests
        self._result = result
        self._rng = np.random.default_rng(load.seed)
        self._order = itertools.cycle(self._rng.permutation(len(requests)).tolist())
        self._rows: list[tuple[float, float, float, int, float, int]] = []
        self._open: set[asyncio.Task[None]] = set()
        self._prefix = os.urandom(8).hex()
        self._end = math.inf
        self._over = asyncio.Event()

    async def run(self) -> None:
        channels = [self._channel(index) for index in range(self._load.channels)]
        try:
            calls = itertools.cycle(
                [channel.unary_unary(self._load.method, lambda data: data, lambda data: data) for channel in channels]
            )
            await asyncio.wait(
                {asyncio.ensure_future(channel.channel_ready()) for channel in channels}, timeout=CONNECT_S
            )
            print("ready", flush=True)
            words = await self._words()
            await words.readline()
            began = time.monotonic()
            listening = asyncio.create_task(self._listen(words, calls))
            cpu = time.process_time()
            self._end = began + self._load.seconds
            if self._load.arrivals is Arrivals.CLOSED:
                await self._closed_loop(calls)
            else:
                await self._open_loop(calls, began)
            listening.cancel()
            if self._open:
                await asyncio.wait(self._open)
            self._save(began, time.process_time() - cpu)
            print("done", flush=True)
        finally:
            for channel in channels:
                await channel.close()

    async def _words(self) -> asyncio.StreamReader:
        """What the bench says, line by line."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        return reader

    async def _listen(self, words: asyncio.StreamReader, calls: Iterator[Call]) -> None:
        """Do what the bench says until it says the end."""
        while (line := (await words.readline()).split())[:1] == [b"burst"]:
            for _ in range(int(line[1])):
                self._begin(next(calls), time.monotonic())
        self._end = min(self._end, time.monotonic())
        self._over.set()

    def _channel(self, index: int) -> grpc.aio.Channel:
        load = self._load
        target = target_of(load.addresses)
        # Without a pool of its own every channel to the same place would share one connection.
        options: list[tuple[str, Any]] = [
            *channel_options(retries=load.retries),
            ("grpc.use_local_subchannel_pool", 1),
            ("wayword.channel", index),
        ]
        if load.certificate_authority is None:
            return grpc.aio.insecure_channel(target, options=[*options, ("grpc.enable_http_proxy", 0)])
        if load.host_name:
            options.append(("grpc.ssl_target_name_override", load.host_name))
        authority = Path(load.certificate_authority).read_bytes()
        return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(authority), options=options)

    async def _open_loop(self, calls: Iterator[Call], began: float) -> None:
        even = 1.0 / self._load.rate
        at = began
        for number in itertools.count():
            at += even if self._load.arrivals is Arrivals.EVEN else float(self._rng.exponential(even))
            # A generator behind its schedule still hears of answers now and then.
            await self._pause(min(at, self._end), breathe=number % 16 == 0)
            if at >= self._end:
                return
            if len(self._open) >= self._load.max_open:
                self._rows.append((at, math.nan, math.nan, -1, math.nan, next(self._order)))
            else:
                self._begin(next(calls), at)

    async def _pause(self, until: float, *, breathe: bool) -> None:
        """Wait for a moment, or for the end."""
        wait = until - time.monotonic()
        if wait > BUSY_WAIT_S:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._over.wait()
        elif breathe:
            await asyncio.sleep(0)

    def _begin(self, call: Call, arrived: float) -> None:
        task = asyncio.create_task(self._call(call, arrived))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _closed_loop(self, calls: Iterator[Call]) -> None:
        async def one() -> None:
            while time.monotonic() < self._end:
                await self._call(next(calls), time.monotonic())

        await asyncio.gather(*(one() for _ in range(self._load.callers)))

    async def _call(self, call: Call, arrived: float) -> None:
        index = next(self._order)
        request = self._requests[index]
        if self._load.unique:
            key = f"{self._prefix}-{len(self._rows)}-{index}-{arrived:.6f}".encode()
            request = b"".join((request, b"\x0a", bytes([len(key)]), key))
        retry_after = math.nan
        # What is left of the deadline, as a phone would: the time that the generator itself lost is the caller's loss.
        sent = time.monotonic()
        timeout = max(arrived + self._load.deadline_s - sent, 0.001)
        try:
            await call(request, timeout=timeout, metadata=self._load.metadata)
            status = 0
        except grpc.aio.AioRpcError as error:
            status = error.code().value[0]
            for name, value in error.trailing_metadata() or ():
                if name == RETRY_AFTER_KEY:
                    retry_after = float(value) / 1e3
        self._rows.append((arrived, sent, time.monotonic(), status, retry_after, index))

    def _save(self, began: float, cpu: float) -> None:
        rows = sorted(self._rows)
        columns = np.array(rows, np.float64).reshape(-1, 6).T
        np.savez(
            self._result,
            began=began,
            arrived=columns[0],
            sent=columns[1],
            ended=columns[2],
            status=columns[3].astype(np.int16),
            retry_after_s=columns[4],
            request=columns[5].astype(np.int32),
            cpu_s=cpu,
        )


def target_of(addresses: tuple[str, ...]) -> str:
    """What gRPC calls one or several addresses; several must be numeric."""
    if len(addresses) == 1:
        return addresses[0]
    family = "ipv6" if addresses[0].startswith("[") else "ipv4"
    return f"{family}:{','.join(addresses)}"


if __name__ == "__main__":
    sys.exit(main())
