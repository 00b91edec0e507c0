"""Names of enum values, also of those that a later version of a peer has and this one does not."""

from __future__ import annotations

from typing import Protocol, TypeVar

Value = TypeVar("Value", bound=int, contravariant=True)


class ProtoEnum(Protocol[Value]):
    """A generated enum."""

    def Name(self, number: Value) -> str:  # noqa: N802 - protobuf's
        """Name of a value.

        Raises:
            ValueError: there is no such value.
        """
        ...


def enum_name(enum: ProtoEnum[Value], value: Value) -> str:
    """Name of a value as the contract writes it; its number when this version does not know it."""
    try:
        return enum.Name(value)
    except ValueError:
        return str(value)
