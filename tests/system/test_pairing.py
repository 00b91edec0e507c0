"""Pairing on the real stacks: what both users read in every case, and who is bonded afterwards."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDBusError

from shared.wire import gatt
from simulations.pairing_matrix import ROWS
from simulations.pairing_stage import CLOCK, EVENT_S, stage
from simulations.radio import RadioProcesses
from simulations.radio.processes import phone_address
from simulations.results import read_events

pytestmark = pytest.mark.system

PHONE = phone_address()

PRESS = "Hold the button of the glasses until they open pairing mode, then try again"
DIFFER = (
    "the numbers were said to differ; nothing was paired. "
    "Try again; if they differ again, somebody may be between the phone and the glasses"
)
UNCONFIRMED = (
    "the number was not confirmed on the glasses; nothing was paired. "
    "Try again, and press yes on the glasses if they show the same number"
)
REFUSED = (
    "the glasses refused to pair before there was a number to compare. "
    "They say why; if pairing mode has closed, hold their button again"
)

EXPECTED: dict[str, tuple[str, str, bool]] = {
    "accepted": (
        f"pairing mode is closed: paired with {PHONE}",
        "paired with F0:57:41:59:57:44",
        True,
    ),
    "rejected on the glasses": ("the numbers were said to differ; pairing refused", UNCONFIRMED, False),
    "rejected on the phone": ("the phone ended the pairing", DIFFER, False),
    "numbers differ": ("the numbers were said to differ; pairing refused", DIFFER, False),
    "nobody answers on the glasses": (
        "nobody compared the numbers within 2 s; pairing refused",
        UNCONFIRMED,
        False,
    ),
    "nobody answers on the phone": (
        "the phone ended the pairing",
        f"nobody compared the numbers on the phone within 0.5 s. {PRESS}",
        False,
    ),
    "pairing mode closed": ("", f"the glasses in reach are not in pairing mode. {PRESS}", False),
    "pairing mode closes too early": (
        "a phone asked to pair while pairing mode was closed; refused",
        REFUSED,
        False,
    ),
    "no glasses": ("", f"no glasses are in reach. {PRESS}", False),
    "just works": ("a phone asked to pair without comparing numbers (Just Works); refused", REFUSED, False),
    "passkey": (
        "a phone asked to pair by typing a number in, which these glasses cannot; refused",
        REFUSED,
        False,
    ),
    "legacy": (
        "a phone asked for legacy pairing, which can be overheard; refused",
        "pairing failed: authentication requirements",
        False,
    ),
    "bond lost on the glasses": (
        f"the phone {PHONE} has a key that these glasses have forgotten; pair it again",
        "the glasses no longer know this phone: they refuse its key. "
        "Hold the button of the glasses, then run: wayword-phone pair",
        False,
    ),
    "bond lost on the phone": (
        "",
        "the glasses in reach are not paired with this phone. "
        "Hold the button of the glasses, then run: wayword-phone pair",
        False,
    ),
    "paired anew while the phone runs": (
        f"pairing mode is closed: paired with {PHONE}",
        "paired with Wayword gl (F0:57:41:59:57:44)",
        True,
    ),
    "both restarted": ("", "connected to Wayword glasses", True),
}


def test_every_case_has_its_sentence() -> None:
    assert EXPECTED.keys() == ROWS.keys()


@pytest.mark.parametrize("name", list(ROWS))
async def test_both_sides_say_what_happened(name: str) -> None:
    row = await ROWS[name]()
    glasses, phone, bonded = EXPECTED[name]
    if glasses.endswith("ended the pairing"):  # with what the phone's stack gave as its reason
        assert row.glasses.startswith(glasses)
    else:
        assert row.glasses == glasses
    assert row.phone == phone
    assert row.bonded is bonded


async def test_unmodified_bleak_without_a_bond_gets_nothing_from_the_glasses() -> None:
    async with stage() as play:
        heard: asyncio.Queue[BLEDevice] = asyncio.Queue()
        async with BleakScanner(lambda device, _: heard.put_nowait(device), service_uuids=[gatt.SERVICE_UUID]):
            device = await asyncio.wait_for(heard.get(), EVENT_S)
        async with BleakClient(device) as client:
            with pytest.raises(BleakDBusError, match="NotPermitted"):
                await client.start_notify(gatt.TO_PHONE_UUID, lambda *_: None)
            await client.write_gatt_char(gatt.TO_GLASSES_UUID, b"\x11" + bytes(30), response=False)
        assert not play.glasses.quality.connected
        assert play.glasses.quality.refused_frames == 0


async def run(program: str, *arguments: str, environment: dict[str, str]) -> tuple[int | None, str]:
    """A command, and all it said."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(program)),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
    )
    said, _ = await asyncio.wait_for(process.communicate(), EVENT_S)
    return process.returncode, said.decode()


async def test_two_commands_and_a_button_pair_glasses_and_phone(tmp_path: Path) -> None:
    """As processes, with nothing but their command lines between them."""
    async with RadioProcesses(bonded=False) as radio:
        environment = {
            **radio.phone_environment(),
            "WAYWORD_GLASSES_BONDS": str(tmp_path / "bonds.json"),
            "WAYWORD_GLASSES_CONTROL": str(tmp_path / "button.sock"),
        }
        glasses = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("wayword-glasses")),
            "--idle",
            "--hci",
            radio.glasses_hci,
            "--events",
            str(tmp_path / "events.jsonl"),
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            await _pair_by_commands(glasses, tmp_path / "events.jsonl", environment)
            code, said = await run("wayword-glasses", "--list-phones", environment=environment)
            assert (code, said.split()[0]) == (0, PHONE)
            code, said = await run("wayword-phone", "glasses", environment=environment)
            assert (code, said.split()[0]) == (0, "F0:57:41:59:57:44")
            code, said = await run("wayword-phone", "unpair", environment=environment)
            assert code == 0
            assert "forgot" in said
            code, said = await run("wayword-phone", "unpair", environment=environment)
            assert code == 7
            assert "not paired with any glasses" in said
            code, said = await run("wayword-glasses", "--forget-phones", environment=environment)
            assert (code, said) == (0, "1 phones forgotten\n")
        finally:
            glasses.terminate()
            await glasses.wait()
        code, said = await run("wayword-glasses", "--press", "pair", environment=environment)
        assert code == 7
        assert "no glasses of yours listen" in said
        code, said = await run("wayword-glasses", "--list-phones", environment=environment)
        assert (code, said) == (0, "0 paired phones\n")


async def _pair_by_commands(glasses: asyncio.subprocess.Process, events: Path, environment: dict[str, str]) -> None:
    # The button is there once the glasses say that they have started.
    async with asyncio.timeout(2 * EVENT_S):
        while not any(event["event"] == "started" for event in read_events(events)):
            await CLOCK.sleep(0.05)
    code, said = await run("wayword-glasses", "--press", "yes", environment=environment)
    assert code == 7
    assert "there is no number to compare" in said
    code, said = await run("wayword-glasses", "--press", "pair", environment=environment)
    assert code == 0
    assert "pairing mode is open" in said
    phone = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("wayword-phone")),
        "pair",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert phone.stdout is not None
    number = (await asyncio.wait_for(phone.stdout.readline(), EVENT_S)).decode().removeprefix("number ").strip()
    code, said = await run("wayword-glasses", "--press", "look", environment=environment)
    assert (code, said) == (0, f"compare with the phone: {number}\n")
    code, said = await run("wayword-glasses", "--press", "yes", environment=environment)
    assert (code, said) == (0, f"{number} is the same on the phone\n")
    said_by_phone, _ = await asyncio.wait_for(phone.communicate(b"yes\n"), EVENT_S)
    assert said_by_phone.decode().startswith("paired with ")
    assert phone.returncode == 0
    assert glasses.stderr is not None
    told = (await asyncio.wait_for(glasses.stderr.readuntil(f"paired with {PHONE}\n".encode()), EVENT_S)).decode()
    assert f"compare {number} with the number on the phone" in told
