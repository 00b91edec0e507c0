"""Every reason for which the cloud turns a call down."""

from __future__ import annotations

from enum import StrEnum

from shared.errors import CloudRefused


class Reason(StrEnum):
    """Why a call was refused. `calls.STATUS` maps each to its gRPC status code."""

    MALFORMED = "malformed"
    """A field breaks the contract: direction, quad, encoding or key."""
    NO_LINES = "no_lines"
    UNDECODABLE = "undecodable"
    FRAME_WITHOUT_FLAG = "frame_without_flag"
    TOO_MANY_LINES = "too_many_lines"
    TOO_MANY_STRIPS = "too_many_strips"
    """More strips in one call than a batch may have."""
    TEXT_TOO_LONG = "text_too_long"
    PICTURE_TOO_LARGE = "picture_too_large"
    TARGET_UNSUPPORTED = "target_unsupported"
    OVERLOADED = "overloaded"
    EXPIRED = "expired"
    DRAINING = "draining"
    UNREACHABLE = "unreachable"
    """A gateway has no replica to send the call to."""
    UNAUTHENTICATED = "unauthenticated"
    """No token or certificate, or one that is not accepted."""
    FORBIDDEN = "forbidden"
    """The caller is known and may not do this."""
    QUOTA = "quota"
    """The device has had its share for now."""
    NOT_FOUND = "not_found"


class Refusal(CloudRefused):
    """The cloud does not answer this call.

    Args:
        reason: which rule the call broke.
        message: one line for the caller; never contains text or pixels of a sign.
        retry_after_s: seconds after which a repeated call may be admitted; None when repeating is pointless.
    """

    def __init__(self, reason: Reason, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s
