"""The socket that stands in for the button: who can press it, and what a caller cannot do to the glasses."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from emulated_air import CLOCK, FastClock

from glasses.button import MAX_CALLERS, Answer, Button, Press, press
from shared.errors import LinkUnavailable, StorageError, UsageError


class Glasses:
    """Remembers what was pressed."""

    def __init__(self) -> None:
        self.pressed: list[Press] = []
        self.answer = Answer(True, "done", number="012345", phones=(("E0:00:00:00:00:01", None), ("E1", 5.0)))

    async def on_press(self, what: Press) -> Answer:
        self.pressed.append(what)
        return self.answer


@pytest.fixture
async def glasses() -> Glasses:
    return Glasses()


@pytest.fixture
async def button(tmp_path: Path, glasses: Glasses) -> AsyncIterator[Path]:
    path = tmp_path / "run" / "button.sock"
    button = Button(path, clock=FastClock(), on_press=glasses.on_press)
    await button.start()
    yield path
    await button.close()
    assert not path.exists()


@pytest.mark.parametrize("what", list(Press))
async def test_a_press_reaches_the_glasses_and_their_answer_comes_back(
    button: Path, glasses: Glasses, what: Press
) -> None:
    assert await press(button, what, clock=CLOCK) == glasses.answer
    assert glasses.pressed == [what]


async def test_a_refusal_comes_back_with_its_hint(button: Path, glasses: Glasses) -> None:
    glasses.answer = Answer(False, "there is no number to compare", hint="press pair first")
    assert await press(button, Press.YES, clock=CLOCK) == glasses.answer


async def test_only_the_owner_can_press_it(button: Path) -> None:
    mode = await asyncio.to_thread(lambda: button.stat().st_mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_without_glasses_the_command_says_so(tmp_path: Path) -> None:
    with pytest.raises(LinkUnavailable, match="no glasses of yours listen") as caught:
        await press(tmp_path / "nothing", Press.PAIR, clock=CLOCK)
    assert caught.value.hint


async def test_glasses_that_do_not_answer_are_given_up(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(silent, tmp_path / "silent")
    with pytest.raises(LinkUnavailable, match="did not answer"):
        await press(tmp_path / "silent", Press.PAIR, clock=FastClock())
    server.close()


@pytest.mark.parametrize("reply", [b"", b"\n", b"{}\n", b"[]\n", b'"ok"\n', b"\xff\n", b"x" * 20_000])
async def test_an_answer_that_is_none_is_an_error_of_one_line(tmp_path: Path, reply: bytes) -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        writer.close()

    server = await asyncio.start_unix_server(babble, tmp_path / "babble")
    with pytest.raises(LinkUnavailable, match="did not answer"):
        await press(tmp_path / "babble", Press.PAIR, clock=CLOCK)
    server.close()


@pytest.mark.parametrize("request_line", [b"\n", b"press everything\n", b"\xff\xfe\n", b"PRESS PAIR\n"])
async def test_unknown_requests_press_nothing(button: Path, glasses: Glasses, request_line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(button)
    writer.write(request_line)
    assert json.loads(await reader.readline())["ok"] is False
    writer.close()
    await writer.wait_closed()
    assert glasses.pressed == []


async def test_a_caller_that_says_too_much_or_nothing_is_hung_up_on(button: Path, glasses: Glasses) -> None:
    for content in (b"x" * 10_000, b"", b"press pair"):  # the last has no end
        reader, writer = await asyncio.open_unix_connection(button)
        writer.write(content)
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        except ConnectionError:
            continue  # hung up while bytes of ours were unread
        finally:
            writer.close()
    assert glasses.pressed == []


async def test_callers_that_hold_the_line_do_not_keep_others_out_for_long(button: Path, glasses: Glasses) -> None:
    idle = [await asyncio.open_unix_connection(button) for _ in range(MAX_CALLERS + 3)]
    for reader, writer in idle:
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
    assert (await press(button, Press.PAIR, clock=CLOCK)).ok


async def test_the_socket_of_killed_glasses_is_taken_over(tmp_path: Path, glasses: Glasses) -> None:
    path = tmp_path / "button.sock"
    killed = await asyncio.start_unix_server(lambda *_: None, path)
    killed.close()
    assert path.exists()
    button = Button(path, clock=CLOCK, on_press=glasses.on_press)
    await button.start()
    assert (await press(path, Press.PAIR, clock=CLOCK)).ok
    await button.close()


async def test_two_glasses_do_not_share_a_button(button: Path, glasses: Glasses) -> None:
    second = Button(button, clock=CLOCK, on_press=glasses.on_press)
    with pytest.raises(StorageError, match="other glasses listen") as caught:
        await second.start()
    assert "--control" in caught.value.hint
    await second.close()
    assert (await press(button, Press.PAIR, clock=CLOCK)).ok  # the first still has it


async def test_a_path_too_long_for_a_socket_is_said(tmp_path: Path, glasses: Glasses) -> None:
    deep = tmp_path / ("d" * 100) / "button.sock"
    with pytest.raises(UsageError, match="too long"):
        await Button(deep, clock=CLOCK, on_press=glasses.on_press).start()
    with pytest.raises(UsageError, match="too long"):
        await press(deep, Press.PAIR, clock=CLOCK)


async def test_a_socket_that_cannot_be_made_is_said(tmp_path: Path, glasses: Glasses) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be made"):
        await Button(tmp_path / "file" / "button.sock", clock=CLOCK, on_press=glasses.on_press).start()
