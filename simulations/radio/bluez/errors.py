"""BlueZ's error names, and how Bluetooth errors become them."""

from __future__ import annotations

from typing import Final

from bumble import att, core, hci

PREFIX: Final = "org.bluez.Error."


class BluezError(Exception):
    """An error reply.

    Args:
        name: D-Bus error name, such as "org.bluez.Error.Failed".
        text: the message in its body.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


def failed(text: str) -> BluezError:
    """org.bluez.Error.Failed."""
    return BluezError(PREFIX + "Failed", text)


def not_connected() -> BluezError:
    """The device is not connected (as Device1.Disconnect says it)."""
    return BluezError(PREFIX + "NotConnected", "Not Connected")


def connection_gone() -> BluezError:
    """The connection ended before a GATT operation did (as GattCharacteristic1 says it)."""
    return failed("Not connected")


def in_progress(text: str = "In Progress") -> BluezError:
    """The same operation is already under way; bleak retries it."""
    return BluezError(PREFIX + "InProgress", text)


def not_supported() -> BluezError:
    """The object has no such capability."""
    return BluezError(PREFIX + "NotSupported", "Operation is not supported")


def invalid_arguments(text: str = "Invalid arguments in method call") -> BluezError:
    """An argument has the wrong type or value."""
    return BluezError(PREFIX + "InvalidArguments", text)


def not_permitted(text: str) -> BluezError:
    """The object is in another's hands."""
    return BluezError(PREFIX + "NotPermitted", text)


def already_exists() -> BluezError:
    """It has been done already."""
    return BluezError(PREFIX + "AlreadyExists", "Already Exists")


def authentication_failed() -> BluezError:
    """One side or its user refused the pairing, or the numbers did not match.

    AuthenticationRejected, in BlueZ's documentation, is an answer of BR/EDR controllers; pairing over LE has none.
    """
    return BluezError(PREFIX + "AuthenticationFailed", "Authentication Failed")


def authentication_canceled() -> BluezError:
    """The pairing was called off, or the connection ended."""
    return BluezError(PREFIX + "AuthenticationCanceled", "Authentication Canceled")


def authentication_timeout() -> BluezError:
    """The pairing took too long."""
    return BluezError(PREFIX + "AuthenticationTimeout", "Authentication Timeout")


def connection_attempt_failed() -> BluezError:
    """No connection to pair on (BlueZ's words, whatever the reason)."""
    return BluezError(PREFIX + "ConnectionAttemptFailed", "Page Timeout")


def does_not_exist() -> BluezError:
    """The named object is not there."""
    return BluezError(PREFIX + "DoesNotExist", "Does Not Exist")


_ATT_ERRORS: Final[dict[int, tuple[str, str]]] = {
    att.ATT_READ_NOT_PERMITTED_ERROR: (PREFIX + "NotPermitted", "Read not permitted"),
    att.ATT_WRITE_NOT_PERMITTED_ERROR: (PREFIX + "NotPermitted", "Write not permitted"),
    att.ATT_INSUFFICIENT_AUTHENTICATION_ERROR: (PREFIX + "NotPermitted", "Not paired"),
    att.ATT_INSUFFICIENT_ENCRYPTION_ERROR: (PREFIX + "NotPermitted", "Not paired"),
    att.ATT_INSUFFICIENT_ENCRYPTION_KEY_SIZE_ERROR: (PREFIX + "NotPermitted", "Not paired"),
    att.ATT_INSUFFICIENT_AUTHORIZATION_ERROR: (PREFIX + "NotAuthorized", "Operation Not Authorized"),
    att.ATT_INVALID_OFFSET_ERROR: (PREFIX + "InvalidArguments", "Invalid offset"),
    att.ATT_INVALID_ATTRIBUTE_LENGTH_ERROR: (PREFIX + "InvalidArguments", "Invalid Length"),
    att.ATT_REQUEST_NOT_SUPPORTED_ERROR: (PREFIX + "NotSupported", "Operation is not supported"),
}
"""ATT errors that BlueZ gives names of their own; the rest are Failed with the code in the text."""


def from_bumble(error: Exception) -> BluezError:
    """The reply to a GATT operation that failed with `error`."""
    if isinstance(error, att.ATT_Error):
        code = int(error.error_code)
        if code in _ATT_ERRORS:
            return BluezError(*_ATT_ERRORS[code])
        return failed(f"Operation failed with ATT error: 0x{code:02x}")
    if isinstance(error, (core.TimeoutError, TimeoutError)):
        # The ATT transaction timeout (30 s) ends the bearer; BlueZ reports it as an unlikely error.
        return failed("Operation failed with ATT error: 0x0e")
    return failed(f"{type(error).__name__}: {error}")


def from_connection_failure(error: Exception) -> BluezError:
    """The reply to a connection attempt that failed with `error`."""
    if isinstance(error, core.ConnectionError) and error.error_code == hci.HCI_UNKNOWN_CONNECTION_IDENTIFIER_ERROR:
        return failed("le-connection-canceled")
    if isinstance(error, (core.TimeoutError, TimeoutError)):
        return failed("le-connection-timeout")
    return failed("le-connection-unknown")


def from_disconnection(reason: int) -> BluezError:
    """The reply to Connect when the connection was made, and ended before it was of use.

    Args:
        reason: HCI error code of the disconnection, by way of errno in the kernel (bt_to_errno).
    """
    if reason == hci.HCI_CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR:
        return failed("le-connection-abort-by-local")
    if reason == hci.HCI_CONNECTION_TIMEOUT_ERROR:
        return failed("le-connection-timeout")
    if reason in (
        hci.HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR,
        hci.HCI_REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_LOW_RESOURCES_ERROR,
        hci.HCI_REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR,
    ):
        return failed("le-connection-abort-by-remote")
    return failed("le-connection-unknown")
