"""Pairing with the secure peripheral through the façade, call by call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bumble.keys import JsonKeyStore, PairingKeys
from bus_caller import ADAPTER, DEVICE, Caller, FakeAgent, caller_on, path_of
from radio_peripheral import ADDRESS

from simulations.radio import RadioProcesses
from simulations.radio.bonding import PHONE_ADDRESS

PATH = path_of(ADDRESS)
FAILED = ("org.bluez.Error.AuthenticationFailed", "Authentication Failed")
CANCELED = ("org.bluez.Error.AuthenticationCanceled", "Authentication Canceled")


@asynccontextmanager
async def pairing_caller(radio: RadioProcesses) -> AsyncIterator[Caller]:
    """A client that leaves the peripheral unknown, as it found it."""
    async with caller_on(radio.dbus_address) as caller:
        yield caller
        if PATH in await caller.objects():
            await caller.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", PATH)


@asynccontextmanager
async def default_agent(radio: RadioProcesses) -> AsyncIterator[FakeAgent]:
    """The default agent, on a bus connection of its own, as a phone's user interface is."""
    async with caller_on(radio.dbus_address) as owner:
        agent = FakeAgent(owner)
        await agent.register("DisplayYesNo")
        yield agent


async def connected(caller: Caller) -> None:
    """Scan for the peripheral and connect."""
    await caller.found(PATH)
    await caller.connected(PATH)


async def phone_key(radio: RadioProcesses) -> PairingKeys.Key | None:
    """The long term key the phone keeps for the peripheral."""
    keys = await JsonKeyStore(PHONE_ADDRESS, str(radio.phone_bonds)).get(ADDRESS)
    return None if keys is None else keys.ltk


def pair(caller: Caller) -> asyncio.Task[tuple[str, str]]:
    """A pairing that is going to fail."""
    return asyncio.ensure_future(caller.error(PATH, DEVICE, "Pair"))


async def pair_with_a_yes(caller: Caller, agent: FakeAgent) -> None:
    """A pairing that the agent says yes to."""
    pairing = asyncio.ensure_future(caller.call(PATH, DEVICE, "Pair"))
    await agent.answer(await agent.asked("RequestConfirmation"))
    await pairing
