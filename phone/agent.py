"""The phone's pairing agent: BlueZ asks it whether the number on the phone is the one on the glasses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from dbus_fast import Message, MessageType

from phone import bluez
from phone.bluez import Bluez, BluezError
from shared.clock import Clock
from shared.errors import LinkUnavailable
from shared.wire.waiting import within

PATH: Final = "/org/wayword/agent"
DISPLAY_YES_NO: Final = "DisplayYesNo"
"""Shows six digits and takes a yes or no: with such a device on the other side too, the numbers are compared."""

_REJECTED: Final = "org.bluez.Error.Rejected"
_CANCELED: Final = "org.bluez.Error.Canceled"

Confirm = Callable[[str], Awaitable[bool]]
"""Shows six digits and returns whether the glasses show the same; cancelled when the answer is no longer needed."""


class PairingAgent:
    """org.bluez.Agent1 for one device, registered while the context is entered.

    It belongs to the bus connection that also asks for the pairing, so BlueZ turns to it and to no other, and the
    desktop's own agent is left alone. It answers for `device` only, and refuses every other kind of question: numbers
    to type in, and pairings without a number.

    Args:
        connection: to the bus.
        device: D-Bus path of the glasses.
        confirm: asks the user.
        clock: of the deadline.
        answer_s: the user's time.
        capability: what the user can see and enter, as RegisterAgent names it.
    """

    def __init__(
        self,
        connection: Bluez,
        device: str,
        confirm: Confirm,
        *,
        clock: Clock,
        answer_s: float,
        capability: str = DISPLAY_YES_NO,
    ) -> None:
        self._connection = connection
        self._device = device
        self._confirm = confirm
        self._clock = clock
        self._answer_s = answer_s
        self._capability = capability
        self._asking: asyncio.Task[None] | None = None
        self.asked = False
        """Whether BlueZ had a number to compare."""
        self.answer: bool | None = None
        """What the user said; None: nothing (yet)."""
        self.timed_out = False
        """The user said nothing in time."""

    async def __aenter__(self) -> Self:
        assert self._connection.bus is not None
        self._connection.bus.add_message_handler(self._on_message)
        await self._connection.call("/org/bluez", bluez.AGENT_MANAGER, "RegisterAgent", "os", [PATH, self._capability])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cancel()
        bus = self._connection.bus
        assert bus is not None
        try:
            await self._connection.call("/org/bluez", bluez.AGENT_MANAGER, "UnregisterAgent", "o", [PATH])
        except (BluezError, LinkUnavailable, TimeoutError):
            return  # BlueZ has gone, or forgets us with our bus connection
        finally:
            bus.remove_message_handler(self._on_message)

    def _on_message(self, message: Message) -> Message | bool | None:
        if (
            message.message_type is not MessageType.METHOD_CALL
            or message.path != PATH
            or message.interface != bluez.AGENT
        ):
            return None
        match message.member, message.signature:
            case "RequestConfirmation", "ou" if message.body[0] == self._device and self._asking is None:
                self.asked = True
                self._asking = asyncio.ensure_future(self._ask(message, f"{message.body[1]:06}"))
                return True
            case "Cancel", "":
                self._cancel()
                return Message.new_method_return(message)
            case "Release", "":
                return Message.new_method_return(message)
            case _:
                return Message.new_error(message, _REJECTED, "only numbers of the glasses being paired are confirmed")

    def _cancel(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, message: Message, number: str) -> None:
        reply = Message.new_error(message, _CANCELED, "nobody needs the answer any more")
        try:
            self.answer = await within(self._clock, self._answer_s, self._confirm(number))
            if self.answer:
                reply = Message.new_method_return(message)
            else:
                reply = Message.new_error(message, _REJECTED, "the numbers differ")
        except TimeoutError:
            self.timed_out = True
            reply = Message.new_error(message, _CANCELED, "nobody answered")
        finally:
            if self._connection.bus is not None:
                self._connection.bus.send(reply)
