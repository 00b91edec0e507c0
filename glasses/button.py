"""The button of glasses that have none: a socket that only their owner can reach, and the command that presses it.

A request is one line of words ("press pair"), the answer one line of JSON: ``{"ok": true, "say": "..."}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from shared.clock import Clock
from shared.errors import LinkUnavailable, StorageError, UsageError
from shared.wire.waiting import within

MAX_REQUEST_BYTES: Final = 64
MAX_ANSWER_BYTES: Final = 8_192
MAX_CALLERS: Final = 4
"""Connections served at once; more are closed unanswered."""
ANSWER_S: Final = 5.0
"""A request is read, and answered, within this time each."""
MAX_PATH_BYTES: Final = 107 - len(".4194304")
"""Longest path of a unix socket (sun_path of unix(7), with its final zero), and room for a process id behind it."""


class Press(StrEnum):
    """What can be asked of running glasses."""

    PAIR = "press pair"
    """Hold the button: pairing mode opens."""
    YES = "press yes"
    """The numbers are the same."""
    NO = "press no"
    """They are not, or pairing mode is to end."""
    LOOK = "look"
    """Nothing; the answer says what the wearer sees."""
    LIST = "list phones"
    FORGET = "forget phones"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the glasses said.

    Attributes:
        ok: whether it was done.
        say: one line for people.
        number: six digits that wait to be compared, or nothing.
        hint: what to do about a refusal.
        phones: answer to LIST: addresses and dates (seconds since the Unix epoch, or None).
    """

    ok: bool
    say: str
    hint: str = ""
    number: str = ""
    phones: tuple[tuple[str, float | None], ...] = ()


def _check_path(path: Path) -> None:
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise UsageError(f"the path of the button's socket is too long: {path}", hint="set a shorter one: --control")


class Button:
    """Listens for presses while the glasses run.

    Args:
        path: of the socket.
        clock: source of time.
        on_press: does what is asked.
    """

    def __init__(self, path: Path, *, clock: Clock, on_press: Callable[[Press], Awaitable[Answer]]) -> None:
        self._path = path
        self._clock = clock
        self._on_press = on_press
        self._server: asyncio.Server | None = None
        self._callers: set[asyncio.Task[None]] = set()
        self._inode: int | None = None

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            StorageError: the socket cannot be made, or other glasses of this user listen there already.
            UsageError: the path is too long.
        """
        _check_path(self._path)
        if await self._is_served():
            raise StorageError(
                f"other glasses listen for their button at {self._path}", hint="give these another one with --control"
            )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_owner(self._path.parent)
            # Under another name until it is for its owner only and takes calls; then it takes the place of one that
            # glasses which were killed may have left.
            building = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            with contextlib.suppress(FileNotFoundError):
                building.unlink()
            listener = socket.socket(socket.AF_UNIX)
            try:
                listener.bind(os.fspath(building))
                building.chmod(0o600)
                self._inode = building.stat().st_ino
                self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=MAX_REQUEST_BYTES)
                building.replace(self._path)
            except BaseException:
                listener.close()
                raise
        except OSError as error:
            raise StorageError(f"the button's socket {self._path} cannot be made: {error.strerror}") from error

    async def _is_served(self) -> bool:
        try:
            _, writer = await within(self._clock, ANSWER_S, asyncio.open_unix_connection(self._path))
        except (OSError, TimeoutError):
            return False
        await _close(writer)
        return True

    async def close(self) -> None:
        """Stop listening; safe to call at any time."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for caller in list(self._callers):
            caller.cancel()
        await asyncio.gather(*self._callers, return_exceptions=True)
        with contextlib.suppress(OSError):  # somebody removed it
            if self._inode == self._path.stat().st_ino:
                self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._callers) < MAX_CALLERS:
            self._callers.add(task)
            try:
                # The caller may be gone, say too much, or say nothing: that is its own loss.
                with contextlib.suppress(OSError, ValueError, TimeoutError):
                    await within(self._clock, 2 * ANSWER_S, self._answer(reader, writer))
            finally:
                self._callers.discard(task)
        await _close(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        try:
            press = Press(line.decode().strip())
        except ValueError:
            answer = Answer(False, "the glasses do not know this request")
        else:
            answer = await self._on_press(press)
        writer.write(json.dumps(asdict(answer)).encode() + b"\n")
        await writer.drain()


async def press(path: Path, what: Press, *, clock: Clock) -> Answer:
    """Ask running glasses for something.

    Raises:
        LinkUnavailable: no glasses listen at `path`, or they do not answer.
        UsageError: the path is too long.
    """
    _check_path(path)
    hint = "start wayword-glasses, or say where they listen with --control"
    try:
        reader, writer = await within(clock, ANSWER_S, asyncio.open_unix_connection(path, limit=MAX_ANSWER_BYTES))
    except (OSError, TimeoutError) as error:
        raise LinkUnavailable(f"no glasses of yours listen at {path}", hint=hint) from error
    try:
        writer.write(what.value.encode() + b"\n")
        await within(clock, ANSWER_S, writer.drain())
        return _parse(await within(clock, ANSWER_S, reader.readline()))
    except (OSError, ValueError, TypeError, KeyError, TimeoutError) as error:
        raise LinkUnavailable(f"the glasses at {path} did not answer", hint="try again") from error
    finally:
        await _close(writer)


def _parse(line: bytes) -> Answer:
    fields: dict[str, Any] = json.loads(line)
    phones = tuple((str(address), paired) for address, paired in fields["phones"])
    return Answer(bool(fields["ok"]), str(fields["say"]), str(fields["hint"]), str(fields["number"]), phones)


def _check_owner(folder: Path) -> None:
    """A folder in /tmp must not be one that somebody else laid out for us."""
    if folder.stat().st_uid not in (os.getuid(), 0):
        raise OSError(1, "its folder belongs to somebody else")


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):  # the other side was faster
        await writer.wait_closed()
