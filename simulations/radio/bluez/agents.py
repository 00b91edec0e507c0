"""Pairing agents: who is registered, which one is asked, and the questions put to it over the bus."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from bumble.pairing import PairingDelegate
from dbus_fast import Message, MessageFlag, MessageType
from dbus_fast.errors import DBusFastError

from simulations.radio.bluez.errors import already_exists, does_not_exist, invalid_arguments
from simulations.radio.bluez.objects import Call, Node, Reply

logger = logging.getLogger(__name__)

AGENT_MANAGER: Final = "org.bluez.AgentManager1"
AGENT: Final = "org.bluez.Agent1"
ANSWER_S: Final = 60.0
"""An agent that has not answered after this time has refused (src/agent.c: REQUEST_TIMEOUT)."""
MAX_AGENTS: Final = 64

_IO = PairingDelegate.IoCapability
CAPABILITIES: Final = {
    "": _IO.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
    "DisplayOnly": _IO.DISPLAY_OUTPUT_ONLY,
    "DisplayYesNo": _IO.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
    "KeyboardOnly": _IO.KEYBOARD_INPUT_ONLY,
    "NoInputNoOutput": _IO.NO_OUTPUT_NO_INPUT,
    "KeyboardDisplay": _IO.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
}
"""What RegisterAgent takes (doc/agent-api.txt)."""


class AgentRefused(Exception):
    """The agent answered with an error, with nonsense, too late, or not at all."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A registered agent.

    Attributes:
        client: unique bus name of its process.
        path: its object there.
        capability: what its user can see and enter.
    """

    client: str
    path: str
    capability: PairingDelegate.IoCapability


class AgentManager(Node):
    """/org/bluez: takes pairing agents.

    Args:
        call: sends a message on the bus and returns the reply.
        send: sends a message on the bus.
    """

    def __init__(self, call: Callable[[Message], Awaitable[Message | None]], send: Callable[[Message], None]) -> None:
        super().__init__("/org/bluez", {AGENT_MANAGER: {}})
        self._call = call
        self._send = send
        self._agents: dict[str, Agent] = {}
        self._defaults: list[str] = []  # the newest last
        self.offer(AGENT_MANAGER, "RegisterAgent", "os", self._register)
        self.offer(AGENT_MANAGER, "UnregisterAgent", "o", self._unregister)
        self.offer(AGENT_MANAGER, "RequestDefaultAgent", "o", self._request_default)

    async def _register(self, call: Call) -> Reply:
        path, capability = call.body
        if call.sender in self._agents:
            raise already_exists()
        if capability not in CAPABILITIES or len(self._agents) >= MAX_AGENTS:
            raise invalid_arguments()
        self._agents[call.sender] = Agent(call.sender, path, CAPABILITIES[capability])
        return Reply()

    async def _unregister(self, call: Call) -> Reply:
        self._registered(call)
        self.on_client_gone(call.sender)
        return Reply()

    async def _request_default(self, call: Call) -> Reply:
        self._registered(call)
        if call.sender in self._defaults:
            self._defaults.remove(call.sender)
        self._defaults.append(call.sender)
        return Reply()

    def _registered(self, call: Call) -> Agent:
        agent = self._agents.get(call.sender)
        if agent is None or agent.path != call.body[0]:
            raise does_not_exist()
        return agent

    def on_client_gone(self, client: str) -> None:
        """Forget a client's agent; another one that asked to be the default takes its place."""
        self._agents.pop(client, None)
        if client in self._defaults:
            self._defaults.remove(client)

    def agent_for(self, client: str | None) -> Agent | None:
        """The agent that speaks for a client: its own, else the default one, else none."""
        if client is not None and client in self._agents:
            return self._agents[client]
        return self._agents[self._defaults[-1]] if self._defaults else None

    # Questions ----------------------------------------------------------------------------------------

    async def ask(self, agent: Agent, member: str, signature: str, *body: Any) -> list[Any]:
        """Put a question to an agent; when the asker is cancelled, so is the question.

        Returns:
            Values of the answer.

        Raises:
            AgentRefused: no is the answer, or there is none.
        """
        question = Message(
            destination=agent.client,
            path=agent.path,
            interface=AGENT,
            member=member,
            signature=signature,
            body=list(body),
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._call(question)
        except asyncio.CancelledError:
            self.cancel(agent)
            raise
        except TimeoutError as error:
            self.cancel(agent)
            raise AgentRefused(f"no answer to {member} within {ANSWER_S:g} s") from error
        except (DBusFastError, OSError, EOFError) as error:
            raise AgentRefused(str(error)) from error
        if answer is None or answer.message_type is not MessageType.METHOD_RETURN:
            # An agent that left the bus answers so too: dbus-daemon replies in its place.
            raise AgentRefused(f"{member}: {answer.error_name if answer else 'no answer'}")
        return list(answer.body)

    def tell(self, agent: Agent, member: str, signature: str = "", *body: Any) -> None:
        """Tell an agent something that needs no answer."""
        self._send(
            Message(
                destination=agent.client,
                path=agent.path,
                interface=AGENT,
                member=member,
                signature=signature,
                body=list(body),
                flags=MessageFlag.NO_REPLY_EXPECTED,
            )
        )

    def cancel(self, agent: Agent) -> None:
        """Tell an agent that its answer is no longer waited for."""
        self.tell(agent, "Cancel")
