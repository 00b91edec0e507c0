"""What the virtual machine reports."""

from __future__ import annotations

from shared.errors import RadioError


class MachineUnavailable(RadioError):
    """This computer lacks something the virtual machine needs; whoever asked for it may skip."""


class MachineFailed(RadioError):
    """The virtual machine started and did not do its work: no boot, no result, or no end within the deadline."""
