"""Who may pair with the glasses, and how: pairing mode, and a security manager that accepts one way only.

The one way is LE Secure Connections with numeric comparison and bonding (Core, Vol 3, Part H, 2.3.5.6). Bumble would
also take legacy pairing and Just Works, and a peer that leaves out steps; `GuardedSession` does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bumble import smp
from bumble.device import Connection
from bumble.pairing import PairingConfig, PairingDelegate

from shared.clock import Clock
from shared.wire.waiting import within


@dataclass(frozen=True, slots=True)
class PairingPolicy:
    """Limits of pairing.

    Attributes:
        open_s: pairing mode closes by itself after this time.
        answer_s: the wearer compares the numbers within this time.
        failures: so many pairings with a number may fail before pairing mode closes: each is a guess at a number.
    """

    open_s: float = 60.0
    answer_s: float = 30.0
    failures: int = 3


class Refusal(StrEnum):
    """Why a phone that wanted to pair was refused, as the log says it."""

    CLOSED = "a phone asked to pair while pairing mode was closed; refused"
    JUST_WORKS = "a phone asked to pair without comparing numbers (Just Works); refused"
    LEGACY = "a phone asked for legacy pairing, which can be overheard; refused"
    PASSKEY = "a phone asked to pair by typing a number in, which these glasses cannot; refused"
    OUT_OF_BAND = "a phone asked to pair with data from elsewhere, of which these glasses have none; refused"
    SHORT_KEY = "a phone asked to pair with a shortened key; refused"
    NOT_BONDING = "a phone asked to pair without remembering it; refused"
    DISORDER = "a phone left the order of pairing; refused"


_COMPARING: Final = (smp.IoCapability.DISPLAY_YES_NO, smp.IoCapability.KEYBOARD_DISPLAY)
"""With a device that can show digits and take a yes or no, these compare numbers (Vol 3, Part H, table 2.8)."""
_KEY_BYTES: Final = 16
_STEPS: Final[tuple[type[smp.SMP_Command], ...]] = (
    smp.SMP_Pairing_Request_Command,
    smp.SMP_Pairing_Public_Key_Command,
    smp.SMP_Pairing_Random_Command,
    smp.SMP_Pairing_DHKey_Check_Command,
)
"""What the initiator of a numeric comparison sends, once each; after that come its keys."""
_KEYS: Final[tuple[type[smp.SMP_Command], ...]] = (
    smp.SMP_Identity_Information_Command,
    smp.SMP_Identity_Address_Information_Command,
    smp.SMP_Signing_Information_Command,
)


class PairingMode:
    """Whether a new phone may pair now, and the question that the wearer is asked.

    Args:
        clock: source of time.
        policy: limits.
        report: told every change in one line.
        on_change: called when pairing mode was opened or closed.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        policy: PairingPolicy | None = None,
        report: Callable[[str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._policy = policy or PairingPolicy()
        self._report = report
        self._on_change = on_change
        self._closes_at: float | None = None
        self._failures = 0
        self._question: asyncio.Future[bool | None] | None = None
        self.number = ""
        """Six digits that the wearer is to compare now, or nothing."""

    @property
    def closes_at(self) -> float | None:
        """When pairing mode closes by itself (`clock.monotonic`); None when it is closed."""
        return self._closes_at

    def is_open(self) -> bool:
        """Whether a phone may begin to pair now; closes and reports when the time is over."""
        if self._closes_at is not None and self._clock.monotonic() >= self._closes_at and not self.number:
            self._close(f"nobody paired within {self._policy.open_s:g} s")
        return self._closes_at is not None

    # The wearer ---------------------------------------------------------------------------------------

    def open(self) -> None:
        """The button was held: open pairing mode, or keep it open for its whole time from now."""
        self._closes_at = self._clock.monotonic() + self._policy.open_s
        self._failures = 0
        self._report(f"pairing mode is open for {self._policy.open_s:g} s")
        self._on_change()

    def answer(self, yes: bool) -> bool:
        """The wearer has compared the numbers; without a question, a no closes pairing mode.

        Returns:
            Whether there was something to answer.
        """
        if self._question is not None and not self._question.done():
            self._question.set_result(yes)
            return True
        if not yes and self._closes_at is not None:
            self._close("closed on the glasses")
            return True
        return False

    # The security manager -----------------------------------------------------------------------------

    async def compare(self, number: int) -> bool:
        """Ask the wearer whether the phone shows the same number.

        Returns:
            True only when they said so in time.
        """
        if self._question is not None:
            return False
        self._question = asyncio.get_running_loop().create_future()
        self.number = f"{number:06}"
        self._report(f"pairing: compare {self.number} with the number on the phone, then press yes or no")
        try:
            same = await within(self._clock, self._policy.answer_s, self._question)
        except TimeoutError:
            self._report(f"nobody compared the numbers within {self._policy.answer_s:g} s; pairing refused")
            return False
        finally:
            self._question = None
            self.number = ""
            self._on_change()
        if same is False:
            self._report("the numbers were said to differ; pairing refused")
        return same is True

    def withdraw(self) -> None:
        """The phone has given up: the question is void."""
        if self._question is not None and not self._question.done():
            self._question.set_result(None)

    def succeeded(self, address: str) -> None:
        """A phone is paired."""
        self._close(f"paired with {address}")

    def failed(self) -> None:
        """A pairing failed after its number was known."""
        self._failures += 1
        if self._failures >= self._policy.failures and self._closes_at is not None:
            self._close(f"{self._failures} pairings failed; hold the button again to go on")

    def refused(self, why: Refusal) -> None:
        """A phone was refused before there was a number."""
        self._report(why.value)

    def gave_up(self, reason: str) -> None:
        """The phone ended a pairing."""
        self._report(f"the phone ended the pairing ({reason})")

    def _close(self, why: str) -> None:
        self._closes_at = None
        self._report(f"pairing mode is closed: {why}")
        self._on_change()


class PairingGuard(PairingDelegate):
    """Bumble's questions about one connection, answered by pairing mode."""

    def __init__(self, mode: PairingMode) -> None:
        super().__init__(io_capability=PairingDelegate.IoCapability.DISPLAY_OUTPUT_AND_YES_NO_INPUT)
        self.mode = mode

    async def accept(self) -> bool:
        return self.mode.is_open()

    async def confirm(self, auto: bool = False) -> bool:
        return False  # asked for Just Works only

    async def get_number(self) -> int | None:
        return None  # asked for passkeys only

    async def compare_numbers(self, number: int, digits: int) -> bool:
        return await self.mode.compare(number)


def pairing_config(mode: PairingMode) -> PairingConfig:
    """What Bumble is to ask for, and whom."""
    # The identity address must be the random one: with the public default a bonded reconnect fails without a word.
    return PairingConfig(
        sc=True,
        mitm=True,
        bonding=True,
        delegate=PairingGuard(mode),
        identity_address_type=PairingConfig.AddressType.RANDOM,
    )


class GuardedSession(smp.Session):
    """Bumble's responder, which takes the steps of a numeric comparison in their order and nothing else.

    Bumble's own session hands out the new key as soon as it can compute it, so a peer that encrypts at once is bonded
    as "authenticated" before anybody has compared anything; and it takes steps twice, so the number that was compared
    need not belong to the key that is used. Here the key is handed out after the last check, each step is taken once.
    """

    def __init__(
        self, manager: smp.Manager, connection: Connection, pairing_config: PairingConfig, is_initiator: bool
    ) -> None:
        super().__init__(manager, connection, pairing_config, is_initiator)
        # A pair of keys for each pairing: what a failed one reveals is of no use to the next (Vol 3, Part H, 2.3.6).
        self.ecc_key = type(self.ecc_key).generate()
        self._step = 0
        self._answered = False  # the request was answered
        self._checked = False  # the wearer said yes, and both sides have the same key
        self._compared = False  # the wearer was asked
        guard = pairing_config.delegate
        assert isinstance(guard, PairingGuard)
        self._mode = guard.mode

    def on_smp_command(self, command: smp.SMP_Command) -> None:
        if self.completed:
            return
        if isinstance(command, smp.SMP_Pairing_Failed_Command):
            self._mode.gave_up(_words(command.reason))
            self._mode.withdraw()
            super().on_smp_command(command)
        elif self._step == len(_STEPS) and isinstance(command, _KEYS):
            super().on_smp_command(command)
        elif self._step < len(_STEPS) and isinstance(command, _STEPS[self._step]) and self._is_due(command):
            self._step += 1
            refusal = self._objection(command) if isinstance(command, smp.SMP_Pairing_Request_Command) else None
            if refusal is None:
                super().on_smp_command(command)
            else:
                self._refuse(*refusal)
        else:
            self._refuse(Refusal.DISORDER, smp.ErrorCode.INVALID_PARAMETERS)

    def _is_due(self, command: smp.SMP_Command) -> bool:
        if isinstance(command, smp.SMP_Pairing_Request_Command):
            return True
        if isinstance(command, smp.SMP_Pairing_Public_Key_Command):
            # Our own key, sent back, would make both sides show the same number (Vol 3, Part H, 2.3.5.6.1).
            return self._answered and command.public_key_x != self.ecc_key.x[::-1]
        return True

    def _objection(self, request: smp.SMP_Pairing_Request_Command) -> tuple[Refusal, smp.ErrorCode] | None:
        error = smp.ErrorCode
        if not self._mode.is_open():
            return Refusal.CLOSED, error.PAIRING_NOT_SUPPORTED
        if not request.auth_req & smp.AuthReq.SC:
            return Refusal.LEGACY, error.AUTHENTICATION_REQUIREMENTS
        if request.oob_data_flag:
            return Refusal.OUT_OF_BAND, error.OOB_NOT_AVAILABLE
        if request.io_capability == smp.IoCapability.KEYBOARD_ONLY:
            return Refusal.PASSKEY, error.AUTHENTICATION_REQUIREMENTS
        if request.io_capability not in _COMPARING:
            return Refusal.JUST_WORKS, error.AUTHENTICATION_REQUIREMENTS
        if request.maximum_encryption_key_size != _KEY_BYTES:
            return Refusal.SHORT_KEY, error.ENCRYPTION_KEY_SIZE
        if not request.auth_req & smp.AuthReq.BONDING:
            return Refusal.NOT_BONDING, error.AUTHENTICATION_REQUIREMENTS
        return None

    def _refuse(self, why: Refusal, error: smp.ErrorCode) -> None:
        self._mode.refused(why)
        self._mode.withdraw()
        self.send_pairing_failed(error)

    # What Bumble's session does, with a condition ------------------------------------------------------

    def send_pairing_response_command(self) -> None:
        super().send_pairing_response_command()
        self._answered = True

    def prompt_user_for_numeric_comparison(self, code: int, next_steps: Callable[[], None]) -> None:
        self._compared = True
        super().prompt_user_for_numeric_comparison(code, next_steps)

    def send_pairing_dhkey_check_command(self) -> None:
        self._checked = self.sc and self.pairing_method is smp.PairingMethod.NUMERIC_COMPARISON
        super().send_pairing_dhkey_check_command()

    def get_long_term_key(self, rand: bytes, ediv: int) -> bytes | None:
        return super().get_long_term_key(rand, ediv) if self._checked else None

    def on_connection_encryption_change(self) -> None:
        # With an older key, say, while a new one is still being agreed on.
        if self._checked:
            super().on_connection_encryption_change()

    def send_pairing_failed(self, error: smp.ErrorCode) -> None:
        if not self.completed:
            super().send_pairing_failed(error)

    def on_pairing_failure(self, reason: smp.ErrorCode) -> None:
        if self._compared and not self.completed:
            self._mode.failed()
        super().on_pairing_failure(reason)

    def on_disconnection(self, reason: int) -> None:
        if self._compared and not self.completed:
            self._mode.gave_up("it went away")
            self._mode.withdraw()
            self._mode.failed()
        super().on_disconnection(reason)


def _words(reason: int) -> str:
    try:
        return smp.ErrorCode(reason).name.lower().replace("_", " ")
    except ValueError:
        return f"reason {reason}"
