"""Every failure Wayword reports, each with one typed reason.

::

    WaywordError
    ├── UsageError                  the command line or a setting is wrong
    ├── InputError                  a picture, a video or a camera cannot be used
    ├── StorageError                a file or the disk refuses
    │   └── BondsDamaged            the glasses' file of paired phones is not readable; it was set aside
    ├── PackError
    │   ├── PackMissing             not installed
    │   ├── PackCorrupt             a hash, size or format is wrong
    │   ├── PackUnsupported         encoding version or model shape unknown to this runtime
    │   ├── PackSourceUnreachable   package index, URL or folder cannot be reached
    │   ├── TranslatorFailed        a translator outside this process failed or did not answer in time
    │   └── UpdateError             a published update is not taken; what is installed stays
    │       ├── UpdateUntrusted     not signed by who may sign it, or no root of trust is pinned
    │       ├── UpdateRollback      older than what was seen, or versions that do not belong together
    │       ├── UpdateExpired       its signatures are past their date, as when somebody holds updates back
    │       ├── UpdateMismatch      length, hash or form is not what was signed
    │       ├── UpdateTooSlow       it comes more slowly than may be waited for (retryable)
    │       └── UpdateUnreachable   the repository cannot be reached (retryable)
    ├── DirectionUnsupported        no pack and no phrase serves a translation direction
    ├── LinkError
    │   ├── LinkUnavailable         no radio, no peer
    │   ├── LinkLost                the connection ended (retryable)
    │   ├── NotPaired               the glasses in reach are not paired with this phone
    │   ├── BondLost                one side has forgotten the other
    │   ├── PairingFailed           pairing did not come about, with its reason
    │   ├── TransferExpired         the deadline of an object passed before it was delivered
    │   ├── TransferRefused         the peer refused an object, with its reason
    │   └── FrameMalformed          bytes that are no frame
    ├── CloudError
    │   ├── CloudUnavailable        cannot be reached (retryable)
    │   ├── CloudDeadline           did not answer in time
    │   └── CloudRefused            answered with a refusal
    ├── SignalsInvalid              what was measured of a reading is missing, not finite or out of range
    ├── StabiliserError
    │   ├── FrameRefused            a frame has a wrong shape or type, or time runs backwards
    │   ├── RegionRefused           a quad is degenerate, not finite, or outside the picture
    │   └── StabiliserDown          its process died and could not be started again
    ├── LocationError               where the phone is cannot be learnt (retryable)
    └── RadioError                  the emulated radio or its D-Bus cannot start
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class WaywordError(Exception):
    """Base of every error a user or a log can see.

    Args:
        message: one line that says what went wrong, without a final stop.
        hint: one line that says what to do about it; empty when there is nothing to do.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        first = self.hint.split(maxsplit=1)[0].rstrip(",:")
        # A sentence begins with a capital; a command or a file name stays as it is typed.
        hint = self.hint[0].upper() + self.hint[1:] if first.isalpha() else self.hint
        return f"{self.message}. {hint}"


class UsageError(WaywordError):
    """The command line or a setting is wrong."""

    exit_code = 2


class InputError(WaywordError):
    """A picture, a video or a camera cannot be used."""

    exit_code = 3


class StorageError(WaywordError):
    """A file cannot be read or written, or the disk is full."""

    exit_code = 4


class BondsDamaged(StorageError):
    """The file of paired phones holds something else."""


class PackError(WaywordError):
    """A model pack cannot be used."""

    exit_code = 5


class PackMissing(PackError):
    """The pack is not installed."""


class PackCorrupt(PackError):
    """A hash, a size or a format is not what the manifest says."""


class PackUnsupported(PackError):
    """This runtime does not know the pack's encoding version or model shape."""


class PackSourceUnreachable(PackError):
    """The package index, URL or folder of a pack cannot be reached."""

    retryable = True


class TranslatorFailed(PackError):
    """A translator that is a process of its own failed, or did not answer in time."""


class UpdateError(PackError):
    """A published update of the packs is not taken; what is installed stays as it is."""


class UpdateUntrusted(UpdateError):
    """Metadata is not signed by the keys that may sign it, or this device has no root of trust to judge by."""


class UpdateRollback(UpdateError):
    """A version is older than one that was seen before, or versions do not belong together."""


class UpdateExpired(UpdateError):
    """Metadata is past its date: nobody has vouched for it lately."""


class UpdateMismatch(UpdateError):
    """A length, a hash or a form is not what was signed."""


class UpdateTooSlow(UpdateError):
    """A file comes more slowly than may be waited for."""

    retryable = True


class UpdateUnreachable(UpdateError):
    """The repository of packs cannot be reached, or lacks a file it has promised."""

    retryable = True


class RecogniserFailed(PackError):
    """A recogniser that is a process of its own failed, or did not answer in time."""


class DirectionUnsupported(WaywordError):
    """No pack and no phrase serves a translation direction."""

    exit_code = 6


class LinkError(WaywordError):
    """The glasses-phone link failed."""

    exit_code = 7


class LinkUnavailable(LinkError):
    """There is no radio, or no peer answers."""

    retryable = True


class LinkLost(LinkError):
    """The connection ended."""

    retryable = True


class NotPaired(LinkError):
    """There are glasses, but this phone is not paired with them."""

    retryable = True


class BondLost(LinkError):
    """Two devices were paired, and one of them has forgotten it."""

    retryable = True


class PairingFailure(StrEnum):
    """Why a pairing did not come about."""

    NO_GLASSES = "no_glasses"
    """No glasses in pairing mode were heard."""
    UNREACHABLE = "unreachable"
    """They were heard, but no connection came about or it broke."""
    REFUSED = "refused"
    """The glasses refused before there was a number."""
    REJECTED = "rejected"
    """The wearer said no on the glasses, or did not answer there."""
    NUMBERS_DIFFER = "numbers_differ"
    """The user said no on the phone."""
    TIMED_OUT = "timed_out"
    """Nobody answered in time."""
    NOT_COMPARED = "not_compared"
    """The stack paired without showing a number; the pairing was undone."""
    UNSUPPORTED = "unsupported"
    """This machine or its Bluetooth adapter cannot do it."""


class PairingFailed(LinkError):
    """A pairing did not come about.

    Args:
        reason: which of the known ways.
    """

    def __init__(self, reason: PairingFailure, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class TransferExpired(LinkError):
    """An object's deadline passed before the peer had it."""


class TransferRefused(LinkError):
    """The peer refused an object."""


class VersionMismatch(LinkError):
    """The two sides speak no common version of the link's protocol."""


class FrameMalformed(LinkError):
    """Bytes from the peer are no frame of the link protocol."""


class CloudError(WaywordError):
    """The cloud could not help."""

    exit_code = 8


class CloudUnavailable(CloudError):
    """The cloud cannot be reached."""

    retryable = True


class CloudDeadline(CloudError):
    """The cloud did not answer in time."""


class CloudRefused(CloudError):
    """The cloud refused the call."""


class SignalsInvalid(WaywordError):
    """A number that a decision would rest on is missing, not finite or out of range."""

    exit_code = 11


class StabiliserError(WaywordError):
    """Signs cannot be followed."""

    exit_code = 10


class FrameRefused(StabiliserError):
    """A frame has a wrong shape or type, or is older than the one before."""


class RegionRefused(StabiliserError):
    """A region's quad is degenerate, not finite, or outside the picture."""


class StabiliserDown(StabiliserError):
    """The stabiliser's process died and could not be started again."""


class LocationError(WaywordError):
    """Where the phone is cannot be learnt now."""

    exit_code = 12
    retryable = True


class RadioError(WaywordError):
    """The emulated radio, or the D-Bus it needs, cannot start."""

    exit_code = 9


def reason_of(error: BaseException) -> str:
    """What a failure of the system or of a library says of itself, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
