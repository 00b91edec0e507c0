"""What the glasses ask of a connection: the 2M PHY, and a connection interval. Phones choose slower ones by themselves.

Both are requests. A phone may refuse them or not answer, and the link works all the same, so every outcome is one line
in the log and none is an error.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import Final

from bumble import core, hci, utils
from bumble.device import Connection

from shared.clock import Clock
from shared.errors import LinkLost
from shared.wire.waiting import retrieve, within

ANSWER_S: Final = 5.0
"""A phone has answered by then, or is not waited for any longer."""
_INTERVAL_UNIT_MS: Final = 1.25
_TIMEOUT_UNIT_MS: Final = 10.0
_MIN_TIMEOUT, _MAX_TIMEOUT = 10, 3200  # supervision timeouts in these units (Core 5.4, Vol 6, Part B, 4.5.2)
_NOT_IN_LINK_LAYER: Final = (
    hci.HCI_ErrorCode.UNKNOWN_HCI_COMMAND_ERROR,
    hci.HCI_ErrorCode.UNSUPPORTED_FEATURE_OR_PARAMETER_VALUE_ERROR,
    hci.HCI_ErrorCode.UNSUPPORTED_REMOTE_FEATURE_ERROR,
)
"""One of the two cannot negotiate the interval in the link layer: L2CAP has a request for it, too."""
_PHY_NAMES: Final = {hci.Phy.LE_1M: "1M", hci.Phy.LE_2M: "2M", hci.Phy.LE_CODED: "coded"}

SendCommand = Callable[[hci.HCI_AsyncCommand], Awaitable[None]]
"""Gives the controller a command, and returns when it has been accepted.

Raises `hci.HCI_Error` when it was not, `TimeoutError` when the controller did not say.
"""


async def tune(
    connection: Connection,
    *,
    clock: Clock,
    send: SendCommand,
    interval_ms: float | None,
    report: Callable[[str], None],
) -> None:
    """Ask for the 2M PHY, then for an interval, and report what came of it. Returns early when the connection ends.

    Args:
        connection: to the phone.
        clock: source of time.
        send: gives the controller a command.
        interval_ms: the connection interval to ask for, 7.5..4000 ms; None leaves the phone's choice.
        report: told the outcome of each request in one line.
    """
    try:
        report(await _tune_phy(connection, clock, send))
        if interval_ms is not None:
            report(await _tune_interval(connection, clock, send, interval_ms))
    except LinkLost:
        return
    except _Unanswered:
        # A controller that does not even take commands is not held up by more of them.
        report("connection: the Bluetooth controller does not answer; PHY and interval stay as they are")


class _Unanswered(Exception):
    """The controller neither took the command nor refused it."""


async def _tune_phy(connection: Connection, clock: Clock, send: SendCommand) -> str:
    host = connection.device.host
    if not host.supports_command(hci.HCI_LE_SET_PHY_COMMAND):
        return "connection: no 2M PHY (the Bluetooth controller has none)"
    two = hci.phy_list_to_bits([hci.Phy.LE_2M])
    command = hci.HCI_LE_Set_PHY_Command(
        connection_handle=connection.handle, all_phys=0, tx_phys=two, rx_phys=two, phy_options=0
    )
    with _Answer(
        connection, Connection.EVENT_CONNECTION_PHY_UPDATE, Connection.EVENT_CONNECTION_PHY_UPDATE_FAILURE
    ) as answer:
        try:
            await _given(send, command)
            phy = await within(clock, ANSWER_S, answer.future)
        except (core.BaseBumbleError, TimeoutError) as error:
            return f"connection: no 2M PHY ({_words(error)})"
    assert isinstance(phy, core.ConnectionPHY)
    if phy.tx_phy == phy.rx_phy == hci.Phy.LE_2M:
        return "connection: 2M PHY"
    return f"connection: no 2M PHY ({_phy_name(phy.tx_phy)} out, {_phy_name(phy.rx_phy)} in)"


async def _tune_interval(connection: Connection, clock: Clock, send: SendCommand, interval_ms: float) -> str:
    units = round(interval_ms / _INTERVAL_UNIT_MS)
    if round(connection.parameters.connection_interval / _INTERVAL_UNIT_MS) == units:
        return f"connection: interval {connection.parameters.connection_interval:g} ms"
    with _Answer(
        connection,
        Connection.EVENT_CONNECTION_PARAMETERS_UPDATE,
        Connection.EVENT_CONNECTION_PARAMETERS_UPDATE_FAILURE,
    ) as answer:
        try:
            try:
                await _given(send, _update_command(connection, units))
                await within(clock, ANSWER_S, answer.future)
            except hci.HCI_Error as error:
                if error.error_code not in _NOT_IN_LINK_LAYER:
                    raise
                answer.again()
                await within(clock, ANSWER_S, _ask_over_l2cap(connection, units))
                await within(clock, ANSWER_S, answer.future)
        except (core.BaseBumbleError, TimeoutError) as error:
            kept = connection.parameters.connection_interval
            return f"connection: the interval stays {kept:g} ms, not {units * _INTERVAL_UNIT_MS:g} ms ({_words(error)})"
    return f"connection: interval {connection.parameters.connection_interval:g} ms"


def _supervision(connection: Connection, units: int) -> int:
    """The phone's supervision timeout, or the shortest that an interval allows (Core 5.4, Vol 4, Part E, 7.8.18)."""
    shortest = math.floor(2 * units * _INTERVAL_UNIT_MS / _TIMEOUT_UNIT_MS) + 1
    chosen = round(connection.parameters.supervision_timeout / _TIMEOUT_UNIT_MS)
    return min(_MAX_TIMEOUT, max(_MIN_TIMEOUT, shortest, chosen))


def _update_command(connection: Connection, units: int) -> hci.HCI_LE_Connection_Update_Command:
    # `Connection.update_parameters` does not tell the controller's answer from the phone's, and only the latter may
    # be waited for without holding up other commands.
    return hci.HCI_LE_Connection_Update_Command(
        connection_handle=connection.handle,
        connection_interval_min=units,
        connection_interval_max=units,
        max_latency=0,
        supervision_timeout=_supervision(connection, units),
        min_ce_length=0,
        max_ce_length=0,
    )


async def _ask_over_l2cap(connection: Connection, units: int) -> None:
    milliseconds = units * _INTERVAL_UNIT_MS
    timeout = _supervision(connection, units) * _TIMEOUT_UNIT_MS
    try:
        await connection.update_parameters(milliseconds, milliseconds, 0, timeout, use_l2cap=True)
    finally:
        # Bumble would wait for this answer for ever, refuse every later request, and stumble over a late one.
        connection.device.l2cap_channel_manager.connection_parameters_update_response = None


async def _given(send: SendCommand, command: hci.HCI_AsyncCommand) -> None:
    try:
        await send(command)
    except TimeoutError as error:
        raise _Unanswered from error
    except hci.HCI_Error as error:
        if error.error_code == hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR:
            raise LinkLost("the connection had ended") from error  # as after a phone has only paired
        raise


class _Answer:
    """Waits for one of two events of a connection, or for its end. A context: listens inside only."""

    def __init__(self, connection: Connection, done: str, failed: str) -> None:
        self._watcher = closing(utils.EventWatcher())
        self._connection = connection
        self._done = done
        self._failed = failed
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        """What came with the event; `hci.HCI_Error` for the other one, `LinkLost` when the connection ended."""

    def again(self) -> None:
        """Wait for another answer."""
        if self.future.done():
            self.future = asyncio.get_running_loop().create_future()

    def __enter__(self) -> _Answer:
        watcher = self._watcher.__enter__()
        watcher.on(self._connection, self._done, self._succeed)
        watcher.on(self._connection, self._failed, lambda code: self._fail(hci.HCI_Error(code)))  # type: ignore[no-untyped-call]
        watcher.on(
            self._connection, Connection.EVENT_DISCONNECTION, lambda _: self._fail(LinkLost("the connection ended"))
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._watcher.__exit__(None, None, None)
        self.future.cancel()

    def _succeed(self, *what: object) -> None:
        if not self.future.done():
            self.future.set_result(what[0] if what else None)

    def _fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            self.future.add_done_callback(retrieve)


def _phy_name(phy: int) -> str:
    return _PHY_NAMES.get(hci.Phy(phy), str(phy))


def _words(error: Exception) -> str:
    if isinstance(error, core.ConnectionParameterUpdateError):
        return "the phone refused"
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_S:g} s"
    if isinstance(error, hci.HCI_Error):
        return hci.HCI_ErrorCode(error.error_code or 0).name.removesuffix("_ERROR").lower().replace("_", " ")
    return str(error) or type(error).__name__
