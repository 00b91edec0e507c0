"""Security of one device's connections: encryption with a bond's key, and pairing, which makes the bond.

What the kernel (net/bluetooth/smp.c) and bluetoothd (src/device.c, src/adapter.c) do between them, with Bumble's
Security Manager in the kernel's place. Simplified:

* no legacy pairing, no out-of-band data, and no key but the long term key. The kernel distributes no identity key
  either while privacy is off, but it asks for the peer's; with one, Bumble would look for the peer's resolvable
  addresses by a scan of its own before every connection, in the way of ours. So peers are known by their own addresses;
* a security request of an unbonded peripheral starts a pairing only if there is a default agent, which is always
  asked; the kernel would go through with Just Works unasked;
* a link whose bond is not authenticated is not paired anew with numeric comparison when an attribute demands it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any, Final

from bumble import core, hci, smp
from bumble.device import Connection
from bumble.pairing import PairingConfig, PairingDelegate

from simulations.radio.bluez.agents import Agent, AgentManager, AgentRefused
from simulations.radio.bluez.errors import (
    BluezError,
    already_exists,
    authentication_canceled,
    authentication_failed,
    authentication_timeout,
    connection_attempt_failed,
    does_not_exist,
    in_progress,
)
from simulations.radio.bluez.objects import Call, Reply

if TYPE_CHECKING:
    from simulations.radio.bluez.device import RemoteDevice
    from simulations.radio.bluez.host import Host

logger = logging.getLogger(__name__)

SMP_S: Final = 30.0
"""A pairing without progress for this long has failed (Core, Vol 3, Part H, 3.4, "security manager timer")."""
ENCRYPT_S: Final = 10.0
"""Longest time from the request to the encrypted link; the procedure response timeout of the link layer is 40 s."""
CALL_OFF_S: Final = 1.0
"""Longest time for Bumble to notice that a pairing is over."""
MAX_PASSKEY: Final = 999_999

_ENCRYPTION_KEY: Final = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY


class KeyMissing(Exception):
    """The peer cannot encrypt with our key: it has lost the bond."""


class Attempt(PairingDelegate):
    """One pairing: Bumble's questions become the agent's.

    Args:
        agents: asks the agent.
        agent: who is asked; None: nobody, so that only Just Works is possible.
        path: the device's object path.
        by_request: the device asked for it, not one of our clients.
    """

    def __init__(self, agents: AgentManager, agent: Agent | None, path: str, *, by_request: bool) -> None:
        super().__init__(
            io_capability=PairingDelegate.NO_OUTPUT_NO_INPUT if agent is None else agent.capability,
            local_initiator_key_distribution=_ENCRYPTION_KEY,
            local_responder_key_distribution=_ENCRYPTION_KEY,
        )
        self.agent = agent
        self.canceled = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.progress_at = asyncio.get_running_loop().time()
        self._agents = agents
        self._path = path
        self._by_request = by_request
        self._questions: set[asyncio.Future[list[object]]] = set()

    @property
    def configuration(self) -> PairingConfig:
        """Parameters of the SMP session; protection from a man in the middle is asked for whenever it is possible."""
        return PairingConfig(
            sc=True,
            mitm=self.io_capability is not PairingDelegate.NO_OUTPUT_NO_INPUT,
            bonding=True,
            delegate=self,
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )

    def end(self) -> None:
        """The pairing is over: whoever is still being asked need not answer."""
        for question in self._questions:
            question.cancel()
        if not self.ended.done():
            self.ended.set_result(None)

    async def _ask(self, member: str, signature: str, *body: object) -> list[object] | None:
        if self.agent is None:
            return None
        self.progress_at = asyncio.get_running_loop().time()
        question = asyncio.ensure_future(self._agents.ask(self.agent, member, signature, self._path, *body))
        self._questions.add(question)
        try:
            await asyncio.wait({question})
            if question.cancelled():
                return None  # the pairing ended meanwhile
            return question.result()
        except AgentRefused as error:
            logger.info("%s: the agent refuses: %s", self._path, error)
            return None
        finally:
            self._questions.discard(question)
            question.cancel()

    # Bumble asks --------------------------------------------------------------------------------------

    async def accept(self) -> bool:
        return False  # a central is never asked to pair: it asks

    async def confirm(self, auto: bool = False) -> bool:
        # Just Works. The kernel does not ask about what our own client began (smp.c: "Don't confirm locally initiated
        # pairing attempts").
        return not self._by_request or await self._ask("RequestAuthorization", "o") is not None

    async def compare_numbers(self, number: int, digits: int) -> bool:
        return await self._ask("RequestConfirmation", "ou", number) is not None

    async def get_number(self) -> int | None:
        answer = await self._ask("RequestPasskey", "o")
        if not answer or not isinstance(answer[0], int) or not 0 <= answer[0] <= MAX_PASSKEY:
            return None
        return answer[0]

    async def generate_passkey(self) -> int:
        return 1 + secrets.randbelow(MAX_PASSKEY)  # Bumble takes zero for "not entered yet", and waits

    async def display_number(self, number: int, digits: int) -> None:
        if self.agent is not None:
            self._agents.tell(self.agent, "DisplayPasskey", "ouq", self._path, number, 0)


class Security:
    """Bond, encryption and pairing of one remote device."""

    def __init__(self, device: RemoteDevice, host: Host, agents: AgentManager) -> None:
        self._device = device
        self._host = host
        self._agents = agents
        self._attempt: Attempt | None = None
        self._client = ""
        self._on_request: asyncio.Task[None] | None = None
        self._encrypting = asyncio.Lock()  # the peripheral may ask for what has begun already

    def watch(self, connection: Connection) -> None:
        """Listen to what the peripheral asks for on a new connection."""
        connection.on(Connection.EVENT_SECURITY_REQUEST, lambda _: self._on_security_request(connection))

    def configuration(self) -> PairingConfig:
        """Bumble wants to know how to pair on this device's connection; without an attempt of ours: not at all."""
        attempt = self._attempt or Attempt(self._agents, None, self._device.path, by_request=True)
        return attempt.configuration

    # Encryption ---------------------------------------------------------------------------------------

    async def encrypt(self, connection: Connection) -> None:
        """Encrypt a connection with the key of the bond, if there is a bond and it is not encrypted already.

        Raises:
            KeyMissing: the peer refused.
            TimeoutError, bumble errors: it could not be done.
        """
        if self._host.bonds.keys(self._device.address) is None:
            return
        try:
            async with asyncio.timeout(ENCRYPT_S), self._encrypting:
                if not connection.is_encrypted:
                    await connection.encrypt()
        except hci.HCI_Error as error:
            raise KeyMissing(f"{self._device.path}: {error}") from error

    # Pairing ------------------------------------------------------------------------------------------

    @property
    def pairing(self) -> bool:
        """Whether a pairing is under way."""
        return self._attempt is not None

    async def pair(self, call: Call) -> Reply:
        """Device1.Pair."""
        if self._attempt is not None:
            raise in_progress("In Progress")
        if self._host.bonds.keys(self._device.address) is not None:
            raise already_exists()
        attempt = Attempt(self._agents, self._agents.agent_for(call.sender), self._device.path, by_request=False)
        self._attempt, self._client = attempt, call.sender
        made_connection = self._device.connection is None
        try:
            if made_connection:
                try:
                    await self._device.connect(call.sender)
                except BluezError as error:
                    raise authentication_canceled() if attempt.canceled else connection_attempt_failed() from error
            await self._run(attempt)
        except BluezError:
            if made_connection:  # smp.c: the link "created because of the pair device action" goes with it
                await self._device.close_quietly()
            raise
        finally:
            attempt.end()
            self._attempt, self._client = None, ""
        await self._device.services.resolved()
        return Reply()

    async def cancel(self, call: Call) -> Reply:
        """Device1.CancelPairing."""
        if self._attempt is None or not self._client:
            raise does_not_exist()
        self.abort()
        if self._device.connection is None:
            await self._device.close_quietly()
        return Reply()

    async def on_client_gone(self, client: str) -> None:
        """A client left the bus: its pairing ends, and the connection (device.c: create_bond_req_exit)."""
        if self._attempt is not None and client == self._client:
            self.abort()
            await self._device.close_quietly()

    def abort(self) -> None:
        """Call the pairing off, if there is one."""
        if self._attempt is not None:
            self._attempt.canceled = True
            self._attempt.end()

    async def _run(self, attempt: Attempt) -> None:
        """Pair, and note the bond.

        Raises:
            BluezError: as Device1.Pair answers.
        """
        connection = self._device.connection
        if connection is None or attempt.canceled:
            raise authentication_canceled()
        try:
            await self._pair_on(connection, attempt)
        except BluezError:
            # Bumble stores the key before it has sent its last words; what failed then must not look like a bond later.
            await self._host.bonds.forget(self._device.address)
            raise
        await self._host.bonds.load()
        self._device.bonded()

    async def _pair_on(self, connection: Connection, attempt: Attempt) -> None:
        work = asyncio.ensure_future(connection.pair())
        gone = self._device.gone
        ends: set[asyncio.Future[Any]] = {work, attempt.ended, gone}
        try:
            while not work.done() and not attempt.ended.done() and not gone.done():
                left = attempt.progress_at + SMP_S - asyncio.get_running_loop().time()
                if left <= 0:
                    # After this timer nothing may be sent on the SMP channel any more (3.4), so the link must go. By
                    # the time of its end, bluetoothd may call it "AuthenticationCanceled" as well.
                    await self._device.close_quietly()
                    raise authentication_timeout()
                await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._fail_session(connection)
            await asyncio.wait({work}, timeout=CALL_OFF_S)
            if not work.done() or work.cancelled():
                raise authentication_canceled()
            if work.exception() is not None and (gone.done() or attempt.canceled):
                raise authentication_canceled()
            work.result()  # even if somebody has just called it off: both sides have the key
        except (core.BaseBumbleError, asyncio.InvalidStateError) as error:
            logger.info("%s: pairing failed: %s", self._device.path, error)
            raise authentication_failed() from error
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
            if not work.cancelled():
                work.exception()

    def _fail_session(self, connection: Connection) -> None:
        session = self._host.device.smp_manager.sessions.get(connection.handle)
        if session is not None and not session.completed and self._device.connection is connection:
            session.send_pairing_failed(smp.ErrorCode.UNSPECIFIED_REASON)

    # What the peripheral asks for ---------------------------------------------------------------------

    def _on_security_request(self, connection: Connection) -> None:
        if self._device.connection is not connection or self._on_request is not None or self._attempt is not None:
            return  # a repeated request means no more than the first (Core, Vol 3, Part H, 2.4.6)
        self._on_request = asyncio.get_running_loop().create_task(self._serve_request(connection))
        self._on_request.add_done_callback(self._request_served)

    def _request_served(self, task: asyncio.Task[None]) -> None:
        self._on_request = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: a security request", self._device.path, exc_info=error)

    async def _serve_request(self, connection: Connection) -> None:
        try:
            if self._host.bonds.keys(self._device.address) is not None:
                await self._device.secure(connection)
            else:
                await self._pair_on_request(connection)
        except BluezError as error:
            logger.info("%s asked for security, in vain: %s", self._device.path, error)

    async def _pair_on_request(self, connection: Connection) -> None:
        agent = self._agents.agent_for(None)
        if agent is None:
            refusal = smp.SMP_Pairing_Failed_Command(reason=smp.ErrorCode.PAIRING_NOT_SUPPORTED)
            self._host.device.smp_manager.send_command(connection, refusal)
            return
        self._attempt = Attempt(self._agents, agent, self._device.path, by_request=True)
        try:
            await self._run(self._attempt)
        finally:
            self._attempt.end()
            self._attempt = None
